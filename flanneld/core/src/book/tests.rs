use super::*;
use proptest::prelude::*;

const OWN: &str = "/coreos.com/network/subnets/10.5.1.0-24";

fn book() -> LeaseBook {
    LeaseBook::new("10.5.1.0-24".parse().unwrap(), Ipv4Addr::new(192, 168, 0, 1))
}

fn stored(key: &str, value: &str) -> Stored {
    let attrs = LeaseAttrs::from_json(value);
    Stored { subnets: key.parse().unwrap(), attrs, reserved: false, written: 1 }
}

/// As an etcd with these keys and values would feed it, at the first moment of time.
trait Feed {
    fn put_key(&mut self, key: &str, value: impl AsRef<str>) -> Outcome;
    fn delete_key(&mut self, key: &str) -> Outcome;
    fn list<K: AsRef<str>, V: AsRef<str>>(&mut self, all: impl IntoIterator<Item = (K, V)>) -> Outcome;
    fn list_after_loss<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        all: impl IntoIterator<Item = (K, V)>,
    ) -> Outcome;
}

impl Feed for LeaseBook {
    fn put_key(&mut self, key: &str, value: impl AsRef<str>) -> Outcome {
        self.put(stored(key, value.as_ref()))
    }

    fn delete_key(&mut self, key: &str) -> Outcome {
        self.delete(key.parse().unwrap())
    }

    fn list<K: AsRef<str>, V: AsRef<str>>(&mut self, all: impl IntoIterator<Item = (K, V)>) -> Outcome {
        let all = all.into_iter().map(|(key, value)| stored(key.as_ref(), value.as_ref()));
        self.snapshot(all, Continuity::Kept, Duration::ZERO)
    }

    fn list_after_loss<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        all: impl IntoIterator<Item = (K, V)>,
    ) -> Outcome {
        let all = all.into_iter().map(|(key, value)| stored(key.as_ref(), value.as_ref()));
        self.snapshot(all, Continuity::Lost, Duration::ZERO)
    }
}

fn value(host: u8) -> String {
    LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, host)).to_json()
}

fn key(subnet: u8) -> String {
    format!("/coreos.com/network/subnets/10.5.{subnet}.0-24")
}

/// Changes, then notices, one per line.
fn text(outcome: &Outcome) -> String {
    let changes = outcome.changes.iter().map(Change::to_string);
    let notices = outcome.notices.iter().map(|notice| format!("! {notice}"));
    changes.chain(notices).collect::<Vec<_>>().join("\n")
}

fn own() -> (String, String) {
    (OWN.to_owned(), value(1))
}

fn with_peers(peers: &[(u8, u8)]) -> LeaseBook {
    let mut book = book();
    let peers = peers.iter().map(|(subnet, host)| (key(*subnet), value(*host)));
    let outcome = book.list(peers.chain([own()]));
    assert_eq!(outcome.notices, []);
    book
}

