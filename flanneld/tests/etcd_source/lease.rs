//! Taking a lease: new, reused, from a former run, reserved.

use std::time::{Duration, Instant};

use flanneld::leases::SourceError;
use flanneld_core::acquire::{Identity, Note};
use flanneld_core::lease::{LeaseAttrs, RawJson};

use crate::server::*;

#[tokio::test]
async fn a_new_lease_has_flannels_key_and_bytes_and_lives_a_day() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let own = source(&etcd.url(), &[]).acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();

    let name = own.lease.subnets.to_string();
    assert_eq!(own.key, key(&name));
    assert!(name.starts_with("10.5.") && name.ends_with(".0-24") && name != "10.5.0.0-24", "{name}");
    let (value, lease) = read(&mut admin, &own.key).await.unwrap();
    assert_eq!(value, r#"{"PublicIP":"192.0.2.1","PublicIPv6":null}"#);
    let granted = own.etcd_lease.unwrap();
    assert_eq!(lease, granted.id.get());
    assert_eq!(granted.ttl, Duration::from_secs(86_400));
    let ttl = admin.lease_time_to_live(lease, None).await.unwrap();
    assert_eq!(ttl.granted_ttl(), 86_400);
    let renew_in = own.expiry().unwrap().renew_at(Duration::from_secs(3600)) - Instant::now();
    assert!(renew_in > Duration::from_secs(23 * 3600 - 60), "{renew_in:?}");
}

