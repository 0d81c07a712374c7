//! From a destination address to what serves it: a tree of chains over the last hexadecimal digits of addresses, so
//! that the first packet of a connection meets some dozens of rules however many services there are. Pure.
//!
//! The tree depends on nothing but the rules in it, in whatever order they came.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::{ENDS_IN, SERVICES};
use super::render::At;

/// A chain of more rules is split by one more digit.
pub const LEAF: usize = 64;

/// So many digits at most: in the nft flavour a packet may be 16 chains deep.
const LEVELS: u8 = 4;

/// Rules for single addresses, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// By [`key`].
    rules: BTreeMap<u16, BTreeMap<(IpAddr, At), String>>,
}

/// Chains by name, and what they hold.
pub type Chains = BTreeMap<String, Vec<String>>;

impl Dispatch {
    pub fn put(&mut self, ip: IpAddr, at: At, rule: String) {
        self.rules.entry(key(ip)).or_default().insert((ip, at), rule);
    }

    pub fn remove(&mut self, ip: IpAddr, at: &At) {
        if let Some(rules) = self.rules.get_mut(&key(ip)) {
            rules.remove(&(ip, at.clone()));
            if rules.is_empty() {
                self.rules.remove(&key(ip));
            }
        }
    }

    /// The whole tree; its root is always there.
    pub fn chains(&self) -> Chains {
        let mut chains = Chains::new();
        self.walk(Bucket::ROOT, &mut chains, &|_| true);
        chains
    }

    /// The chains that a change of what is in for these addresses can make, unmake or fill otherwise, and some more.
    pub fn around(&self, ips: impl IntoIterator<Item = IpAddr>) -> Chains {
        let keys: Vec<u16> = ips.into_iter().map(key).collect();
        let mut chains = Chains::new();
        // Where a chain is split, or is no longer, the chains below it come or go, whatever addresses they are for.
        let near = |bucket: Bucket| keys.iter().any(|key| bucket.parent().holds(*key));
        self.walk(Bucket::ROOT, &mut chains, &near);
        chains
    }

    fn walk(&self, bucket: Bucket, into: &mut Chains, wanted: &dyn Fn(Bucket) -> bool) {
        if !wanted(bucket) {
            return;
        }
        let mut rules = Vec::new();
        if self.is_split(bucket) {
            for child in bucket.children() {
                let mut inside = self.inside(child);
                match (inside.next(), inside.next()) {
                    (Some(((ip, _), _)), Some(_)) => {
                        rules.push(format!("-d {} -j {}", child.of(*ip), child.chain()));
                        self.walk(child, into, wanted);
                    }
                    (one, _) => rules.extend(one.map(|(_, rule)| rule.clone())),
                }
            }
        } else {
            rules.extend(self.inside(bucket).map(|(_, rule)| rule.clone()));
        }
        into.insert(bucket.chain(), rules);
    }

    fn inside(&self, bucket: Bucket) -> impl Iterator<Item = (&(IpAddr, At), &String)> {
        self.rules.range(bucket.first..=bucket.last()).flat_map(|(_, rules)| rules)
    }

    /// What differs in no digit that counts stays together: the ports of one address above all.
    fn is_split(&self, bucket: Bucket) -> bool {
        let keys = || self.rules.range(bucket.first..=bucket.last()).map(|(key, _)| key);
        bucket.level < LEVELS
            && keys().next() != keys().next_back()
            && self.inside(bucket).nth(LEAF).is_some()
    }
}

/// An address's last four digits, the last one first: those that agree in their last digits are neighbours.
fn key(ip: IpAddr) -> u16 {
    let low = match ip {
        IpAddr::V4(ip) => u32::from(ip) as u16,
        IpAddr::V6(ip) => u128::from(ip) as u16,
    };
    turned(low)
}

/// The four digits from the last to the first.
fn turned(digits: u16) -> u16 {
    let [high, low] = digits.to_be_bytes();
    u16::from_be_bytes([low.rotate_left(4), high.rotate_left(4)])
}

/// All addresses that end in the same digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    /// How many digits.
    level: u8,
    /// The lowest key.
    first: u16,
}

impl Bucket {
    const ROOT: Bucket = Bucket { level: 0, first: 0 };

    /// Which digits of a key are free.
    fn free(self) -> u16 {
        u16::MAX.checked_shr(4 * u32::from(self.level)).unwrap_or(0)
    }

    fn last(self) -> u16 {
        self.first | self.free()
    }

    fn holds(self, key: u16) -> bool {
        (self.first..=self.last()).contains(&key)
    }

