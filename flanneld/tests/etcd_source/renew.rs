//! Keeping the lease, and noticing when it is lost.

use flanneld::leases::{LeaseEvent, Remedy, SourceError};
use flanneld_core::lease::LeaseAttrs;
use nix::sys::signal::Signal;

use crate::server::*;

#[tokio::test]
async fn renewal_is_a_new_etcd_lease_on_the_same_value() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let renewed = source.renew(&own).await.unwrap();
    assert_eq!(renewed.lease, own.lease);
    assert!(renewed.mod_revision > own.mod_revision);
    let (old, new) = (own.etcd_lease.unwrap(), renewed.etcd_lease.unwrap());
    assert_ne!(old.id, new.id);
    assert!(new.expires_at > old.expires_at);
    assert_eq!(read(&mut admin, &own.key).await.unwrap(), (node(1).to_json(), new.id.get()));
    assert_eq!(admin.leases().await.unwrap().leases().len(), 1, "the old etcd lease is gone");
}

#[tokio::test]
async fn changed_attributes_are_published_by_a_renewal() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let mut own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    own.lease.attrs.backend_type = "host-gw".into();
    let own = source.renew(&own).await.unwrap();
    assert_eq!(read(&mut admin, &own.key).await.unwrap().0, own.lease.attrs.to_json());
}

/// flannel writes without looking: of two nodes with one subnet the last writer wins, and each believes it is he.
#[tokio::test]
async fn a_take_over_is_noticed_and_not_undone() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    put_leased(&mut admin, &own.key, &node(2).to_json(), 3600).await;
    let error = source.renew(&own).await.unwrap_err();
    assert!(matches!(&error, SourceError::Taken { by, .. } if **by == node(2)), "{error}");
    assert_eq!(error.remedy(), Remedy::Reacquire);
    assert_eq!(error.to_string(), format!("the lease {} was taken over by 192.0.2.2", own.key));
    assert_eq!(read(&mut admin, &own.key).await.unwrap().0, node(2).to_json());
}

#[tokio::test]
async fn a_revoked_lease_is_an_event_and_an_error() {
    let etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let mut events = watched(&source);
    next(&mut events).await;
    etcd.ctl(&["lease", "revoke", &format!("{:x}", own.etcd_lease.unwrap().id.get())]);
    assert_eq!(next(&mut events).await, LeaseEvent::Delete(own.lease.subnets));
    let error = source.renew(&own).await.unwrap_err();
    assert!(matches!(error, SourceError::Gone { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Reacquire);
}

/// The original flanneld on the same node, or an administrator, wrote in our name.
#[tokio::test]
async fn a_lease_rewritten_in_our_name_stays_ours() {
    let etcd = Etcd::start().await;
    let mut admin = admin(&etcd).await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    let same = LeaseAttrs { backend_type: "host-gw".into(), ..node(1) };
    put_leased(&mut admin, &own.key, &same.to_json(), 60).await;
    let own = source.renew(&own).await.unwrap();
    let (value, lease) = read(&mut admin, &own.key).await.unwrap();
    assert_eq!((value, lease), (node(1).to_json(), own.etcd_lease.unwrap().id.get()));

    // Turned into a reservation: it stays one.
    admin.put(own.key.as_str(), node(1).to_json(), None).await.unwrap();
    let own = source.renew(&own).await.unwrap();
    assert!(own.is_reservation());
    assert_eq!(read(&mut admin, &own.key).await.unwrap().1, 0);

    // Garbage is nobody's.
    admin.put(own.key.as_str(), "garbage", None).await.unwrap();
    let own = source.renew(&own).await.unwrap();
    assert_eq!(read(&mut admin, &own.key).await.unwrap().0, node(1).to_json());
}

#[tokio::test]
async fn a_renewal_fails_while_etcd_is_away_and_works_when_it_is_back() {
    let mut etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    etcd.kill();
    let error = source.renew(&own).await.unwrap_err();
    assert!(error.to_string().contains("connection refused (nothing listens there)"), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
    etcd.restart().await;
    assert_eq!(source.renew(&own).await.unwrap().key, own.key);
}

/// The answer to the write is lost: the write itself may have happened.
#[tokio::test]
async fn a_frozen_etcd_costs_a_time_limit_and_no_lease() {
    let etcd = Etcd::start().await;
    let source = source(&etcd.url(), &[]);
    let own = source.acquire(&slash16(), &node(1), &who(&node(1))).await.unwrap();
    etcd.signal(Signal::SIGSTOP);
    let error = source.renew(&own).await.unwrap_err();
    etcd.signal(Signal::SIGCONT);
    assert_eq!(error.remedy(), Remedy::Retry);
    let renewed = async {
        loop {
            match source.renew(&own).await {
                Ok(own) => return own,
                Err(error) => assert_eq!(error.remedy(), Remedy::Retry, "{error}"),
            }
        }
    };
    let own = within(SOON, "a renewal", renewed).await;
    let mut admin = admin(&etcd).await;
    assert_eq!(read(&mut admin, &own.key).await.unwrap().1, own.etcd_lease.unwrap().id.get());
}