/// Section 6, item 8 of what was seen of flannel 0.28.4, and the example of its documentation.
#[tokio::test]
async fn the_bytes_of_each_backend_are_flannels() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let udp = node(1);
    let vxlan = LeaseAttrs {
        backend_type: "vxlan".into(),
        backend_data: Some(RawJson::parse(r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#).unwrap()),
        ..node(2)
    };
    let host_gw = LeaseAttrs { backend_type: "host-gw".into(), ..node(3) };
    let dual = LeaseAttrs { public_ipv6: Some("fd00::4".parse().unwrap()), ..host_gw.clone() };
    for (attrs, bytes) in [
        (udp, r#"{"PublicIP":"192.0.2.1","PublicIPv6":null}"#),
        (
            vxlan,
            r#"{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}"#,
        ),
        (host_gw, r#"{"PublicIP":"192.0.2.3","PublicIPv6":null,"BackendType":"host-gw"}"#),
    ] {
        let own = source.acquire(&slash16(), &attrs, &who(&attrs)).await.unwrap();
        assert_eq!(read(&mut admin, &own.key).await.unwrap().0, bytes);
    }
    let both = network(
        r#"{"Network":"10.6.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:6::/56","Backend":{"Type":"host-gw"}}"#,
    );
    let dual = LeaseAttrs { public_ip: [192, 0, 2, 4].into(), ..dual };
    let own = source.acquire(&both, &dual, &who(&dual)).await.unwrap();
    let (v4, v6) = own.key.strip_prefix(&key("")).unwrap().split_once('&').unwrap();
    assert!(v4.starts_with("10.6.") && v4.ends_with("-24"), "{}", own.key);
    assert!(v6.starts_with("fd00:6:") && v6.ends_with("::-64"), "{}", own.key);
    let value = read(&mut admin, &own.key).await.unwrap().0;
    assert_eq!(value, r#"{"PublicIP":"192.0.2.4","PublicIPv6":"fd00::4","BackendType":"host-gw"}"#);
}

#[tokio::test]
async fn our_own_lease_is_used_again_and_its_old_etcd_lease_ends() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let first = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let attrs = LeaseAttrs { backend_type: "host-gw".into(), ..node(1) };
    let second = source.acquire(&slash16(), &attrs, &who(&attrs)).await.unwrap();

    assert_eq!(second.key, first.key);
    let (value, lease) = read(&mut admin, &first.key).await.unwrap();
    assert!(value.ends_with(r#""BackendType":"host-gw"}"#), "{value}");
    assert_eq!(lease, second.etcd_lease.unwrap().id.get());
    let leases: Vec<i64> = admin.leases().await.unwrap().leases().iter().map(|one| one.id()).collect();
    assert_eq!(leases, [lease], "the first etcd lease should be revoked");
}

/// flannel revokes nothing; should another key hang on the old etcd lease, revoking would delete it.
#[tokio::test]
async fn an_old_etcd_lease_that_carries_another_key_is_left_alone() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let lease = put_leased(&mut admin, &key("10.5.7.0-24"), &node(1).to_json(), 3600).await;
    let with = etcd_client::PutOptions::new().with_lease(lease);
    admin.put("/somebody/elses", "key", Some(with)).await.unwrap();
    let own = source(&etcd.url(), &[]).acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    assert_eq!(own.key, key("10.5.7.0-24"));
    assert!(read(&mut admin, "/somebody/elses").await.is_some());
}

#[tokio::test]
async fn the_subnet_of_a_former_run_is_taken_again_unless_somebody_has_it() {
    let etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let mine = source.acquire(&slash16(), &node(1), &who_had(&node(1), "10.5.72.0/24")).await.unwrap();
    assert_eq!(mine.key, key("10.5.72.0-24"));
    let other = source.acquire(&slash16(), &node(2), &who_had(&node(2), "10.5.72.0/24")).await.unwrap();
    assert_ne!(other.key, mine.key);
}

/// The node's address changed while flanneld did not run.
#[tokio::test]
async fn a_lease_under_a_former_address_is_written_again_unless_somebody_wrote_it_since() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let first = source.acquire(&slash16(), &node(1), &who_had(&node(1), "10.5.72.0/24")).await.unwrap();
    let note = Note { subnets: first.lease.subnets, written: first.mod_revision };
    let moved = Identity { note: Some(note), ..who_had(&node(9), "10.5.72.0/24") };
    let own = source.acquire(&slash16(), &node(9), &moved).await.unwrap();
    assert_eq!(own.key, first.key);
    assert_eq!(read(&mut admin, &own.key).await.unwrap().0, node(9).to_json());
    let leases: Vec<i64> = admin.leases().await.unwrap().leases().iter().map(|one| one.id()).collect();
    assert_eq!(leases, [own.etcd_lease.unwrap().id.get()], "the first etcd lease should be revoked");

    // The same note once more: that write is not the last one any more.
    let other =
        source.acquire(&slash16(), &node(7), &Identity { public_ip: node(7).public_ip, ..moved }).await;
    assert_ne!(other.unwrap().key, own.key);
    assert_eq!(read(&mut admin, &own.key).await.unwrap().0, node(9).to_json());
}

#[tokio::test]
async fn a_lease_outside_the_network_is_given_back() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    put_leased(&mut admin, &key("10.9.1.0-24"), &node(1).to_json(), 3600).await;
    put_leased(&mut admin, &key("10.5.3.0-26"), &node(1).to_json(), 3600).await;
    let foreign = key("10.9.2.0-24");
    put_leased(&mut admin, &foreign, &node(2).to_json(), 3600).await;
    let own = source(&etcd.url(), &[]).acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    assert!(own.key.starts_with(&key("10.5.")) && own.key.ends_with("-24"), "{}", own.key);
    assert_eq!(read(&mut admin, &key("10.9.1.0-24")).await, None);
    assert_eq!(read(&mut admin, &key("10.5.3.0-26")).await, None);
    assert!(read(&mut admin, &foreign).await.is_some());
}

/// flannel puts a lease of 24 hours on it, and the reservation is lost (its issue 1329).
#[tokio::test]
async fn a_reservation_stays_a_key_without_an_etcd_lease() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let reserved = key("10.5.200.0-24");
    etcd.ctl(&["put", &reserved, r#"{"PublicIP":"192.0.2.1"}"#]);
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who_had(&node(1), "10.5.3.0/24")).await.unwrap();
    assert_eq!(own.key, reserved);
    assert!(own.is_reservation());
    assert_eq!(own.expiry(), None);
    let ours = (r#"{"PublicIP":"192.0.2.1","PublicIPv6":null}"#.to_owned(), 0);
    assert_eq!(read(&mut admin, &reserved).await.unwrap(), ours);

    let own = source.renew(&own).await.unwrap();
    assert!(own.is_reservation());
    assert_eq!(read(&mut admin, &reserved).await.unwrap(), ours);
    assert!(admin.leases().await.unwrap().leases().is_empty(), "nothing was granted");

    // Somebody else does not get it.
    let other = source.acquire(&slash16(), &node(2), &who_had(&node(2), "10.5.200.0/24")).await.unwrap();
    assert_ne!(other.key, reserved);
}

/// flannel does not see a key whose value it cannot read, and then picks it again and again.
#[tokio::test]
async fn a_malformed_lease_holds_its_subnet_and_disturbs_nobody() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let config = network(r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.2.0"}"#);
    for (key, value) in [
        (key("10.5.1.0-24"), "not JSON"),
        (key("banana"), "{}"),
        (key("10.5.2.0-24/deeper"), "{}"),
        (format!("{PREFIX}/subnets-old/10.5.2.0-24"), r#"{"PublicIP":"192.0.2.9"}"#),
    ] {
        admin.put(key, value, None).await.unwrap();
    }
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&config, &node(1), &who(&node(1))).await.unwrap();
    assert_eq!(own.key, key("10.5.2.0-24"));
    let error = source.acquire(&config, &node(2), &who(&node(2))).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSubnet(_)), "{error}");
    let said = error.to_string();
    assert!(
        said.starts_with("out of subnets: ") && said.contains("10.5.1.0-24 (unreadable, reserved)"),
        "{said}"
    );
    assert!(said.contains("10.5.2.0-24 (192.0.2.1)"), "{said}");
}

#[tokio::test]
async fn the_time_to_live_can_be_shorter() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &["--subnet-lease-ttl=2"]);
    let mut events = watched(&source);
    assert!(names(&next(&mut events).await).is_empty());
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    assert!(own.etcd_lease.unwrap().ttl >= Duration::from_secs(2));
    assert!(matches!(next(&mut events).await, flanneld::leases::LeaseEvent::Put(..)));
    assert_eq!(next(&mut events).await, flanneld::leases::LeaseEvent::Delete(own.lease.subnets));
    assert_eq!(read(&mut admin, &own.key).await, None);
    let error = source.renew(&own).await.unwrap_err();
    assert!(matches!(&error, SourceError::Gone { key } if *key == own.key), "{error}");
}
