//! The client against a real etcd: questions, lists, transactions, leases.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod server;

use std::time::Duration;

use etcd::{Client, Compare, EtcdError, Op, Range, Repeat, Settings, Span, Txn};
use server::*;

fn client(url: &str) -> Client {
    Client::new(Settings { endpoints: vec![url.to_owned()], ..Settings::default() }).unwrap()
}

/// Writes `key/00000` and on, in transactions of 100.
async fn fill(etcd: &Etcd, key: &str, count: usize) {
    let mut admin = admin(etcd).await;
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(100) {
        let puts = part.iter().map(|n| etcd_client::TxnOp::put(format!("{key}/{n:05}"), "x", None));
        admin.txn(etcd_client::Txn::new().and_then(puts.collect::<Vec<_>>())).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_of_several_pages_is_of_one_revision() {
    let etcd = Etcd::start().await;
    fill(&etcd, "a", 4500).await;
    fill(&etcd, "b", 1).await;
    let client = client(&etcd.url());
    // The first and the last page change together, again and again.
    let url = etcd.url();
    let writer = tokio::spawn(async move {
        let mut admin = etcd_client::Client::connect([url], None).await.unwrap();
        for round in 0.. {
            let both =
                ["a/00000", "a/04499"].map(|key| etcd_client::TxnOp::put(key, round.to_string(), None));
            admin.txn(etcd_client::Txn::new().and_then(both)).await.unwrap();
        }
    });
    let mut last = 0;
    for _ in 0..10 {
        let all = client.list(&Span::prefix("a/")).await.unwrap();
        assert_eq!((all.kvs.len(), all.more), (4500, false));
        assert!(all.kvs.is_sorted_by(|a, b| a.key < b.key));
        assert_eq!(all.kvs[0].value, all.kvs[4499].value, "one revision");
        assert!(
            all.header.revision >= last && all.kvs.iter().all(|kv| kv.mod_revision <= all.header.revision)
        );
        last = all.header.revision;
    }
    writer.abort();
    let nothing = client.list(&Span::prefix("c/")).await.unwrap();
    assert!(nothing.kvs.is_empty() && nothing.header.revision >= last);
}

#[tokio::test]
async fn ranges_have_limits_revisions_and_counts() {
    let etcd = Etcd::start().await;
    let client = client(&etcd.url());
    for (key, value) in [("a/1", "old"), ("a/2", "two"), ("a/3", "three"), ("b/1", "other")] {
        client.put(key, value, None).await.unwrap();
    }
    let before = client.put("a/1", "middle", None).await.unwrap().revision;
    client.put("a/1", "new", None).await.unwrap();
    let range = Range { limit: 2, ..Range::of(Span::prefix("a/")) };
    let page = client.range(&range).await.unwrap();
    assert_eq!((page.kvs.len(), page.more, page.count), (2, true, 3));
    let then = client.range(&Range { revision: before, ..range.clone() }).await.unwrap();
    assert_eq!(then.kvs[0].value, b"middle");
    assert!(then.header.revision > before, "the header is of now");
    let counted = client.range(&Range { count_only: true, limit: 0, ..range.clone() }).await.unwrap();
    assert_eq!((counted.kvs.len(), counted.count), (0, 3));
    let keys = client.range(&Range { keys_only: true, limit: 0, ..range.clone() }).await.unwrap();
    assert!(keys.kvs.len() == 3 && keys.kvs.iter().all(|kv| kv.value.is_empty()));
    let newer = Range { min_mod_revision: before, limit: 1, ..range.clone() };
    let newer = client.range(&newer).await.unwrap();
    assert_eq!((newer.kvs.len(), &newer.kvs[0].key[..], newer.count), (1, &b"a/1"[..], 3), "all are counted");
    let none = Range { min_mod_revision: before + 2, ..range.clone() };
    assert!(client.range(&none).await.unwrap().kvs.is_empty());
    let between = Range::of(Span::Between(b"a/2".to_vec(), b"b/1".to_vec()));
    assert_eq!(client.range(&between).await.unwrap().kvs.len(), 2);
    let found = client.get("a/1").await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.version, found.lease), (&b"new"[..], 3, None));

    client.compact(before + 1).await.unwrap();
    let old = client.range(&Range { revision: before, ..range.clone() }).await.unwrap_err();
    assert!(matches!(old, EtcdError::Compacted { .. }), "{old}");
    let again = client.compact(before).await.unwrap_err();
    assert!(matches!(again, EtcdError::Compacted { .. }), "{again}");
    assert_eq!(client.delete(&Span::prefix("a/")).await.unwrap(), 3);
    assert_eq!(client.get("a/1").await.unwrap(), None);
    let status = client.status().await.unwrap();
    assert!(status.version.starts_with("3.") && status.leader == status.header.member && !status.is_learner);
    assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0 && status.errors.is_empty());
}

