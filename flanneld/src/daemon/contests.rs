//! Repairs of the kernel's tables that somebody undoes again and again: they wait, longer and longer, and it is said
//! once. Who it is, netlink does not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use flanneld_core::tables::{Op, Tables, repairs};
use host::contention::Contention;

/// Objects whose repairs are counted. A flush of a large table is more than that, and no contest.
const TRACKED: usize = 1024;
/// Lines for the contests that begin in one pass.
const SAID: usize = 3;

/// The repairs of each object.
#[derive(Debug, Default)]
pub struct Contests {
    /// What was wanted, and carried out, at the last pass.
    last: Tables,
    /// Objects that could not be written then: nobody has undone anything there.
    refused: BTreeSet<String>,
    objects: BTreeMap<String, Contention>,
}

impl Contests {
    /// Takes the repairs out of a plan that have to wait, and says when the first of them is due.
    pub fn hold_back(&mut self, mut plan: Vec<Op>, now: Instant) -> (Vec<Op>, Option<Instant>) {
        let places = repairs(&plan, &self.last);
        let objects: BTreeSet<String> =
            places.iter().map(|place| plan[*place].object()).filter(|o| !self.refused.contains(o)).collect();
        let (mut held, mut due, mut said) = (BTreeSet::new(), None::<Instant>, 0);
        for object in objects {
            if self.objects.len() >= TRACKED && !self.objects.contains_key(&object) {
                continue;
            }
            let undone = self.objects.entry(object.clone()).or_default().undone(None, now);
            if let Some(report) = undone.report {
                said += 1;
                if said <= SAID {
                    tracing::warn!("{object}: {report}");
                }
            }
            if undone.at > now {
                due = Some(due.map_or(undone.at, |due| due.min(undone.at)));
                held.insert(object);
            } else if let Some(contention) = self.objects.get_mut(&object) {
                contention.repaired(now);
            }
        }
        if said > SAID {
            tracing::warn!("and {} more objects of ours are changed again and again", said - SAID);
        }
        if !held.is_empty() {
            plan.retain(|op| !held.contains(&op.object()));
        }
        (plan, due)
    }

    /// A pass is over: what it wanted, and the objects that it could not write.
    pub fn carried_out(&mut self, wanted: Tables, refused: BTreeSet<String>, now: Instant) {
        self.last = wanted;
        self.refused = refused;
        self.objects.retain(|_, contention| !contention.is_over(now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flanneld_core::tables::{LinkName, Route, RouteKey};

    use super::*;

    fn wanted() -> Tables {
        let dev: LinkName = "flannel.1".parse().unwrap();
        let mut tables = Tables::default();
        for net in ["10.5.2.0/24", "10.5.3.0/24"] {
            let route = Route::Out { dev: dev.clone(), via: None, onlink: false };
            tables.routes.insert(RouteKey::new(net.parse().unwrap()), route);
        }
        tables
    }

    fn add(net: &str) -> Op {
        let key = RouteKey::new(net.parse().unwrap());
        Op::AddRoute(key, wanted().routes[&key].clone())
    }

    #[test]
    fn a_route_that_is_deleted_again_and_again_waits_and_no_other_with_it() {
        let (mut contests, mut now) = (Contests::default(), Instant::now());
        contests.carried_out(wanted(), BTreeSet::new(), now);
        let mut repaired = 0;
        for _ in 0..100 {
            now += Duration::from_millis(20);
            let (ops, due) = contests.hold_back(vec![add("10.5.2.0/24")], now);
            repaired += ops.len();
            assert_eq!(ops.is_empty(), due.is_some());
            contests.carried_out(wanted(), BTreeSet::new(), now);
        }
        assert!((3..8).contains(&repaired), "{repaired} repairs in two seconds");
        let (ops, due) = contests.hold_back(vec![add("10.5.2.0/24"), add("10.5.3.0/24")], now);
        assert_eq!((ops, due.is_some()), (vec![add("10.5.3.0/24")], true));
        let (ops, due) = contests.hold_back(vec![add("10.5.2.0/24")], due.unwrap());
        assert_eq!((ops.len(), due), (1, None));
    }

    #[test]
    fn a_write_that_the_kernel_refuses_is_no_contest() {
        let (mut contests, mut now) = (Contests::default(), Instant::now());
        for _ in 0..100 {
            now += Duration::from_millis(20);
            let (ops, due) = contests.hold_back(vec![add("10.5.2.0/24")], now);
            assert_eq!((ops.len(), due), (1, None));
            contests.carried_out(wanted(), [add("10.5.2.0/24").object()].into(), now);
        }
    }
}
