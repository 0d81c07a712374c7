//! From a destination address to what serves it: a tree of chains over the last hexadecimal digits of addresses, so
//! that the first packet of a connection meets some dozens of rules however many services there are. Pure.
//!
//! An address of many ports has a chain of its own, so that they are no cost of its neighbours: a packet to another
//! address passes one rule of it, and a chain that is split or joined moves one.
//!
//! The tree depends on nothing but the rules in it, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::names::{ENDS_IN, SERVICES, hash};
use super::render::At;

/// A chain of more rules is split by one more digit.
pub const LEAF: usize = 64;

/// So many digits at most: in the nft flavour a packet may be 16 chains deep.
const LEVELS: u8 = 4;

/// An address of more rules has a chain of its own.
const MANY: usize = 16;

/// Rules for single addresses, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// By [`key`].
    rules: BTreeMap<u16, BTreeMap<IpAddr, OfAddress>>,
}

/// The rules of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfAddress {
    rules: BTreeMap<At, String>,
    /// Where there are [many](MANY): the one that leads to them, to stand for them in the tree.
    lead: Option<String>,
}

impl OfAddress {
    fn follow(&mut self, ip: IpAddr) {
        let many = self.rules.len() > MANY;
        if many != self.lead.is_some() {
            self.lead = many.then(|| format!("-d {} -j {}", IpNet::from(ip), own_chain(ip)));
        }
    }

    /// Puts in the chain of the address itself, where it has one.
    fn own(&self, ip: IpAddr, into: &mut Chains) {
        if self.lead.is_some() {
            into.insert(own_chain(ip), self.rules.values().cloned().collect());
        }
    }

    /// As they stand in the tree.
    fn lines(&self) -> impl Iterator<Item = &String> {
        let rules = self.lead.is_none().then(|| self.rules.values());
        self.lead.iter().chain(rules.into_iter().flatten())
    }
}

/// The chain of an address of many rules: its name is longer than one of the tree, and no longer than a name may be.
fn own_chain(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ENDS_IN}{:08X}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{ENDS_IN}{}", &hash(&ip.to_string())[..11]),
    }
}

/// Chains by name, and what they hold.
pub type Chains = BTreeMap<String, Vec<String>>;

impl Dispatch {
    pub fn put(&mut self, ip: IpAddr, at: At, rule: String) {
        let of = self.rules.entry(key(ip)).or_default().entry(ip).or_default();
        of.rules.insert(at, rule);
        of.follow(ip);
    }

    pub fn remove(&mut self, ip: IpAddr, at: &At) {
        let Some(near) = self.rules.get_mut(&key(ip)) else { return };
        let Some(of) = near.get_mut(&ip) else { return };
        of.rules.remove(at);
        of.follow(ip);
        if of.rules.is_empty() {
            near.remove(&ip);
        }
        if near.is_empty() {
            self.rules.remove(&key(ip));
        }
    }

    /// The whole tree; its root is always there.
    pub fn chains(&self) -> Chains {
        let mut chains = Chains::new();
        self.walk(Bucket::ROOT, &mut chains, &|_| true);
        self.rules.values().flatten().for_each(|(ip, of)| of.own(*ip, &mut chains));
        chains
    }

    /// The chains that a change of what is in for these addresses can make, unmake or fill otherwise, and some more.
    pub fn around(&self, ips: impl IntoIterator<Item = IpAddr>) -> Chains {
        let ips: BTreeSet<IpAddr> = ips.into_iter().collect();
        let keys: BTreeSet<u16> = ips.iter().copied().map(key).collect();
        let mut chains = Chains::new();
        // Where a chain is split, or is no longer, the chains below it come or go, whatever addresses they are for.
        let near = |bucket: Bucket| keys.range(bucket.parent().keys()).next().is_some();
        self.walk(Bucket::ROOT, &mut chains, &near);
        for ip in ips {
            if let Some(of) = self.rules.get(&key(ip)).and_then(|near| near.get(&ip)) {
                of.own(ip, &mut chains);
            }
        }
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
                    (Some((ip, _)), Some(_)) => {
                        rules.push(format!("-d {} -j {}", child.of(ip), child.chain()));
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

    fn inside(&self, bucket: Bucket) -> impl Iterator<Item = (IpAddr, &String)> {
        let addresses = self.rules.range(bucket.keys()).flat_map(|(_, near)| near);
        addresses.flat_map(|(ip, of)| of.lines().map(move |rule| (*ip, rule)))
    }

    /// What differs in no digit that counts stays together: the ports of one address above all.
    fn is_split(&self, bucket: Bucket) -> bool {
        let keys = || self.rules.range(bucket.keys()).map(|(key, _)| key);
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

    fn keys(self) -> RangeInclusive<u16> {
        self.first..=self.first | self.free()
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
    fn an_address_of_many_ports_has_a_chain_of_its_own() {
        let mut dispatch = Dispatch::default();
        let fd00: IpAddr = "fd00:10:96::1234".parse().unwrap();
        let put = |dispatch: &mut Dispatch, ip, n| {
            (0..n).for_each(|n| dispatch.put(ip, at(n), format!("--dport {n}")))
        };
        put(&mut dispatch, fd00, MANY as u16);
        assert_eq!(dispatch.chains()[SERVICES].len(), MANY);
        put(&mut dispatch, fd00, 1000);
        put(&mut dispatch, ip(7), 1000);
        let chains = dispatch.chains();
        let own = own_chain(fd00);
        assert!(own.len() <= 28 && own.starts_with(ENDS_IN), "{own}");
        let leads = [
            format!("-d fd00:10:96::1234/128 -j {own}"),
            "-d 10.96.0.7/32 -j KUBE-SVC-ENDS-IN-0A600007".into(),
        ];
        assert_eq!(chains[SERVICES], leads);
        assert_eq!((chains.len(), chains[&own].len()), (3, 1000));
        // The chain is changed with its address alone.
        assert!(dispatch.around([fd00]).contains_key(&own) && !dispatch.around([ip(7)]).contains_key(&own));
        (MANY as u16..1000).for_each(|n| dispatch.remove(fd00, &at(n)));
        assert_eq!((dispatch.chains().len(), dispatch.chains()[SERVICES].len()), (2, MANY + 1));
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
