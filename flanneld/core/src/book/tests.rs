use super::*;
use proptest::prelude::*;

const OWN: &str = "/coreos.com/network/subnets/10.5.1.0-24";

fn book() -> LeaseBook {
    LeaseBook::new("10.5.1.0-24".parse().unwrap(), Ipv4Addr::new(192, 168, 0, 1))
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
    let outcome = book.snapshot(peers.chain([own()]));
    assert_eq!(outcome.notices, []);
    book
}

#[test]
fn a_snapshot_then_events() {
    let mut book = book();
    let out = book.snapshot([(key(3), value(3)), own(), (key(2), value(2))]);
    insta::assert_snapshot!(text(&out), @r#"
    + 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}
    + 10.5.3.0-24 {"PublicIP":"192.168.0.3","PublicIPv6":null}
    "#);
    insta::assert_snapshot!(text(&book.put(&key(4), value(4))), @r#"+ 10.5.4.0-24 {"PublicIP":"192.168.0.4","PublicIPv6":null}"#);
    insta::assert_snapshot!(text(&book.put(&key(4), value(9))), @r#"~ 10.5.4.0-24 {"PublicIP":"192.168.0.9","PublicIPv6":null} (was {"PublicIP":"192.168.0.4","PublicIPv6":null})"#);
    insta::assert_snapshot!(text(&book.delete(&key(2))), @r#"- 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}"#);
    assert_eq!(book.peers().len(), 2);
}

#[test]
fn what_says_nothing_new_changes_nothing() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(book.put(&key(2), value(2)), Outcome::default());
    assert_eq!(book.put(OWN, value(1)), Outcome::default());
    assert_eq!(book.snapshot([(key(2), value(2)), own()]), Outcome::default());
    assert_eq!(book.delete(&key(9)), Outcome::default());
    assert_eq!(book.delete("/coreos.com/network/subnets/nonsense"), Outcome::default());
}

/// flannel 0.28.4's `LeaseWatcher.Reset` compares subnets only: after a compaction, a peer whose public IP or MAC
/// changed meanwhile gives no event, and stays unreachable until its next renewal.
#[test]
fn a_snapshot_with_changed_attributes_is_a_change() {
    let mut book = with_peers(&[(2, 2), (3, 3)]);
    let out = book.snapshot([(key(2), value(9)), (key(3), value(3)), own()]);
    insta::assert_snapshot!(text(&out), @r#"~ 10.5.2.0-24 {"PublicIP":"192.168.0.9","PublicIPv6":null} (was {"PublicIP":"192.168.0.2","PublicIPv6":null})"#);
}

/// flannel 0.28.4's `LeaseWatcher.Reset` keeps the whole snapshot, our own lease with it, and then skips our own when
/// it takes known leases off the list: from the second snapshot on it reports our own subnet as removed.
#[test]
fn our_own_lease_is_never_a_peer_and_never_removed() {
    let mut book = book();
    for _ in 0..3 {
        assert_eq!(book.snapshot([own()]), Outcome::default());
        assert_eq!(book.put(OWN, value(1)), Outcome::default());
        assert_eq!(book.peers().len(), 0);
    }
    let out = book.snapshot([(key(2), value(2)), own()]);
    assert_eq!(text(&out), r#"+ 10.5.2.0-24 {"PublicIP":"192.168.0.2","PublicIPv6":null}"#);
}

#[test]
fn what_happens_to_our_own_lease_is_told_apart() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(book.delete(OWN).notices, [Notice::OwnDeleted]);
    assert_eq!(
        book.snapshot([(key(2), value(2))]),
        Outcome { notices: vec![Notice::OwnDeleted], changes: vec![] }
    );
    let by = LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, 7));
    for out in [book.put(OWN, value(7)), book.snapshot([(OWN.to_owned(), value(7)), (key(2), value(2))])] {
        assert_eq!(out, Outcome { notices: vec![Notice::OwnTakenOver { by: by.clone() }], changes: vec![] });
        assert_eq!(text(&out), "! our own lease has been taken over by 192.168.0.7");
    }
    assert!(matches!(book.put(OWN, "{").notices[..], [Notice::OwnUnreadable { .. }]));
    assert_eq!(book.peers().len(), 1);
}

#[test]
fn what_nobody_can_use_is_reported_and_left_out() {
    let mut book = book();
    for (key, value, want) in [
        ("subnets/x", value(2), "! subnets/x is ignored: it is not the key of a lease"),
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
        assert_eq!(text(&book.put(key, &value)), want);
        assert_eq!(text(&book.snapshot([(key.to_owned(), value), own()])), want);
        assert_eq!(book.peers().len(), 0);
    }
}

#[test]
fn a_peer_that_becomes_unusable_is_removed() {
    let mut book = with_peers(&[(2, 2)]);
    let out = book.put(&key(2), "{");
    assert!(matches!(out.changes[..], [Change::Removed(_)]));
    assert!(matches!(out.notices[..], [Notice::Malformed { .. }]));
    assert_eq!(book.peers().len(), 0);
}

#[test]
fn conflicts_between_peers_are_told_once() {
    let mut book = with_peers(&[(2, 2)]);
    assert_eq!(
        text(&Outcome { changes: vec![], ..book.put(&key(3), value(2)) }),
        "! 10.5.3.0-24 (192.168.0.2) and 10.5.2.0-24 have the same public IP; give the nodes different addresses \
         with --iface or --public-ip"
    );
    let attrs =
        LeaseAttrs { backend_type: "vxlan".to_owned(), ..LeaseAttrs::new(Ipv4Addr::new(192, 168, 0, 2)) };
    assert_eq!(book.put(&key(3), attrs.to_json()).notices, []);
    let again = book.snapshot([(key(2), value(2)), (key(3), attrs.to_json()), own()]);
    assert_eq!(again, Outcome::default());

    let wide = book.put("10.5.2.0-23", value(8));
    let narrow = book.put("10.5.2.64-26", value(9));
    assert_eq!((wide.notices.len(), narrow.notices.len()), (2, 2));
    assert_eq!(
        wide.notices[0].to_string(),
        "10.5.2.0-23 (192.168.0.8) overlaps 10.5.2.0-24; delete the lease of the node that came later"
    );
    // Gone in one snapshot and taken over in the same: no conflict.
    assert_eq!(with_peers(&[(2, 2)]).snapshot([(key(3), value(2)), own()]).notices, []);
}

#[test]
fn ten_thousand_leases_are_no_effort() {
    let mut book = LeaseBook::new("10.0.0.0-24".parse().unwrap(), Ipv4Addr::new(192, 168, 0, 1));
    for i in 0..10_000u32 {
        let net = ipnet::Ipv4Net::new((0x0a01_0000 + (i << 8)).into(), 24).unwrap();
        let attrs = LeaseAttrs::new((0xac10_0000 + i).into());
        let out = book.put(&Subnets::v4(net).to_string(), attrs.to_json());
        assert_eq!((out.changes.len(), out.notices.len()), (1, 0));
    }
    assert_eq!(book.peers().len(), 10_000);
}

/// What a store may hold: few keys, so that they collide, some of them ours, some useless.
fn entry() -> impl Strategy<Value = (String, String)> {
    let keys =
        ["10.5.1.0-24", "10.5.2.0-24", "10.5.3.0-24", "10.5.2.0-25", "10.5.0.0-22", "10.5.2.9-24", "x"];
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
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => entry().prop_map(|(key, value)| Event::Put(key, value)),
        2 => entry().prop_map(|(key, _)| Event::Delete(key)),
        1 => prop::collection::vec(entry(), 0..6).prop_map(Event::Compacted),
    ]
}

proptest! {
    #[test]
    fn any_history_ends_in_the_book_of_one_fresh_snapshot(events in prop::collection::vec(event(), 0..40)) {
        let mut store: BTreeMap<String, String> = BTreeMap::new();
        let mut book = book();
        // Whoever follows the changes alone must come to the same end.
        let mut follower: BTreeMap<Subnets, LeaseAttrs> = BTreeMap::new();
        for event in events {
            let out = match event {
                Event::Put(key, value) => {
                    store.insert(key.clone(), value.clone());
                    book.put(&key, value)
                }
                Event::Delete(key) => {
                    store.remove(&key);
                    book.delete(&key)
                }
                Event::Compacted(unseen) => {
                    store = unseen.into_iter().collect();
                    book.snapshot(&store)
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
        }
        let mut fresh = LeaseBook::new(book.own, book.public_ip);
        fresh.snapshot(&store);
        prop_assert_eq!(&fresh.peers, &book.peers);
        prop_assert_eq!(&fresh.index, &book.index);
        prop_assert_eq!(book.snapshot(&store).changes, vec![]);
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
            prop_assert_eq!(index.overlapping(net).collect::<Vec<_>>(), want);
        }
    }
}