    fn parent(self) -> Bucket {
        let mut parent = Bucket { level: self.level.saturating_sub(1), first: self.first };
        parent.first &= !parent.free();
        parent
    }

    fn children(self) -> impl Iterator<Item = Bucket> {
        let level = self.level + 1;
        (0..16u16)
            .map(move |digit| Bucket { level, first: self.first | digit << (16 - 4 * u32::from(level)) })
    }

    fn chain(self) -> String {
        match usize::from(self.level) {
            0 => SERVICES.to_owned(),
            width => format!("{ENDS_IN}{:0width$X}", turned(self.first)),
        }
    }

    /// As a match of addresses of this one's family: `0.0.0.10/0.0.0.15`.
    fn of(self, ip: IpAddr) -> String {
        let (value, mask) = (turned(self.first), turned(!self.free()));
        match ip {
            IpAddr::V4(_) => {
                format!("{}/{}", Ipv4Addr::from(u32::from(value)), Ipv4Addr::from(u32::from(mask)))
            }
            IpAddr::V6(_) => {
                format!("{}/{}", Ipv6Addr::from(u128::from(value)), Ipv6Addr::from(u128::from(mask)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u16) -> At {
        At::Number(number)
    }

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a60_0000 + number).into()
    }

    fn of(numbers: impl IntoIterator<Item = u32>) -> Dispatch {
        let mut dispatch = Dispatch::default();
        numbers.into_iter().for_each(|number| dispatch.put(ip(number), at(1), format!("-d {}", ip(number))));
        dispatch
    }

    #[test]
    fn few_rules_stand_in_one_chain() {
        let chains = of(0..LEAF as u32).chains();
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[SERVICES].len(), LEAF);
    }

    #[test]
    fn many_rules_stand_by_the_last_digits_of_their_addresses() {
        let chains = of(0..2_000).chains();
        assert_eq!(chains[SERVICES].len(), 16);
        assert_eq!(chains[SERVICES][10], "-d 0.0.0.10/0.0.0.15 -j KUBE-SVC-ENDS-IN-A");
        assert_eq!(chains["KUBE-SVC-ENDS-IN-A"][15], "-d 0.0.0.250/0.0.0.255 -j KUBE-SVC-ENDS-IN-FA");
        assert_eq!(chains["KUBE-SVC-ENDS-IN-0A"][1], "-d 10.96.1.10");
        assert_eq!(chains.values().flatten().filter(|rule| !rule.contains("-j")).count(), 2_000);
        assert!(chains.values().all(|rules| rules.len() <= LEAF) && chains.len() == 1 + 16 + 256);
    }

    #[test]
    fn a_lonely_rule_takes_no_chain() {
        let chains = of((0..=LEAF as u32).map(|n| n * 16).chain([5])).chains();
        assert_eq!(chains[SERVICES], ["-d 0.0.0.0/0.0.0.15 -j KUBE-SVC-ENDS-IN-0", "-d 10.96.0.5"]);
    }

    #[test]
    fn the_ports_of_one_address_stay_together() {
        let mut dispatch = Dispatch::default();
        let fd00: IpAddr = "fd00:10:96::1234".parse().unwrap();
        (0..1000).for_each(|number| dispatch.put(fd00, at(number), format!("--dport {number}")));
        assert_eq!(dispatch.chains().len(), 1);
        dispatch.put("fd00:10:96::5".parse().unwrap(), at(1), String::new());
        let chains = dispatch.chains();
        assert_eq!(chains[SERVICES][0], "-d ::4/::f -j KUBE-SVC-ENDS-IN-4");
        assert_eq!((chains.len(), chains["KUBE-SVC-ENDS-IN-4"].len()), (2, 1000));
    }

    #[test]
    fn what_a_change_touches_is_around_it() {
        for (before, ip_changed) in [(64, 3), (65, 64), (1040, 1039), (2_000, 7), (1, 0)] {
            let (old, mut new) = (of(0..before), of(0..before));
            new.remove(ip(ip_changed), &at(1));
            let (mut want, have) = (new.chains(), old.chains());
            let (mut gone, come) = (old.around([ip(ip_changed)]), new.around([ip(ip_changed)]));
            want.retain(|chain, rules| have.get(chain) != Some(rules));
            assert!(want.iter().all(|(chain, rules)| come.get(chain) == Some(rules)), "{before}");
            gone.retain(|chain, _| !come.contains_key(chain));
            let lost: Vec<_> = have.keys().filter(|chain| !new.chains().contains_key(*chain)).collect();
            assert_eq!(gone.keys().collect::<Vec<_>>(), lost, "{before}");
        }
    }
}