#[test]
fn a_snapshot_then_events() {
    let mut book = book();
    let out = book.list([(key(3), value(3)), own(), (key(2), value(2))]);
    insta::assert_snapshot!(text(&out), @r#"
    + 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}
    + 10.5.3.0-24 {"PublicIP":"192.168.0.3","PublicIPv6":null}
    "#);
    insta::assert_snapshot!(text(&book.put_key(&key(4), value(4))), @r#"+ 10.5.4.0-24 {"PublicIP":"192.168.0.4","PublicIPv6":null}"#);
    insta::assert_snapshot!(text(&book.put_key(&key(4), value(9))), @r#"~ 10.5.4.0-24 {"PublicIP":"192.168.0.9","PublicIPv6":null} (was {"PublicIP":"192.168.0.4","PublicIPv6":null})"#);
    insta::assert_snapshot!(text(&book.delete_key(&key(2))), @r#"- 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}"#);
    assert_eq!(book.peers().len(), 2);
}

#[test]
fn what_says_nothing_new_changes_nothing() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(book.put_key(&key(2), value(2)), Outcome::default());
    assert_eq!(book.put_key(OWN, value(1)), Outcome::default());
    assert_eq!(book.list([(key(2), value(2)), own()]), Outcome::default());
    assert_eq!(book.delete_key(&key(9)), Outcome::default());
}

/// flannel 0.28.4's `LeaseWatcher.Reset` compares subnets only: after a compaction, a peer whose public IP or MAC
/// changed meanwhile gives no event, and stays unreachable until its next renewal.
#[test]
fn a_snapshot_with_changed_attributes_is_a_change() {
    let mut book = with_peers(&[(2, 2), (3, 3)]);
    let out = book.list([(key(2), value(9)), (key(3), value(3)), own()]);
    insta::assert_snapshot!(text(&out), @r#"~ 10.5.2.0-24 {"PublicIP":"192.168.0.9","PublicIPv6":null} (was {"PublicIP":"192.168.0.2","PublicIPv6":null})"#);
}

/// flannel 0.28.4's `LeaseWatcher.Reset` keeps the whole snapshot, our own lease with it, and then skips our own when
/// it takes known leases off the list: from the second snapshot on it reports our own subnet as removed.
#[test]
fn our_own_lease_is_never_a_peer_and_never_removed() {
    let mut book = book();
    for _ in 0..3 {
        assert_eq!(book.list([own()]), Outcome::default());
        assert_eq!(book.put_key(OWN, value(1)), Outcome::default());
        assert_eq!(book.peers().len(), 0);
    }
    let out = book.list([(key(2), value(2)), own()]);
    assert_eq!(text(&out), r#"+ 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}"#);
}

#[test]
fn what_happens_to_our_own_lease_is_told_apart() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(book.delete_key(OWN).notices, [Notice::OwnDeleted]);
    assert_eq!(
        book.list([(key(2), value(2))]),
        Outcome { notices: vec![Notice::OwnDeleted], changes: vec![] }
    );
    let by = LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, 7));
    for out in [book.put_key(OWN, value(7)), book.list([(OWN.to_owned(), value(7)), (key(2), value(2))])] {
        assert_eq!(out, Outcome { notices: vec![Notice::OwnTakenOver { by: by.clone() }], changes: vec![] });
        assert_eq!(text(&out), "! our own lease has been taken over by 192.168.0.7");
    }
    assert!(matches!(book.put_key(OWN, "{").notices[..], [Notice::OwnUnreadable { .. }]));
    assert_eq!(book.peers().len(), 1);
}

#[test]
fn what_nobody_can_use_is_reported_and_left_out() {
    let mut book = book();
    for (key, value, want) in [
        ("10.5.2.7-24", value(2), "! 10.5.2.7-24 is ignored: its subnet has bits behind the prefix"),
        (
            "10.5.2.0-24",
            "{}".to_owned(),
            "! 10.5.2.0-24 is ignored: nobody can be reached at its PublicIP 0.0.0.0",
        ),
        (
            "10.5.2.0-24",
            r#"{"PublicIP":"x"}"#.to_owned(),
            "! 10.5.2.0-24 is ignored: its value is no lease: PublicIP is \"x\", which is not an IPv4 address",
        ),
        (
            "10.5.1.128-25",
            value(2),
            "! 10.5.1.128-25 (192.168.0.2) is ignored: it overlaps our own subnets; delete one of the two leases",
        ),
        (
            "10.5.2.0-24",
            value(1),
            "! 10.5.2.0-24 (192.168.0.1) is ignored: its public IP is our own; delete the lease if it is an old one \
             of this node, else give the nodes different addresses with --iface or --public-ip",
        ),
    ] {
        assert_eq!(text(&book.put_key(key, &value)), want);
        assert_eq!(text(&book.list([(key.to_owned(), value), own()])), want);
        assert_eq!(book.peers().len(), 0);
    }
}

#[test]
fn a_peer_that_becomes_unusable_is_removed() {
    let mut book = with_peers(&[(2, 2)]);
    let out = book.put_key(&key(2), "{");
    assert!(matches!(out.changes[..], [Change::Removed(_)]));
    assert!(matches!(out.notices[..], [Notice::Malformed { .. }]));
    assert_eq!(book.peers().len(), 0);
}

#[test]
fn conflicts_between_peers_are_told_once() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(
        text(&Outcome { changes: vec![], ..book.put_key(&key(3), value(2)) }),
        "! 10.5.2.0-24, 10.5.3.0-24 have the same public IP 192.168.0.2; give the nodes different addresses with \
         --iface or --public-ip"
    );
    let attrs =
        LeaseAttrs { backend_type: "vxlan".to_owned(), ..LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, 2)) };
    assert_eq!(book.put_key(&key(3), attrs.to_json()).notices, []);
    let again = book.list([(key(2), value(2)), (key(3), attrs.to_json()), own()]);
    assert_eq!(again, Outcome::default());

    let wide = book.put_key("10.5.2.0-23", value(8));
    let narrow = book.put_key("10.5.2.64-26", value(9));
    assert_eq!((wide.notices.len(), narrow.notices.len()), (1, 1));
    assert_eq!(
        wide.notices[0].to_string(),
        "10.5.2.0-23 (192.168.0.8) overlaps 10.5.2.0-24, 10.5.3.0-24; delete the lease of the node that came later"
    );
    // Gone in one snapshot and taken over in the same: no conflict.
    assert_eq!(with_peers(&[(2, 2)]).list([(key(3), value(2)), own()]).notices, []);
}

