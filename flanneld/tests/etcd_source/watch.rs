//! The watch: what it tells, and how it mends itself.

use std::time::Duration;

use flanneld::leases::{ConfigEvent, LeaseEvent, SourceError};
use flanneld_core::book::{Change, Continuity, LeaseBook};
use flanneld_core::lease::{LeaseAttrs, Subnets};
use nix::sys::signal::Signal;

use crate::server::*;

const SECOND: Duration = Duration::from_secs(1);

fn subnet(n: u8) -> Subnets {
    subnets(&format!("10.5.{n}.0-24"))
}

fn put(n: u8) -> (Subnets, Option<LeaseAttrs>) {
    (subnet(n), Some(node(n)))
}

fn name(n: u8) -> String {
    key(&format!("10.5.{n}.0-24"))
}

#[tokio::test]
async fn a_snapshot_then_each_change() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    admin.put(name(1), node(1).to_json(), None).await.unwrap();
    admin.put(format!("{PREFIX}/subnets-old/10.5.9.0-24"), node(9).to_json(), None).await.unwrap();
    let mut events = watched(&source(&etcd.url(), &[]));
    let mut book = LeaseBook::new("10.5.200.0-24".parse().unwrap(), [192, 0, 2, 200].into());
    let first = next(&mut events).await;
    assert_eq!(names(&first), ["10.5.1.0-24"]);
    assert_eq!(first.enter(&mut book, Duration::ZERO).changes.len(), 1);

    admin.put(name(2), node(2).to_json(), None).await.unwrap();
    // None of these is a lease.
    admin.put(format!("{PREFIX}/subnets-old/10.5.8.0-24"), node(8).to_json(), None).await.unwrap();
    admin.put(key("10.5.8.0-24/x"), node(8).to_json(), None).await.unwrap();
    admin.put(key("banana"), "{}", None).await.unwrap();
    admin.put(name(3), "garbage", None).await.unwrap();
    admin.delete(name(1), None).await.unwrap();
    let second = next(&mut events).await;
    assert_eq!(told(&second), put(2));
    assert!(matches!(second.enter(&mut book, Duration::ZERO).changes[..], [Change::Added(_)]));
    let third = next(&mut events).await;
    assert_eq!(told(&third), (subnet(3), None));
    let outcome = third.enter(&mut book, Duration::ZERO);
    assert!(outcome.changes.is_empty() && outcome.notices.len() == 1, "{outcome:?}");
    let fourth = next(&mut events).await;
    assert_eq!(fourth, LeaseEvent::Delete(subnet(1)));
    assert!(matches!(fourth.enter(&mut book, Duration::ZERO).changes[..], [Change::Removed(_)]));
}

#[tokio::test]
async fn ends_when_nobody_listens() {
    let etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let (sender, mut events) = tokio::sync::mpsc::channel(1);
    let task = tokio::spawn(async move { source.watch(sender).await });
    next(&mut events).await;
    drop(events);
    within(SOON, "the end of the watch", task).await.unwrap();
}

#[tokio::test]
async fn waits_for_an_etcd_that_is_absent_at_start() {
    let mut etcd = Etcd::start().await;
    etcd.kill();
    let mut events = watched(&source(&etcd.url(), &[]));
    let silence = tokio::time::timeout(SECOND, events.recv()).await;
    assert!(silence.is_err(), "{silence:?}");
    etcd.restart().await;
    assert!(names(&next(&mut events).await).is_empty());
}

/// flannel's watches take 3 to 5 seconds to come back; ours some hundred milliseconds, as waits end at half a second.
#[tokio::test]
async fn goes_on_where_it_was_after_etcds_return() {
    let mut etcd = Etcd::start().await;
    let mut events = watched(&source(&etcd.url(), &[]));
    next(&mut events).await;
    etcd.kill();
    // Long enough for the waits to have grown.
    tokio::time::sleep(3 * SECOND).await;
    etcd.restart().await;
    admin(&etcd).await.put(name(1), node(1).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(1), "no new snapshot: it goes on from where it was");
}

