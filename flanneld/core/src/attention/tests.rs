use proptest::prelude::*;

use super::*;

/// A kernel with few links and few of everything, so that changes of ours and of others meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kernel {
    /// Index and name.
    links: BTreeSet<(u32, u8)>,
    addresses: BTreeSet<(u32, u8)>,
    routes: BTreeSet<(IpNet, u32)>,
    neighbours: BTreeSet<(u32, u8)>,
    fdb: BTreeSet<(u32, u8)>,
}

#[derive(Clone, Debug)]
enum Act {
    AddLink(u8),
    DeleteLink(u32),
    Down(u32),
    Address(u32, u8),
    Route(u8, u32),
    Neighbour(u32, u8),
    Fdb(u32, u8),
    /// The daemon takes the chance to look.
    Look,
}

/// The names of links that carry the overlay, and of all that are ours.
const OVERLAY: [u8; 1] = [1];
const OURS: [u8; 3] = [1, 2, 3];
const NAMES: u8 = 6;

fn act() -> impl Strategy<Value = Act> {
    let index = 1u32..12;
    prop_oneof![
        (0..NAMES).prop_map(Act::AddLink),
        index.clone().prop_map(Act::DeleteLink),
        index.clone().prop_map(Act::Down),
        (index.clone(), 0u8..3).prop_map(|(i, a)| Act::Address(i, a)),
        (0u8..4, index.clone()).prop_map(|(r, i)| Act::Route(r, i)),
        (index.clone(), 0u8..3).prop_map(|(i, n)| Act::Neighbour(i, n)),
        (index, 0u8..3).prop_map(|(i, n)| Act::Fdb(i, n)),
        Just(Act::Look),
    ]
}

fn destination(route: u8) -> IpNet {
    ["10.244.1.0/24", "10.244.2.0/24", "192.0.2.0/24", "0.0.0.0/0"][usize::from(route)].parse().unwrap()
}

fn network() -> IpNet {
    "10.244.0.0/16".parse().unwrap()
}

fn into_ours(destination: &IpNet) -> bool {
    destination.prefix_len() == 0 || network().contains(destination)
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, value: T) {
    if !set.remove(&value) {
        set.insert(value);
    }
}

impl Kernel {
    /// Carries out an act, and tells of it as Linux does: what goes with a link or an address goes without a word.
    fn act(&mut self, act: &Act, next: &mut u32) -> Option<Change> {
        let there = |kernel: &Self, index: u32| kernel.links.iter().any(|(i, _)| *i == index);
        match *act {
            Act::AddLink(name) if !self.links.iter().any(|(_, n)| *n == name) => {
                *next += 1;
                self.links.insert((*next, name));
                Some(Change::Link(*next))
            }
            Act::DeleteLink(index) if there(self, index) => {
                self.links.retain(|(i, _)| *i != index);
                self.addresses.retain(|(i, _)| *i != index);
                self.flush(index);
                Some(Change::Link(index))
            }
            Act::Down(index) if there(self, index) => {
                self.flush(index);
                Some(Change::Link(index))
            }
            Act::Address(index, address) if there(self, index) => {
                toggle(&mut self.addresses, (index, address));
                self.routes.retain(|(_, dev)| *dev != index);
                Some(Change::Address(index))
            }
            Act::Route(route, dev) if there(self, dev) => {
                toggle(&mut self.routes, (destination(route), dev));
                Some(Change::Route { destination: destination(route), dev: Some(dev) })
            }
            Act::Neighbour(index, entry) if there(self, index) => {
                toggle(&mut self.neighbours, (index, entry));
                Some(Change::Neighbour(index))
            }
            Act::Fdb(index, entry) if there(self, index) => {
                toggle(&mut self.fdb, (index, entry));
                Some(Change::Fdb(index))
            }
            _ => None,
        }
    }

    fn flush(&mut self, index: u32) {
        self.routes.retain(|(_, dev)| *dev != index);
        self.neighbours.retain(|(i, _)| *i != index);
        self.fdb.retain(|(i, _)| *i != index);
    }

