//! Names of labs and of what is in them. A name says whose a namespace is, so it has to be readable backwards.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The lab that commands mean when no name is given.
pub const DEFAULT_NAME: &str = "lab";

/// ` --name NAME`, unless it is the name that need not be said.
pub(crate) fn name_flag(name: &LabName) -> String {
    if name.as_str() == DEFAULT_NAME { String::new() } else { format!(" --name {name}") }
}

/// The name of a lab: 1..=20 lower-case letters and digits, a letter first.
///
/// There is no dash in it, so that `weft-NAME-n1-p1` can be taken apart in one way only and no lab's
/// `down` can mistake another's namespaces for its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabName(String);

/// A word that cannot name a lab.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} cannot name a lab: use 1 to 20 lower-case letters and digits, beginning with a letter")]
pub struct BadName(pub String);

impl LabName {
    /// # Errors
    /// Anything but 1..=20 lower-case letters and digits that begin with a letter.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let legal = (1..=20).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if legal { Ok(Self(name.to_owned())) } else { Err(BadName(name.to_owned())) }
    }

    /// A name that no other process or thread uses: `prefix`, this process's id, and a count.
    ///
    /// # Errors
    /// A prefix that is longer than 8 characters, or that cannot begin a name.
    pub fn unique(prefix: &str) -> Result<Self, BadName> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if prefix.len() > 8 {
            return Err(BadName(prefix.to_owned()));
        }
        Self::new(&format!("{prefix}{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every namespace of this lab begins with.
    pub fn namespace_prefix(&self) -> String {
        format!("weft-{}-", self.0)
    }

    /// The namespace of the switch and of etcd.
    pub fn hub_namespace(&self) -> String {
        format!("weft-{}-hub", self.0)
    }

    /// The namespace of a member: `n1`, `n1-p2`.
    pub fn member_namespace(&self, member: &str) -> String {
        format!("weft-{}-{member}", self.0)
    }

    /// Reads the lab out of the name of a namespace; None for one that no lab made.
    pub fn of_namespace(namespace: &str) -> Option<Self> {
        let (lab, member) = namespace.strip_prefix("weft-")?.split_once('-')?;
        is_member(member).then(|| Self::new(lab).ok())?
    }
}

/// Whether a word is the name of a lab's member: `hub`, `n3`, `n3-p1`.
pub(crate) fn is_member(word: &str) -> bool {
    let numbered = |word: &str, letter: char| {
        word.strip_prefix(letter).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    match word.split_once('-') {
        _ if word == "hub" => true,
        None => numbered(word, 'n'),
        Some((node, pod)) => numbered(node, 'n') && numbered(pod, 'p'),
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        Self::new(name)
    }
}

impl serde::Serialize for LabName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for LabName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_without_dashes() {
        for good in ["lab", "a", "t1", "abcdefghijklmnopqrst"] {
            assert_eq!(LabName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Lab", "1a", "a-b", "a b", "a/b", "abcdefghijklmnopqrstu", "ä"] {
            assert_eq!(LabName::new(bad), Err(BadName(bad.to_owned())));
        }
    }

    #[test]
    fn a_namespace_says_which_lab_it_belongs_to() {
        let lab = |namespace| LabName::of_namespace(namespace).map(|name| name.0);
        assert_eq!(lab("weft-lab-hub").as_deref(), Some("lab"));
        assert_eq!(lab("weft-lab-n12").as_deref(), Some("lab"));
        assert_eq!(lab("weft-lab-n1-p2").as_deref(), Some("lab"));
        for foreign in
            ["lab-n1", "weft-lab", "weft-lab-x", "weft-nft-p", "weft-lab-n", "weft-lab-n1-x", "weft-Lab-n1"]
        {
            assert_eq!(lab(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn unique_names_differ() {
        assert_ne!(LabName::unique("t").unwrap(), LabName::unique("t").unwrap());
    }
}