#[tokio::test]
async fn a_transaction_does_the_one_branch_or_the_other() {
    let etcd = Etcd::start().await;
    let client = client(&etcd.url());
    let create = |value: &str| Txn {
        when: vec![Compare::absent("key")],
        then: vec![Op::Put { key: b"key".to_vec(), value: value.into(), lease: None }],
        otherwise: vec![Op::Get(b"key".to_vec())],
    };
    let first = client.txn("create", Repeat::Refused, create("one")).await.unwrap();
    assert!(first.succeeded);
    let second = client.txn("create", Repeat::Refused, create("two")).await.unwrap();
    assert!(!second.succeeded);
    let found = second.found().unwrap();
    assert_eq!((found.value.as_slice(), found.mod_revision), (&b"one"[..], first.header.revision));
    let turn = |version| Txn {
        when: vec![Compare::Version { key: b"key".to_vec(), is: version }],
        ..Txn::default()
    };
    assert!(client.txn("look", Repeat::Safe, turn(1)).await.unwrap().succeeded);
    assert!(!client.txn("look", Repeat::Safe, turn(2)).await.unwrap().succeeded);
    let delete = |revision| Txn {
        when: vec![Compare::mod_revision("key", revision)],
        then: vec![Op::Delete(b"key".to_vec())],
        ..Txn::default()
    };
    assert!(!client.txn("delete", Repeat::Safe, delete(1)).await.unwrap().succeeded);
    assert!(client.txn("delete", Repeat::Safe, delete(found.mod_revision)).await.unwrap().succeeded);
    assert_eq!(client.get("key").await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_is_renewed_and_takes_its_keys_with_it() {
    let etcd = Etcd::start().await;
    let client = client(&etcd.url());
    let granted = client.grant(Duration::from_secs(600)).await.unwrap();
    assert_eq!(granted.ttl, Duration::from_secs(600));
    client.put("mortal", "x", Some(granted.id)).await.unwrap();
    assert_eq!(client.get("mortal").await.unwrap().unwrap().lease, Some(granted.id));
    let info = client.lease_info(granted.id).await.unwrap().unwrap();
    assert_eq!((info.granted_ttl, &info.keys[..]), (granted.ttl, &[b"mortal".to_vec()][..]));
    assert_eq!(client.keep_alive(granted.id).await.unwrap(), Some(granted.ttl));
    client.revoke(granted.id).await.unwrap();
    assert_eq!(client.get("mortal").await.unwrap(), None);
    assert_eq!(client.keep_alive(granted.id).await.unwrap(), None);
    assert_eq!(client.lease_info(granted.id).await.unwrap(), None);
    assert!(client.revoke(granted.id).await.is_err());
}

#[tokio::test]
async fn errors_name_what_was_asked_and_no_flag_of_a_daemon() {
    let mut etcd = Etcd::start().await;
    let client = client(&etcd.url());
    let long = client.put("key", vec![0; 2 << 20], None).await.unwrap_err();
    assert!(long.to_string().starts_with("etcd failed to write key: "), "{long}");
    etcd.kill();
    let absent = client.get("key").await.unwrap_err();
    // There is no connection any more, and none can be made: nothing goes out.
    let unmade = client.txn("write", Repeat::Refused, Txn::default()).await.unwrap_err();
    assert!(unmade.is_absence() && !unmade.may_have_been_done(), "{unmade:?}");
    let unsent = client.separate().connect().await.unwrap_err();
    assert!(unsent.is_absence(), "{unsent}");
    assert!(absent.is_absence() && !absent.is_permanent() && absent.causes().is_empty());
    for error in [long, absent] {
        assert!(!error.to_string().contains("--"), "{error}");
    }
}