    fn indices(&self, names: &[u8]) -> BTreeSet<u32> {
        self.links.iter().filter(|(_, name)| names.contains(name)).map(|(index, _)| *index).collect()
    }

    fn attention(&self) -> Attention {
        Attention {
            known: self.links.iter().map(|(index, _)| *index).collect(),
            overlay: self.indices(&OVERLAY),
            ours: self.indices(&OURS),
            routed: self.routes.iter().filter(|(to, _)| into_ours(to)).map(|(_, dev)| *dev).collect(),
            networks: vec![network()],
            ..Attention::default()
        }
    }

    /// Reads the tables that are to be read again.
    fn read(&mut self, from: &Self, parts: Parts) {
        if parts.links {
            self.links.clone_from(&from.links);
            self.addresses.clone_from(&from.addresses);
        }
        if parts.routes {
            self.routes.clone_from(&from.routes);
        }
        if parts.neighbours {
            self.neighbours.clone_from(&from.neighbours);
        }
        if parts.fdb {
            self.fdb.clone_from(&from.fdb);
        }
    }

    /// What a plan depends on.
    fn of_concern(&self) -> Self {
        let overlay = self.indices(&OVERLAY);
        let concerns = |(to, dev): &(IpNet, u32)| overlay.contains(dev) || into_ours(to);
        Self {
            links: self.links.clone(),
            addresses: self.addresses.clone(),
            routes: self.routes.iter().filter(|route| concerns(route)).copied().collect(),
            neighbours: self.neighbours.iter().filter(|(i, _)| overlay.contains(i)).copied().collect(),
            fdb: self.fdb.iter().filter(|(i, _)| overlay.contains(i)).copied().collect(),
        }
    }
}

proptest! {
    /// Whatever happens, and whenever the daemon looks: what it knows after a partial look is what a full look shows.
    #[test]
    fn partial_looks_see_what_a_full_look_sees(acts in proptest::collection::vec(act(), 0..60)) {
        let (mut kernel, mut known, mut next) = (Kernel::default(), Kernel::default(), 0);
        let mut dirty = Parts::ALL;
        for act in acts.iter().chain([&Act::Look]) {
            match kernel.act(act, &mut next) {
                Some(change) => dirty |= known.attention().parts(change),
                None if matches!(act, Act::Look) => {
                    known.read(&kernel, std::mem::take(&mut dirty));
                    prop_assert_eq!(known.of_concern(), kernel.of_concern());
                }
                None => {}
            }
        }
    }
}

#[test]
fn what_concerns_others_alone_costs_no_look() {
    let attention = Attention {
        known: (1..10).collect(),
        overlay: [7].into(),
        ours: [2, 5, 7].into(),
        networks: vec!["10.244.0.0/16".parse().unwrap()],
        ..Attention::default()
    };
    let route =
        |destination: &str, dev| Change::Route { destination: destination.parse().unwrap(), dev: Some(dev) };
    for change in [
        Change::Neighbour(2),
        Change::Neighbour(3),
        Change::Fdb(5),
        Change::OtherRoute,
        route("192.0.2.0/24", 3),
        route("10.0.0.0/8", 2),
        route("2001:db8::/32", 2),
    ] {
        assert!(!attention.parts(change).any(), "{change:?}");
    }
    for (change, want) in [
        (Change::Neighbour(7), Parts { neighbours: true, ..Parts::default() }),
        (Change::Fdb(7), Parts { fdb: true, ..Parts::default() }),
        (route("10.244.3.0/24", 3), Parts { routes: true, ..Parts::default() }),
        (route("192.0.2.0/24", 7), Parts { routes: true, ..Parts::default() }),
        (route("0.0.0.0/0", 2), Parts { routes: true, ..Parts::default() }),
        (Change::Link(7), Parts::ALL),
        (Change::Link(99), Parts::ALL),
        (Change::Lost, Parts::ALL),
    ] {
        assert_eq!(attention.parts(change), want, "{change:?}");
    }
    let follows = Attention { bridge_ports: true, all_routes: true, ..attention };
    assert!(follows.parts(Change::Fdb(5)).bridge && follows.parts(Change::OtherRoute).routes);
}
