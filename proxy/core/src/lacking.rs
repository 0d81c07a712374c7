//! How many service ports have a Local policy and no endpoint on this node, though there are some elsewhere.

use std::collections::BTreeMap;

use crate::names::Family;
use crate::table::{Action, Frontend, FrontendKind, ServicePort, TableDelta};

/// Counted from each change of the table.
#[derive(Clone, Debug, Default)]
pub struct Lacking(BTreeMap<Family, (usize, usize)>);

impl Lacking {
    pub fn follow(&mut self, delta: &TableDelta) {
        for change in &delta.ports {
            let (internal, external) = self.0.entry(change.key.0).or_default();
            if let Some(old) = &change.old {
                let lacks = lacks(old);
                *internal -= usize::from(lacks.0);
                *external -= usize::from(lacks.1);
            }
            if let Some(new) = &change.new {
                let lacks = lacks(new);
                *internal += usize::from(lacks.0);
                *external += usize::from(lacks.1);
            }
        }
    }

    /// For clients inside, and outside.
    pub fn of(&self, family: Family) -> (usize, usize) {
        self.0.get(&family).copied().unwrap_or_default()
    }
}

/// For clients inside, and outside: only such a policy drops what has endpoints.
fn lacks(port: &ServicePort) -> (bool, bool) {
    let drops = |frontend: &Frontend| frontend.branches.iter().any(|branch| branch.action == Action::Drop);
    let (inside, outside): (Vec<_>, Vec<_>) =
        port.frontends.iter().partition(|frontend| frontend.kind == FrontendKind::ClusterIp);
    let lacks = |frontends: Vec<&Frontend>| port.any_endpoints && frontends.into_iter().any(drops);
    (lacks(inside), lacks(outside))
}
