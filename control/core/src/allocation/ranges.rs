//! The ranges that ServiceCIDRs name, and which address of them is next.
//!
//! Facts: a range may stand in several ServiceCIDRs, and ranges may overlap; an address is given out of one that is ready
//! (KEP-1880). One that says nothing of `Ready` is, for it is the controller manager that says so.

use std::net::IpAddr;

use serde_json::Value;

use super::Family;
use super::addresses::{AddressError, AddressRange};
use crate::cidrs::Cidr;
use crate::edit::{list, text};

/// What the objects are listed under.
pub const RESOURCE: &str = "servicecidrs.networking.k8s.io";

/// The name of the one that follows from `--service-cluster-ip-range`.
pub const DEFAULT: &str = "kubernetes";

/// Shortest prefix of a range of IPv6, in bits.
const SHORTEST_V6: u8 = 64;

/// All ranges, that of the cluster's flags first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(AddressRange, bool)>);

impl Ranges {
    /// From all ServiceCIDRs.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut objects: Vec<&Value> = objects.into_iter().collect();
        let name = |object: &Value| text(object, &["metadata", "name"]).to_owned();
        objects.sort_by_key(|object| (name(object) != DEFAULT, name(object)));
        let mut found: Vec<(AddressRange, bool)> = Vec::new();
        for object in objects {
            let ready = is_ready(object);
            for range in list(object, &["spec", "cidrs"]).iter().filter_map(|cidr| range(cidr.as_str()?)) {
                match found.iter_mut().find(|(known, _)| *known == range) {
                    Some((_, other)) => *other |= ready,
                    None => found.push((range, ready)),
                }
            }
        }
        Self(found)
    }

    fn ready(&self) -> impl Iterator<Item = AddressRange> {
        self.0.iter().filter(|(_, ready)| *ready).map(|(range, _)| *range)
    }

    /// A range has the address, ready or not.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(range, _)| range.contains(address))
    }

    /// # Errors
    /// The address cannot be had, whoever has it.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        match self.ready().any(|range| range.contains(address)) {
            true => Ok(()),
            false => Err(AddressError::Elsewhere),
        }
    }

    /// As [`Ranges::check`], where nothing shall be reserved.
    ///
    /// # Errors
    /// No range has the address.
    pub fn check_dry(&self, address: IpAddr) -> Result<(), AddressError> {
        let family = Family::of(address);
        match self.ready().find(|range| Family::of(range.network()) == family) {
            Some(range) if !self.contains(address) => Err(AddressError::Outside { address, range }),
            Some(_) => Ok(()),
            None => Err(AddressError::Elsewhere),
        }
    }

    /// The next free address of a family, looking from `start` (any number) on, in one range after the other. `taken`: how
    /// many there are that `is_taken` knows.
    ///
    /// # Errors
    /// None is free.
    pub fn next(
        &self,
        family: Family,
        start: u64,
        taken: u64,
        is_taken: &dyn Fn(IpAddr) -> bool,
    ) -> Result<IpAddr, AddressError> {
        let mut ranges = self.ready().filter(|range| Family::of(range.network()) == family);
        let next = |range: AddressRange| range.next(start, taken.saturating_add(1), is_taken);
        ranges.find_map(next).ok_or(AddressError::Full)
    }

    /// The network that a dry run shows of a family.
    pub fn network(&self, family: Family) -> Option<IpAddr> {
        self.0.iter().map(|(range, _)| range.network()).find(|network| Family::of(*network) == family)
    }
}

fn is_ready(object: &Value) -> bool {
    let going = !text(object, &["metadata", "deletionTimestamp"]).is_empty();
    let mut conditions = list(object, &["status", "conditions"]).iter();
    let ready = conditions.find(|condition| text(condition, &["type"]) == "Ready");
    !going && ready.is_none_or(|ready| text(ready, &["status"]) == "True")
}

fn range(cidr: &str) -> Option<AddressRange> {
    let cidr = Cidr::parse(cidr)?;
    let short = cidr.address.is_ipv6() && cidr.prefix < SHORTEST_V6;
    AddressRange::new(cidr.address, cidr.prefix).filter(|_| !short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_come_from_ranges_that_are_ready_the_clusters_first() {
        let object = |name: &str, cidrs: &[&str], ready: &str| {
            let conditions = match ready {
                "" => json!([]),
                ready => json!([{"type": "Ready", "status": ready}]),
            };
            json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}})
        };
        let ranges = Ranges::of(&[
            object("a", &["10.2.0.0/30"], "True"),
            object("b", &["10.3.0.0/24"], "False"),
            object("kubernetes", &["10.1.0.0/30", "fd00::/108"], ""),
            object("short", &["fd01::/48"], ""),
        ]);
        assert_eq!(ranges.check(ip("10.2.0.1")), Ok(()));
        assert_eq!(ranges.check(ip("10.3.0.1")), Err(AddressError::Elsewhere));
        assert!(ranges.contains(ip("10.3.0.1")) && !ranges.contains(ip("fd01::1")));
        let next = |family, taken: &[&str]| {
            let taken: Vec<IpAddr> = taken.iter().map(|text| ip(text)).collect();
            ranges.next(family, 0, taken.len() as u64, &|address| taken.contains(&address))
        };
        assert_eq!(next(Family::V4, &[]), Ok(ip("10.1.0.1")));
        assert_eq!(next(Family::V4, &["10.1.0.1", "10.1.0.2"]), Ok(ip("10.2.0.1")));
        assert_eq!(
            next(Family::V4, &["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.2.0.2"]),
            Err(AddressError::Full)
        );
        assert_eq!(ranges.network(Family::V6), Some(ip("fd00::")));
        assert_eq!(Ranges::default().next(Family::V4, 0, 0, &|_| false), Err(AddressError::Full));
    }
}