/// 65,000 nodes with one address (machines made from one image) or one subnet inside the other: no line per pair, and
/// no work per pair.
#[test]
fn tens_of_thousands_of_leases_are_no_effort_even_in_conflict() {
    const MANY: u32 = 65_000;
    let lease = |i: u32, host: u32| Stored {
        subnets: Subnets::v4(ipnet::Ipv4Net::new((0x0a01_0000 + (i << 6)).into(), 26).unwrap()),
        attrs: Ok(LeaseAttrs::new((0xac10_0000 + host).into())),
        reserved: false,
        written: 1,
    };
    let book = || LeaseBook::new("10.0.0.0-24".parse().unwrap(), Ipv4Addr::new(192, 168, 0, 1));
    let own = || stored("10.0.0.0-24", &value(1));
    let mut apart = book();
    let all = || (0..MANY).map(|i| lease(i, i));
    let out = apart.snapshot(all().chain([own()]), Continuity::Kept, Duration::ZERO);
    assert_eq!((out.changes.len(), out.notices.len()), (MANY as usize, 0));
    let lost = apart.snapshot([own()], Continuity::Lost, Duration::ZERO);
    assert_eq!((lost.changes.len(), lost.notices.len(), apart.held()), (0, 1, MANY as usize));
    for back in all() {
        assert_eq!(apart.put(back), Outcome::default());
    }
    assert_eq!(apart.held(), 0);

    let mut same = book();
    let out = same.snapshot((0..MANY).map(|i| lease(i, 7)).chain([own()]), Continuity::Kept, Duration::ZERO);
    assert_eq!((out.changes.len(), out.notices.len()), (MANY as usize, 1));
    assert_eq!(
        out.notices[0].to_string(),
        "10.1.0.0-26, 10.1.0.64-26, 10.1.0.128-26 and more have the same public IP 172.16.0.7; give the nodes \
         different addresses with --iface or --public-ip"
    );
}