#[tokio::test]
async fn changes_during_an_interruption_are_not_lost() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let wire = Proxy::to(&etcd).await;
    let mut events = watched(&source(&wire.url(), &[]));
    next(&mut events).await;
    wire.set(Wire::Cut);
    admin.put(name(1), node(1).to_json(), None).await.unwrap();
    admin.put(name(2), node(2).to_json(), None).await.unwrap();
    admin.delete(name(1), None).await.unwrap();
    wire.set(Wire::Whole);
    assert_eq!(told(&next(&mut events).await), put(1));
    assert_eq!(told(&next(&mut events).await), put(2));
    assert_eq!(next(&mut events).await, LeaseEvent::Delete(subnet(1)));
}

#[tokio::test]
async fn after_compaction_the_snapshot_has_what_was_missed() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    admin.put(name(200), node(200).to_json(), None).await.unwrap();
    admin.put(name(1), node(1).to_json(), None).await.unwrap();
    admin.put(name(2), node(2).to_json(), None).await.unwrap();
    let wire = Proxy::to(&etcd).await;
    let mut events = watched(&source(&wire.url(), &[]));
    let mut book = LeaseBook::new("10.5.200.0-24".parse().unwrap(), [192, 0, 2, 200].into());
    next(&mut events).await.enter(&mut book, Duration::ZERO);
    wire.set(Wire::Cut);
    admin.delete(name(1), None).await.unwrap();
    admin.put(name(2), node(22).to_json(), None).await.unwrap();
    let last = admin.put(name(3), node(3).to_json(), None).await.unwrap();
    etcd.ctl(&["compact", &last.header().unwrap().revision().to_string()]);
    wire.set(Wire::Whole);
    let recovered = next(&mut events).await;
    assert_eq!(names(&recovered), ["10.5.2.0-24", "10.5.200.0-24", "10.5.3.0-24"]);
    assert!(
        matches!(recovered, LeaseEvent::Snapshot(_, Continuity::Kept)),
        "what is not in it has really gone"
    );
    let changes = recovered.enter(&mut book, Duration::ZERO).changes;
    let kinds: Vec<_> = changes.iter().map(|change| change.to_string().chars().next().unwrap()).collect();
    assert_eq!(kinds, ['-', '~', '+'], "removed, changed (flannel misses that one), added: {changes:?}");
    admin.put(name(4), node(4).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(4));
}

/// Compaction while the watch is up to date disturbs nothing.
#[tokio::test]
async fn a_live_watch_outlives_compaction() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let mut events = watched(&source(&etcd.url(), &[]));
    next(&mut events).await;
    let last = admin.put(name(1), node(1).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(1));
    etcd.ctl(&["compact", "--physical", &last.header().unwrap().revision().to_string()]);
    admin.put(name(2), node(2).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(2));
}

/// A firewall forgot the connection: nothing arrives, and nothing says so.
#[tokio::test]
async fn a_silent_connection_is_not_trusted() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let wire = Proxy::to(&etcd).await;
    let mut events = watched(&source(&wire.url(), &[]));
    next(&mut events).await;
    admin.put(name(1), node(1).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(1));
    // A watch of some age, whose etcd is known to answer when asked for a sign of life.
    tokio::time::sleep(3 * SECOND / 2).await;
    // The connections of this moment are dead for good; new ones will work.
    wire.set(Wire::Black);
    admin.put(name(2), node(2).to_json(), None).await.unwrap();
    tokio::time::sleep(SECOND / 10).await;
    wire.set(Wire::Whole);
    assert_eq!(told(&next(&mut events).await), put(2));
}

#[tokio::test]
async fn a_frozen_etcd_is_waited_for() {
    let etcd = Etcd::start().await;
    let mut events = watched(&source(&etcd.url(), &[]));
    next(&mut events).await;
    etcd.signal(Signal::SIGSTOP);
    tokio::time::sleep(5 * SECOND).await;
    etcd.signal(Signal::SIGCONT);
    admin(&etcd).await.put(name(1), node(1).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(1));
}

