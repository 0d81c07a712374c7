//! Where a network lives in etcd: the names of its keys.

use flanneld_core::lease::Subnets;

/// The prefix of one network, `--etcd-prefix`. Keys are joined to it as Go's `path.Join` does, so that our keys
/// are flannel's whatever slashes the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    root: String,
    config: String,
    subnets: String,
}

impl Prefix {
    /// Any text; `//`, `.`, `..` and trailing slashes are cleaned, a missing leading slash stays missing.
    pub fn new(prefix: &str) -> Self {
        let config = join(prefix, "config");
        let root = config.trim_end_matches("/config").to_owned();
        Self { root, config, subnets: join(prefix, "subnets") }
    }

    /// What all keys of the network begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The key of the network configuration.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// What the keys of all leases begin with, without the slash that ends it: flannel reads and watches this.
    pub fn subnets(&self) -> &str {
        &self.subnets
    }

    /// The key of the lease of these subnets.
    pub fn lease(&self, subnets: &Subnets) -> String {
        format!("{}/{subnets}", self.subnets)
    }

    /// The part of a key that names the subnets; `None` for a key that only begins alike
    /// (`<prefix>/subnets-old/x`, `<prefix>/subnets/x/y`). flannel takes those for leases.
    pub fn lease_name<'k>(&self, key: &'k str) -> Option<&'k str> {
        let name = key.strip_prefix(&self.subnets)?.strip_prefix('/')?;
        (!name.contains('/')).then_some(name)
    }
}

/// Go's `path.Join(prefix, name)` for a name that is one plain element.
fn join(prefix: &str, name: &str) -> String {
    let rooted = prefix.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').chain([name]) {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    format!("{}{}", if rooted { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_path_join() {
        for (prefix, key) in [
            ("/coreos.com/network", "/coreos.com/network/config"),
            ("/coreos.com/network/", "/coreos.com/network/config"),
            ("//coreos.com///network//", "/coreos.com/network/config"),
            ("coreos.com/network", "coreos.com/network/config"),
            ("", "config"),
            ("/", "/config"),
            (".", "config"),
            ("/a/./b/../c", "/a/c/config"),
            ("/../a", "/a/config"),
            ("../a", "../a/config"),
            ("a/../..", "../config"),
        ] {
            assert_eq!(Prefix::new(prefix).config(), key, "{prefix:?}");
        }
    }

    #[test]
    fn only_direct_children_are_leases() {
        let prefix = Prefix::new("/net/");
        for (key, name) in [
            ("/net/subnets/10.5.1.0-24", Some("10.5.1.0-24")),
            ("/net/subnets-old/10.5.1.0-24", None),
            ("/net/subnets/old/10.5.1.0-24", None),
            ("/net/subnets", None),
            ("/net/subnets/", Some("")),
            ("/net/config", None),
        ] {
            assert_eq!(prefix.lease_name(key), name, "{key}");
        }
    }
}
