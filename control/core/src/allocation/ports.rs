//! Node ports: a range, what is taken of it, and the order in which the others are tried.

use std::collections::BTreeSet;
use std::fmt;

use super::PortWish;

/// Stands in a dry run for a port that is not known yet: above the usual range.
const NO_PORT: u16 = 32_769;

/// The ports that services may have: `30000-32767` unless the operator says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// Why a port is refused, in the original's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("provided port is already allocated")]
    Taken,
    #[error("provided port is not in the valid range. The range of valid ports is {0}")]
    Outside(PortRange),
    #[error("range is full")]
    Full,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl PortRange {
    /// As it is shown: two ports and a dash.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()? };
        (range.first <= range.last).then_some(range)
    }

    /// Ports at the start that are given away by name only as long as there are others: a 32nd part, but 16 at least and
    /// 128 at most, and none where the range is small (KEP-3668).
    pub fn reserved(self) -> u16 {
        let size = u32::from(self.last.saturating_sub(self.first)) + 1;
        match size {
            ..16 => 0,
            size => u16::try_from((size / 32).clamp(16, 128).min(size)).unwrap_or_default(),
        }
    }

    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// # Errors
    /// The port cannot be had.
    pub fn check(self, port: u16, taken: &BTreeSet<u16>) -> Result<(), PortError> {
        if !self.contains(port) {
            return Err(PortError::Outside(self));
        }
        if taken.contains(&port) { Err(PortError::Taken) } else { Ok(()) }
    }

    /// The next free port, looking from `start` (any number) on: behind the reserved ones first.
    ///
    /// # Errors
    /// None is free.
    pub fn next(self, start: u64, taken: &BTreeSet<u16>) -> Result<u16, PortError> {
        let low = self.first.saturating_add(self.reserved());
        let free = |from: u16, to: u16| {
            if from > to {
                return None;
            }
            let size = u64::from(to - from) + 1;
            let port = |n: u64| u16::try_from(u64::from(from) + (start % size + n) % size).ok();
            (0..size).filter_map(port).find(|port| !taken.contains(port))
        };
        let above = free(low, self.last);
        above.or_else(|| free(self.first, low.saturating_sub(1).min(self.last))).ok_or(PortError::Full)
    }
}

/// What a dry run shows, without anything being reserved: for ports that are not asked for, numbers above all that are.
///
/// # Errors
/// One that is asked for is taken: the place of its port, and its number.
pub fn dry(wishes: &[PortWish], taken: &BTreeSet<u16>) -> Result<Vec<u16>, (usize, u16, PortError)> {
    let mut shown: Vec<u16> = Vec::new();
    for wish in wishes {
        let port = match wish.wanted {
            Some(wanted) if taken.contains(&wanted) || shown.contains(&wanted) => {
                return Err((wish.place.unwrap_or_default(), wanted, PortError::Taken));
            }
            Some(wanted) => wanted,
            None => shown.iter().max().map_or(NO_PORT, |port| port.saturating_add(1)),
        };
        shown.push(port);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PortRange = PortRange { first: 30_000, last: 32_767 };

    #[test]
    fn a_port_is_refused_in_the_originals_words() {
        let taken = BTreeSet::from([30_001]);
        assert_eq!(RANGE.check(30_000, &taken), Ok(()));
        assert_eq!(RANGE.check(30_001, &taken), Err(PortError::Taken));
        assert_eq!(
            RANGE.check(80, &taken).map_err(|error| error.to_string()),
            Err("provided port is not in the valid range. The range of valid ports is 30000-32767".to_owned())
        );
    }

    #[test]
    fn reserved_ports_are_given_away_last() {
        assert_eq!(RANGE.reserved(), 86);
        let small = PortRange { first: 1, last: 20 };
        let mut taken = BTreeSet::new();
        let mut order = Vec::new();
        while let Ok(port) = small.next(3, &taken) {
            taken.insert(port);
            order.push(port);
        }
        assert_eq!(order.len(), 20);
        assert_eq!(order[..4], [20, 17, 18, 19]);
        assert_eq!(small.next(0, &taken), Err(PortError::Full));
    }
}