/// An etcd that lost its data counts its revisions again; a watch from the old one would wait for years.
#[tokio::test]
async fn an_etcd_that_lost_its_data_is_listed_again_as_such() {
    let mut etcd = Etcd::start().await;
    let mut old = admin(&etcd).await;
    for n in 1..=5 {
        old.put(name(n), node(n).to_json(), None).await.unwrap();
    }
    let mut events = watched(&source(&etcd.url(), &[]));
    assert_eq!(names(&next(&mut events).await).len(), 5);
    etcd.kill();
    etcd.wipe();
    etcd.restart().await;
    let again = next(&mut events).await;
    assert!(
        names(&again).is_empty() && matches!(again, LeaseEvent::Snapshot(_, Continuity::Lost)),
        "{again:?}"
    );
    admin(&etcd).await.put(name(7), node(7).to_json(), None).await.unwrap();
    assert_eq!(told(&next(&mut events).await), put(7));
}

/// Nothing is lost when the daemon is slow: a small channel, many changes.
#[tokio::test]
async fn a_slow_receiver_loses_nothing() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let mut events = watched(&source(&etcd.url(), &[]));
    next(&mut events).await;
    for n in 1..=100 {
        admin.put(name(n), node(n).to_json(), None).await.unwrap();
    }
    for n in 1..=100 {
        assert_eq!(told(&next(&mut events).await), put(n));
    }
}

#[tokio::test]
async fn the_configuration_is_watched_over_interruptions() {
    let mut etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move { source.watch_config(sender).await });
    let mut next = async || within(SOON, "word of the configuration", events.recv()).await.unwrap();
    let missing = |event| matches!(event, ConfigEvent::Unusable(SourceError::ConfigMissing { .. }));
    assert!(missing(next().await));
    let key = "/coreos.com/network/config";
    etcd.ctl(&["put", key, r#"{"Network":"10.5.0.0/16"}"#]);
    assert!(matches!(next().await, ConfigEvent::Is(config) if config == slash16()));
    etcd.ctl(&["put", key, "{"]);
    assert!(matches!(next().await, ConfigEvent::Unusable(SourceError::ConfigMalformed { .. })));
    etcd.ctl(&["del", key]);
    assert!(missing(next().await));
    // A neighbour's key is no news, and neither is an etcd that was away.
    etcd.ctl(&["put", "/coreos.com/network/config2", "{}"]);
    etcd.kill();
    etcd.restart().await;
    etcd.ctl(&["put", key, r#"{"Network":"10.5.0.0/16"}"#]);
    assert!(matches!(next().await, ConfigEvent::Is(config) if config == slash16()));
    etcd.kill();
    etcd.wipe();
    etcd.restart().await;
    assert!(missing(next().await));
}

/// More leases than one page of a list holds.
#[tokio::test]
async fn a_snapshot_of_thousands_of_leases_is_whole() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let all: Vec<u32> = (0..5000).collect();
    for part in all.chunks(100) {
        let puts = part.iter().map(|n| {
            let lease = format!("10.{}.{}.0-24", 6 + n / 256, n % 256);
            etcd_client::TxnOp::put(key(&lease), LeaseAttrs::new((0xac10_0000 + n).into()).to_json(), None)
        });
        admin.txn(etcd_client::Txn::new().and_then(puts.collect::<Vec<_>>())).await.unwrap();
    }
    let source = source(&etcd.url(), &[]);
    let mut events = watched(&source);
    assert_eq!(names(&next(&mut events).await).len(), 5000);
    // A subnet among them is found, and none of theirs.
    let config = network(r#"{"Network":"10.0.0.0/8","SubnetMin":"10.6.0.0","SubnetMax":"10.25.136.0"}"#);
    let own = source.acquire(&config, &node(1), &who(&node(1))).await.unwrap();
    assert_eq!(own.lease.subnets, subnets("10.25.136.0-24"));
}
