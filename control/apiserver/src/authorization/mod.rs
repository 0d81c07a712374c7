//! What somebody may do: the chain of `--authorization-mode` or `--authorization-config`.
//!
//! Owns: the indexes that the decisions stand on, the webhooks, and their order. Begin at [`Authorizers::decide`].
//! Never: decides by itself; that is `control_core`'s, in `rbac`, `node_authorizer` and `authorization`.

mod consultation;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use control_core::access::{Attributes, Decision, User, Verdict, together};
use control_core::authorization::{self, Authorizer};
use control_core::node_authorizer::NodeAuthorizer;
use control_core::node_authorizer::graph::Graph;
use control_core::rbac::index::Index;
use control_core::rbac::rule::{Resolution, ResolveRules, RoleRef, Rule};
use serde_json::Value;

pub use control_core::authorization::Mode;
pub use control_serving::authorization as webhook;

use self::webhook::Webhook;

/// One of the chain.
#[derive(Clone, Debug)]
pub enum Member {
    Mode(Mode),
    Webhook(Arc<Webhook>),
}

impl Member {
    /// # Errors
    /// A webhook's kubeconfig cannot be read.
    fn open(of: Authorizer) -> Result<Self, String> {
        match of {
            Authorizer::Mode(mode) => Ok(Self::Mode(mode)),
            Authorizer::Webhook(settings) => Webhook::open(*settings).map(Arc::new).map(Self::Webhook),
        }
    }
}

/// The chain of authorizers, kept current by [`Authorizers::changed`]. `system:masters` may do everything, always.
pub struct Authorizers {
    /// In the order in which they are asked; another one after a change of `--authorization-config`.
    members: RwLock<Arc<[Member]>>,
    /// Those that decide in this process: they are set at the start.
    modes: Vec<Mode>,
    // Written once for a change of a role or a pod; readers share. None is held across a wait.
    rbac: RwLock<Index>,
    node: RwLock<NodeAuthorizer>,
}

impl Authorizers {
    /// # Errors
    /// A webhook's kubeconfig cannot be read.
    pub fn new(chain: Vec<Authorizer>) -> Result<Self, String> {
        let modes = authorization::modes(&chain).collect();
        let members = chain.into_iter().map(Member::open).collect::<Result<_, _>>()?;
        Ok(Self { members: RwLock::new(members), modes, rbac: RwLock::default(), node: RwLock::default() })
    }

    /// A chain without webhooks. An empty list is AlwaysAllow, as in the original.
    pub fn of_modes(modes: &[Mode]) -> Self {
        let modes = if modes.is_empty() { vec![Mode::AlwaysAllow] } else { modes.to_vec() };
        let members = modes.iter().copied().map(Member::Mode).collect();
        Self { members: RwLock::new(members), modes, rbac: RwLock::default(), node: RwLock::default() }
    }

    /// Another chain from now on. What webhooks said before is forgotten.
    ///
    /// # Errors
    /// It lacks what decides in this process, or a webhook's kubeconfig cannot be read. The chain stays what it was.
    pub fn replace(&self, chain: Vec<Authorizer>) -> Result<(), String> {
        authorization::may_follow(&chain, &self.modes)?;
        let members = chain.into_iter().map(Member::open).collect::<Result<_, _>>()?;
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = members;
        Ok(())
    }

    fn members(&self) -> Arc<[Member]> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Webhooks may be asked: a decision may be made more than once.
    pub fn asks(&self) -> bool {
        self.members().iter().any(|member| matches!(member, Member::Webhook(_)))
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

impl Authorizers {
    /// The first opinion of the chain. `system:masters` may do everything, always.
    fn in_turn(
        &self,
        members: &[Member],
        attributes: &Attributes,
        user: &User,
        ask: impl Fn(usize, &Arc<Webhook>) -> Verdict,
    ) -> Verdict {
        if user.is_in(User::MASTERS) {
            return Verdict::allow("");
        }
        let (mut reasons, mut errors): (Vec<String>, Vec<String>) = Default::default();
        for (nth, member) in members.iter().enumerate() {
            let verdict = match member {
                Member::Mode(mode) => self.ask(*mode, attributes, user),
                Member::Webhook(webhook) => ask(nth, webhook),
            };
            if verdict.decision != Decision::NoOpinion {
                return verdict;
            }
            reasons.extend(Some(verdict.reason).filter(|reason| !reason.is_empty()));
            errors.extend(Some(verdict.error).filter(|error| !error.is_empty()));
        }
        Verdict { error: together(&errors), ..Verdict::no_opinion(reasons.join("\n")) }
    }
}

impl ResolveRules for Authorizers {
    fn rules(&self, user: &User, namespace: &str) -> Resolution {
        let mut all = Resolution::default();
        for member in self.members().iter() {
            let Member::Mode(mode) = member else {
                all.errors.push(Webhook::NO_RULES.to_owned());
                all.incomplete = true;
                continue;
            };
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
        f.debug_tuple("Authorizers").field(&self.members()).finish()
    }
}

#[cfg(test)]
mod tests;
