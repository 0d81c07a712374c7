//! Many nodes at the same time.

use std::collections::BTreeSet;

use flanneld::leases::SourceError;
use flanneld_core::lease::LeaseAttrs;
use futures::future::join_all;

use crate::server::*;

/// flannel's loser exits: its test for a lost race looks for another error than the one it gets.
#[tokio::test]
async fn racers_for_the_last_subnets_each_get_their_own_or_a_clear_error() {
    let etcd = Etcd::start().await;
    let config = network(r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.4.0"}"#);
    let racers = (1..=8).map(|n| {
        let (url, config) = (etcd.url(), config.clone());
        async move { source(&url, &[]).acquire(&config, &node(n), &who(&node(n))).await }
    });
    let outcomes = join_all(racers).await;
    let won: BTreeSet<String> = outcomes.iter().flatten().map(|own| own.key.clone()).collect();
    assert_eq!(won.len(), 4, "{outcomes:?}");
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error, SourceError::NoSubnet(_)), "{error}");
        assert!(error.to_string().contains("10.5.0.0/16"), "{error}");
    }
    let mut admin = admin(&etcd).await;
    assert_eq!(admin.leases().await.unwrap().leases().len(), 4, "losers leave no etcd lease behind");
}

/// Two nodes with the subnet.env of one image: both want the same previous subnet.
#[tokio::test]
async fn two_nodes_with_one_former_subnet() {
    let etcd = Etcd::start().await;
    let racers = (1..=2).map(|n| {
        let url = etcd.url();
        async move {
            source(&url, &[]).acquire(&slash16(), &node(n), &who_had(&node(n), "10.5.72.0/24")).await.unwrap()
        }
    });
    let keys: BTreeSet<String> = join_all(racers).await.into_iter().map(|own| own.key).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.contains(&key("10.5.72.0-24")), "{keys:?}");
}

#[tokio::test]
async fn five_hundred_nodes_at_once() {
    let etcd = Etcd::start().await;
    let config = network(r#"{"Network":"10.0.0.0/8"}"#);
    let shared = source(&etcd.url(), &[]);
    let mut events = watched(&shared);
    assert!(names(&next(&mut events).await).is_empty());
    let config = &config;
    let nodes = (0..500u16).map(|n| {
        let source = shared.clone();
        async move {
            let [high, low] = n.to_be_bytes();
            let attrs = LeaseAttrs::new([192, 168, high, low].into());
            let former: std::net::Ipv4Addr = [10, 1 + high, low, 0].into();
            source.acquire(config, &attrs, &who_had(&attrs, &format!("{former}/24"))).await.unwrap().key
        }
    });
    let collect = async {
        let mut seen = BTreeSet::new();
        while seen.len() < 500 {
            match next(&mut events).await {
                flanneld::leases::LeaseEvent::Put(lease) => seen.insert(key(&lease.subnets.to_string())),
                other => panic!("{other:?}"),
            };
        }
        seen
    };
    let (keys, seen) = tokio::join!(join_all(nodes), collect);
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), seen);
    assert_eq!(shared.list().await.unwrap().entries.len(), 500);
}