#[test]
fn peers_that_vanish_with_the_stores_data_are_held_and_come_back_without_a_change() {
    let mut book = with_peers(&[(2, 2), (3, 3), (4, 4)]);
    let none: [(String, String); 0] = [];
    let out = book.list_after_loss(none);
    assert_eq!(
        text(&out),
        "! our own lease has been deleted\n! the leases have lost 10.5.2.0-24, 10.5.3.0-24, 10.5.4.0-24 without a word \
         of their end, as when etcd loses its data; the way to them is kept for 24 hours, until they publish their \
         leases again or another node has their subnets; restart flanneld to forget them now"
    );
    assert_eq!((book.peers().len(), book.held()), (3, 3));
    // One publishes again, one is deleted before our eyes, and one stays away.
    assert_eq!(book.put_key(&key(2), value(2)), Outcome::default());
    assert_eq!(book.delete_key(&key(3)).changes.len(), 1);
    // A list that continues the new history ends no hold.
    assert_eq!(book.list([(key(2), value(2)), own()]), Outcome::default());
    assert_eq!(book.next_expiry(), Some(HOLD));
    assert_eq!(book.expire(HOLD - Duration::from_secs(1)), Outcome::default());
    assert_eq!(text(&book.expire(HOLD)), r#"- 10.5.4.0-24 {"PublicIP":"192.168.0.4","PublicIPv6":null}"#);
    assert_eq!((book.peers().len(), book.held(), book.next_expiry()), (1, 0, None));
}

#[test]
fn a_held_peer_goes_when_another_has_its_subnet_or_its_address() {
    let lost = || {
        let mut book = with_peers(&[(2, 2), (3, 3)]);
        book.list_after_loss([own()]);
        assert_eq!(book.held(), 2);
        book
    };
    // The subnet, or one around it, is another's now.
    assert!(matches!(lost().put_key(&key(2), value(9)).changes[..], [Change::Changed { .. }]));
    let mut book = lost();
    let kinds = |out: Outcome| text(&out).lines().map(|line| line[..1].to_owned()).collect::<String>();
    assert_eq!(kinds(book.put_key("10.5.2.0-23", value(9))), "+--");
    assert_eq!((book.peers().len(), book.held()), (1, 0));
    // The node has other subnets now.
    let mut book = lost();
    assert_eq!(kinds(book.put_key(&key(7), value(2))), "-+");
    assert_eq!((book.peers().len(), book.held()), (2, 1));
    // In the very snapshot that shows the loss.
    let mut book = with_peers(&[(2, 2), (3, 3)]);
    assert_eq!(kinds(book.list_after_loss([own(), (key(7), value(2))])), "-+!");
    // The key is there, and nobody can use it.
    let mut book = with_peers(&[(2, 2), (3, 3)]);
    assert_eq!(kinds(book.list_after_loss([own(), (key(2), "{".to_owned())])), "-!!");
    assert_eq!(kinds(book.put_key(&key(3), "{")), "-!");
    assert_eq!((book.peers().len(), book.held()), (0, 0));
}

/// A backup restored with its revisions raised (`--bump-revision`) looks like one that continues.
#[test]
fn a_snapshot_without_our_own_lease_or_half_of_the_peers_counts_as_a_loss() {
    let mut book = with_peers(&[(2, 2), (3, 3), (4, 4)]);
    assert_eq!(book.list([(key(2), value(2)), (key(3), value(3))]).changes, []);
    assert_eq!(book.held(), 1);
    let mut book = with_peers(&[(2, 2), (3, 3), (4, 4), (5, 5)]);
    assert_eq!(book.list([(key(2), value(2)), (key(3), value(3)), own()]).changes, []);
    assert_eq!(book.held(), 2);
    // One or a few that went while we were cut off have really gone.
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(book.list([own()]).changes.len(), 1);
    let mut book = with_peers(&[(2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
    let rest = [(key(4), value(4)), (key(5), value(5)), (key(6), value(6))];
    assert_eq!(book.list(rest.into_iter().chain([own()])).changes.len(), 2);
    assert_eq!(book.held(), 0);
}

/// What a store may hold: few keys, so that they collide, some of them ours, some useless.
fn entry() -> impl Strategy<Value = (String, String)> {
    let keys = ["10.5.1.0-24", "10.5.2.0-24", "10.5.3.0-24", "10.5.2.0-25", "10.5.0.0-22", "10.5.2.9-24"];
    let six = "10.5.4.0-24&fd00:5::-64";
    let keys: Vec<String> = keys.into_iter().chain([six]).map(str::to_owned).collect();
    let values = vec![value(1), value(2), value(3), "{".to_owned(), "{}".to_owned()];
    (prop::sample::select(keys), prop::sample::select(values))
}

#[derive(Clone, Debug)]
enum Event {
    Put(String, String),
    Delete(String),
    /// The watch was lost: these keys change unseen, and a snapshot follows.
    Compacted(Vec<(String, String)>),
    /// The store came back with these keys alone.
    Replaced(Vec<(String, String)>),
    Hours(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let keys = || prop::collection::vec(entry(), 0..6);
    prop_oneof![
        4 => entry().prop_map(|(key, value)| Event::Put(key, value)),
        2 => entry().prop_map(|(key, _)| Event::Delete(key)),
        1 => keys().prop_map(Event::Compacted),
        1 => keys().prop_map(Event::Replaced),
        1 => (1u64..20).prop_map(Event::Hours),
    ]
}

fn fresh(book: &LeaseBook, store: &BTreeMap<String, String>) -> LeaseBook {
    let mut fresh = LeaseBook::new(book.own, book.public_ip);
    fresh.list(store);
    fresh
}

proptest! {
    #[test]
    fn any_history_ends_in_the_book_of_one_fresh_snapshot(events in prop::collection::vec(event(), 0..40)) {
        let mut store: BTreeMap<String, String> = BTreeMap::new();
        let mut book = book();
        let mut now = Duration::ZERO;
        // Whoever follows the changes alone must come to the same end.
        let mut follower: BTreeMap<Subnets, LeaseAttrs> = BTreeMap::new();
        for event in events {
            let all = |store: &BTreeMap<String, String>| {
                store.iter().map(|(key, value)| stored(key, value)).collect::<Vec<_>>()
            };
            let out = match event {
                Event::Put(key, value) => {
                    store.insert(key.clone(), value.clone());
                    book.put_key(&key, value)
                }
                Event::Delete(key) => {
                    store.remove(&key);
                    book.delete_key(&key)
                }
                Event::Compacted(unseen) => {
                    store = unseen.into_iter().collect();
                    book.snapshot(all(&store), Continuity::Kept, now)
                }
                Event::Replaced(unseen) => {
                    let known: Vec<Subnets> = book.peers.keys().copied().collect();
                    store = unseen.into_iter().collect();
                    let out = book.snapshot(all(&store), Continuity::Lost, now);
                    // Nothing goes without a reason that is in the store: the same key, subnet or address.
                    for gone in known.iter().filter(|subnets| book.get(subnets).is_none()) {
                        let attrs = &follower[gone];
                        let reason = store.iter().any(|(key, value)| {
                            let lease = stored(key, value);
                            lease.subnets.overlaps(gone)
                                || lease.attrs.is_ok_and(|other| other.public_ip == attrs.public_ip)
                        });
                        prop_assert!(reason, "{} went", gone);
                    }
                    out
                }
                Event::Hours(hours) => {
                    now += Duration::from_secs(hours * 3600);
                    book.expire(now)
                }
            };
            for change in out.changes {
                let Lease { subnets, attrs } = change.lease().clone();
                match change {
                    Change::Added(_) => prop_assert_eq!(follower.insert(subnets, attrs), None),
                    Change::Changed { was, .. } => prop_assert_eq!(follower.insert(subnets, attrs), Some(was)),
                    Change::Removed(_) => prop_assert_eq!(follower.remove(&subnets), Some(attrs)),
                }
            }
            prop_assert_eq!(&follower, &book.peers);
            prop_assert!(book.peers.keys().all(|subnets| !subnets.overlaps(&book.own)));
            // What is held is in nobody's way, and not in the store.
            let live = fresh(&book, &store);
            for (subnets, until) in &book.held {
                prop_assert!(*until > now.saturating_sub(Duration::from_secs(20 * 3600)));
                prop_assert!(live.peers.keys().all(|other| !other.overlaps(subnets)), "{} is another's", subnets);
            }
            let kept: BTreeMap<_, _> =
                book.peers.iter().filter(|(subnets, _)| !book.held.contains_key(subnets)).collect();
            prop_assert_eq!(kept, live.peers.iter().collect());
        }
        book.expire(now + HOLD);
        let fresh = fresh(&book, &store);
        prop_assert_eq!(&fresh.peers, &book.peers);
        prop_assert_eq!(&fresh.index, &book.index);
        prop_assert_eq!(book.list(&store).changes, vec![]);
    }

    #[test]
    fn the_index_finds_what_a_walk_would(nets in prop::collection::vec((0u32..64, 24u8..=31), 1..12)) {
        let nets = nets.into_iter().map(|(low, len)| {
            Subnets::v4(ipnet::Ipv4Net::new((0x0a05_0000 + (low << 3)).into(), len).unwrap().trunc())
        });
        let nets: BTreeSet<Subnets> = nets.collect();
        let mut index = Index::default();
        for net in &nets {
            index.insert(net, &LeaseAttrs::new(Ipv4Addr::LOCALHOST));
        }
        for net in &nets {
            let want: Vec<Subnets> = nets.iter().filter(|other| *other != net && other.overlaps(net)).copied().collect();
            prop_assert_eq!(index.overlapping(net).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), want);
        }
    }
}
