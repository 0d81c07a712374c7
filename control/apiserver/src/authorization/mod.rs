//! What somebody may do: the chain of `--authorization-mode`.
//!
//! Owns: the indexes that the decisions stand on, and their order. Begin at [`Authorizers`].
//! Never: decides by itself; that is `control_core`'s, in `rbac` and `node_authorizer`.

use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use control_core::access::{Attributes, Authorize, Decision, User, Verdict};
use control_core::node_authorizer::NodeAuthorizer;
use control_core::node_authorizer::graph::Graph;
use control_core::rbac::index::Index;
use control_core::rbac::rule::{Resolution, ResolveRules, RoleRef, Rule};
use serde_json::Value;

/// One of `--authorization-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Rbac,
    Node,
}

/// A mode that is none, or one that needs a program beside the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an authorization mode (AlwaysAllow, AlwaysDeny, Node, RBAC)")]
pub struct BadMode(String);

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(text: &str) -> Result<Self, BadMode> {
        match text {
            "AlwaysAllow" => Ok(Self::AlwaysAllow),
            "AlwaysDeny" => Ok(Self::AlwaysDeny),
            "RBAC" => Ok(Self::Rbac),
            "Node" => Ok(Self::Node),
            other => Err(BadMode(other.to_owned())),
        }
    }
}

/// The chain of authorizers, kept current by [`Authorizers::changed`]. `system:masters` may do everything, always.
pub struct Authorizers {
    modes: Vec<Mode>,
    // Written once for a change of a role or a pod; readers share. Neither is held across a wait.
    rbac: RwLock<Index>,
    node: RwLock<NodeAuthorizer>,
}

impl Authorizers {
    /// An empty list is AlwaysAllow, as in the original.
    pub fn new(modes: &[Mode]) -> Self {
        let modes = if modes.is_empty() { vec![Mode::AlwaysAllow] } else { modes.to_vec() };
        Self { modes, rbac: RwLock::default(), node: RwLock::default() }
    }

    /// Which resources it must be told of, as `Kind::qualified` has them.
    pub fn follows(&self) -> Vec<&'static str> {
        // The escalation check asks for roles in every mode.
        let graph: &[_] = if self.modes.contains(&Mode::Node) { &Graph::FOLLOWS } else { &[] };
        Index::FOLLOWS.iter().chain(graph).copied().collect()
    }

    /// Takes an object in, or out where there is none any more. In the order of the events of that object.
    pub fn changed(&self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        if Index::FOLLOWS.contains(&resource) {
            let mut index = self.rbac.write().unwrap_or_else(PoisonError::into_inner);
            index.changed(resource, namespace, name, object);
        } else if Graph::FOLLOWS.contains(&resource) && self.modes.contains(&Mode::Node) {
            let mut node = self.node.write().unwrap_or_else(PoisonError::into_inner);
            node.graph().changed(resource, namespace, name, object);
        }
    }

    fn rbac(&self) -> RwLockReadGuard<'_, Index> {
        self.rbac.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, mode: Mode, attributes: &Attributes, user: &User) -> Verdict {
        match mode {
            Mode::AlwaysAllow => Verdict::allow(""),
            Mode::AlwaysDeny => Verdict::no_opinion("Everything is forbidden."),
            Mode::Rbac => self.rbac().authorize(attributes, user),
            Mode::Node => {
                self.node.read().unwrap_or_else(PoisonError::into_inner).authorize(attributes, user)
            }
        }
    }
}

impl Authorize for Authorizers {
    fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
        if user.is_in(User::MASTERS) {
            return Verdict::allow("");
        }
        let mut reasons: Vec<String> = Vec::new();
        for mode in &self.modes {
            let verdict = self.ask(*mode, attributes, user);
            if verdict.decision != Decision::NoOpinion {
                return verdict;
            }
            reasons.extend(Some(verdict.reason).filter(|reason| !reason.is_empty()));
        }
        Verdict::no_opinion(reasons.join("\n"))
    }
}

impl ResolveRules for Authorizers {
    fn rules(&self, user: &User, namespace: &str) -> Resolution {
        let mut all = Resolution::default();
        for mode in &self.modes {
            let found = match mode {
                Mode::AlwaysAllow => Resolution { rules: everything(), ..Resolution::default() },
                Mode::AlwaysDeny => Resolution::default(),
                Mode::Rbac => self.rbac().rules_for(user, namespace),
                Mode::Node => NodeAuthorizer::rules_for(user),
            };
            all.rules.extend(found.rules);
            all.errors.extend(found.errors);
            all.incomplete |= found.incomplete;
        }
        all
    }

    fn role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>> {
        self.rbac().rules_of(role, namespace).ok().map(<[Rule]>::to_vec)
    }
}

fn everything() -> Vec<Rule> {
    let any = || vec!["*".to_owned()];
    let resources = Rule { verbs: any(), api_groups: any(), resources: any(), ..Rule::default() };
    vec![resources, Rule { verbs: any(), paths: any(), ..Rule::default() }]
}

impl fmt::Debug for Authorizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorizers").field(&self.modes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(name: &str, group: &str) -> User {
        User { name: name.into(), groups: vec![group.into()], ..User::default() }
    }

    fn get(resource: &str) -> Attributes {
        Attributes {
            verb: "get".into(),
            resource: resource.into(),
            name: "x".into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn the_first_opinion_of_the_chain_counts() {
        let chain = Authorizers::new(&[Mode::Node, Mode::Rbac]);
        let role = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]});
        chain.changed("clusterroles.rbac.authorization.k8s.io", "", "r", Some(&role));
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "Group", "name": "system:nodes"}]});
        chain.changed("clusterrolebindings.rbac.authorization.k8s.io", "", "b", Some(&binding));
        let node = user("system:node:n", User::NODES);
        assert!(
            chain.authorize(&get("nodes"), &node).is_allowed(),
            "RBAC allows what Node has no opinion on"
        );
        let refused = chain.authorize(&get("configmaps"), &node);
        assert_eq!(refused, Verdict::no_opinion("can only read namespaced object of this type"));
        assert!(chain.authorize(&get("secrets"), &user("root", User::MASTERS)).is_allowed());
        assert!(!chain.authorize(&get("nodes"), &user("other", "")).is_allowed());
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        assert_eq!("RBAC".parse(), Ok(Mode::Rbac));
        assert!("rbac".parse::<Mode>().is_err() && "Webhook".parse::<Mode>().is_err());
        let deny = Authorizers::new(&[Mode::AlwaysDeny]);
        let refused = deny.authorize(&get("pods"), &user("x", ""));
        assert_eq!(refused, Verdict::no_opinion("Everything is forbidden."));
        assert!(Authorizers::new(&[]).authorize(&get("pods"), &user("x", "")).is_allowed());
    }
}
