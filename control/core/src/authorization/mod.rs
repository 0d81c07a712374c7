//! Who decides what somebody may do: the chain of authorizers, and what a webhook among them is asked and answers.
//!
//! What is decided inside the server is in [`crate::rbac`] and [`crate::node_authorizer`]. Begin at [`configuration::read`].

pub mod configuration;
pub mod review;

use std::time::Duration;

use control_schema::crd::cel::Expression;

use crate::access::Decision;

/// One that decides in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
}

impl Mode {
    /// As `--authorization-mode` names them, in the order of their names.
    pub const NAMES: [(&str, Self); 4] = [
        ("AlwaysAllow", Self::AlwaysAllow),
        ("AlwaysDeny", Self::AlwaysDeny),
        ("Node", Self::Node),
        ("RBAC", Self::Rbac),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// One of the chain.
#[derive(Clone, Debug)]
pub enum Authorizer {
    Mode(Mode),
    Webhook(Box<Webhook>),
}

/// A service that is asked over HTTPS.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// For messages and metrics.
    pub name: String,
    /// A kubeconfig that says where it is, and who we are to it.
    pub kubeconfig: String,
    pub version: Version,
    /// The longest time of one question.
    pub timeout: Duration,
    /// How long it is remembered what was allowed; 0: not at all.
    pub authorized: Duration,
    /// The same of what was not.
    pub unauthorized: Duration,
    /// What counts where it does not answer: [`Decision::NoOpinion`] or [`Decision::Deny`].
    pub on_failure: Decision,
    /// It is asked only where all hold of the SubjectAccessReview's spec, which they know as `request`.
    pub conditions: Vec<Expression>,
}

/// The version of `authorization.k8s.io` or `authentication.k8s.io` that a webhook is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V1beta1,
}

impl Version {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1beta1),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
        }
    }
}

/// What a chain lacks after its file has changed: those that decide in this process are set at the start.
///
/// # Errors
/// One of them is gone, or was not there.
pub fn may_follow(chain: &[Authorizer], at_start: &[Mode]) -> Result<(), String> {
    let modes: Vec<Mode> = modes(chain).collect();
    let missing: Vec<_> = Mode::NAMES.iter().filter(|(_, mode)| at_start.contains(mode)).collect();
    let missing = missing.into_iter().filter(|(_, mode)| !modes.contains(mode)).map(|(name, _)| *name);
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        return Err(format!("missing required types: [{}]", missing.join(" ")));
    }
    let new = modes.iter().find(|mode| matches!(mode, Mode::Node | Mode::Rbac) && !at_start.contains(mode));
    match new {
        Some(new) => Err(format!(
            "authorizer type {} is not allowed if it was not enabled at initial server startup",
            new.name()
        )),
        None => Ok(()),
    }
}

/// Those of a chain that decide in this process.
pub fn modes(chain: &[Authorizer]) -> impl Iterator<Item = Mode> {
    chain.iter().filter_map(|one| match one {
        Authorizer::Mode(mode) => Some(*mode),
        Authorizer::Webhook(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_in_the_process_stays_what_it_was_at_the_start() {
        let chain = |modes: &[Mode]| modes.iter().copied().map(Authorizer::Mode).collect::<Vec<_>>();
        let start = [Mode::Node, Mode::AlwaysDeny];
        assert_eq!(may_follow(&chain(&[Mode::AlwaysDeny, Mode::Node]), &start), Ok(()));
        assert_eq!(
            may_follow(&chain(&[Mode::AlwaysAllow]), &start),
            Err("missing required types: [AlwaysDeny Node]".to_owned())
        );
        let more = may_follow(&chain(&[Mode::Node, Mode::AlwaysDeny, Mode::Rbac]), &start);
        assert_eq!(
            more,
            Err("authorizer type RBAC is not allowed if it was not enabled at initial server startup"
                .to_owned())
        );
    }
}
