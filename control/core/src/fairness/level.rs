//! A PriorityLevelConfiguration: what a level may use of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::edit::{at, text};

/// A level as it is stored.
#[derive(Clone, Debug)]
pub struct Level {
    pub name: Arc<str>,
    pub uid: Arc<str>,
    pub is_exempt: bool,
    shares: u64,
    /// Percent of its seats that others may use while it does not.
    lendable: u64,
    /// Percent of its seats that it may use besides, of others.
    borrowing: Option<u64>,
    queuing: Option<Queuing>,
}

#[derive(Clone, Copy, Debug)]
struct Queuing {
    queues: usize,
    hand: usize,
    length: usize,
}

/// What a level may use, in seats: most requests that run have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub is_exempt: bool,
    /// What is its own.
    pub nominal: usize,
    /// What nobody else may use of it.
    pub least: usize,
    /// What it may use at most, while others do not need theirs.
    pub most: usize,
    /// The most that one request may have.
    pub widest: usize,
    /// Requests of one flow that wait; 0 where nobody waits.
    pub waiting_of_flow: usize,
    /// Requests that wait.
    pub waiting: usize,
}

impl Level {
    /// What is missing has its default.
    pub fn read(object: &Value) -> Self {
        let spec = at(object, &["spec"]);
        let is_exempt = text(spec, &["type"]) == "Exempt";
        let limited = at(spec, &[if is_exempt { "exempt" } else { "limited" }]);
        let number = |of: &Value, field: &str| at(of, &[field]).as_u64();
        let queuing = at(limited, &["limitResponse", "queuing"]);
        let size = |field: &str, default: usize| {
            number(queuing, field).map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX))
        };
        let queuing = queuing.is_object().then(|| Queuing {
            queues: size("queues", 64),
            hand: size("handSize", 8),
            length: size("queueLengthLimit", 50),
        });
        Self {
            name: text(object, &["metadata", "name"]).into(),
            uid: text(object, &["metadata", "uid"]).into(),
            is_exempt,
            shares: number(limited, "nominalConcurrencyShares").unwrap_or(if is_exempt { 0 } else { 30 }),
            lendable: number(limited, "lendablePercent").unwrap_or_default().min(100),
            borrowing: number(limited, "borrowingLimitPercent"),
            queuing,
        }
    }
}

/// Shares `seats` out. Each level has at least one that it need not lend, or it might wait for ever where there are few.
pub fn limits<'a>(
    levels: impl Iterator<Item = &'a Level> + Clone,
    seats: usize,
) -> BTreeMap<Arc<str>, Limits> {
    let all = levels.clone().map(|level| u128::from(level.shares)).sum::<u128>().max(1);
    let count = |number: u128| usize::try_from(number).unwrap_or(usize::MAX);
    let of = |level: &Level| {
        let nominal = count((seats as u128 * u128::from(level.shares)).div_ceil(all));
        let percent = |percent: u64| count((nominal as u128 * u128::from(percent) + 50) / 100);
        let most = level.borrowing.map_or(seats, |borrowing| nominal.saturating_add(percent(borrowing)));
        // As many as a flow finds in the queues that the original deals it.
        let (waiting_of_flow, waiting) = level.queuing.map_or((0, 0), |queuing| {
            (queuing.hand.saturating_mul(queuing.length), queuing.queues.saturating_mul(queuing.length))
        });
        let hand = level.queuing.map_or(1, |queuing| queuing.hand.max(1));
        Limits {
            is_exempt: level.is_exempt,
            nominal,
            // As the original's work estimator has it.
            widest: (nominal * 15).div_ceil(100).min(nominal / hand).max(1),
            least: (nominal - percent(level.lendable).min(nominal)).max(usize::from(!level.is_exempt)),
            most: most.max(nominal).max(1),
            waiting_of_flow,
            waiting,
        }
    };
    levels.map(|level| (Arc::clone(&level.name), of(level))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Rules;

    /// What kube-apiserver 1.36 shows in its metrics (`nominal_limit_seats`, `lower_limit_seats`) with its 600 seats.
    #[test]
    fn levels_share_the_seats_as_the_originals_do() {
        let limits = Rules::of_defaults().limits(600);
        let of = |name: &str| (limits[name].nominal, limits[name].least);
        for (name, want) in [
            ("exempt", (0, 0)),
            ("catch-all", (13, 13)),
            ("global-default", (49, 24)),
            ("leader-election", (25, 25)),
            ("node-high", (98, 73)),
            ("system", (74, 50)),
            ("workload-high", (98, 49)),
            ("workload-low", (245, 24)),
        ] {
            assert_eq!(of(name), want, "{name}");
        }
        assert_eq!((limits["workload-low"].waiting_of_flow, limits["workload-low"].waiting), (300, 6_400));
        assert_eq!((limits["workload-low"].widest, limits["global-default"].widest), (37, 8));
        assert_eq!(limits["catch-all"].waiting, 0);
        let few = Rules::of_defaults().limits(1);
        assert!(few.values().all(|limits| limits.is_exempt || (limits.least, limits.most) == (1, 1)));
    }
}
