//! Whether the proxy keeps up: no change may wait for longer than twice the sync period.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use apiclient_core::time;
use proxy_core::names::Family;
use serde::Serialize;

/// Health of one family's tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyHealth {
    #[serde(serialize_with = "rfc3339")]
    pub last_updated: Option<SystemTime>,
    pub healthy: bool,
}

/// The body of /healthz and /livez, field by field as kube-proxy writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The newest of the families'; now, in the answer of a healthy proxy.
    #[serde(serialize_with = "rfc3339")]
    pub last_updated: Option<SystemTime>,
    #[serde(serialize_with = "rfc3339")]
    pub current_time: Option<SystemTime>,
    /// Only in /healthz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_eligible: Option<bool>,
    pub healthy: bool,
    /// `IPv4` and `IPv6`, as far as they were written once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<String, FamilyHealth>,
}

/// Go writes a time that never was as the first of January of the year one.
fn rfc3339<S: serde::Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.serialize_str(&time::nanos(*time)),
        None => to.serialize_str("0001-01-01T00:00:00Z"),
    }
}

/// The proxy's health. Clones share it.
#[derive(Clone, Debug)]
pub struct ProxyHealth(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    timeout: Duration,
    updated: BTreeMap<Family, SystemTime>,
    /// The oldest change that is not written yet.
    queued: BTreeMap<Family, Instant>,
    node_eligible: bool,
}

impl ProxyHealth {
    /// Healthy, with nothing written. A change may wait for twice `sync_period`. The node counts as eligible until
    /// [`ProxyHealth::set_node_eligible`] says otherwise, as kube-proxy's does.
    pub fn new(sync_period: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            timeout: sync_period * 2,
            updated: BTreeMap::new(),
            queued: BTreeMap::new(),
            node_eligible: true,
        })))
    }

    /// A change that this family's tables need has arrived.
    pub fn queued(&self, family: Family) {
        self.with(|state| _ = state.queued.entry(family).or_insert_with(Instant::now));
    }

    /// This family's tables hold everything that has arrived.
    pub fn updated(&self, family: Family) {
        self.with(|state| {
            state.queued.remove(&family);
            state.updated.insert(family, SystemTime::now());
        });
    }

    /// False where the Node object was deleted, is being deleted, or has the cluster autoscaler's taint
    /// `ToBeDeletedByClusterAutoscaler`. Load balancers should then look elsewhere.
    pub fn set_node_eligible(&self, eligible: bool) {
        self.with(|state| state.node_eligible = eligible);
    }

    pub fn is_node_eligible(&self) -> bool {
        self.with(|state| state.node_eligible)
    }

    pub fn is_healthy(&self) -> bool {
        self.look().healthy
    }

    /// Everything, now.
    pub fn look(&self) -> Health {
        self.look_at(Instant::now(), SystemTime::now())
    }

    fn look_at(&self, now: Instant, time: SystemTime) -> Health {
        self.with(|state| {
            let late = |family: &Family| {
                state
                    .queued
                    .get(family)
                    .is_some_and(|since| now.saturating_duration_since(*since) >= state.timeout)
            };
            let of_family = |(family, updated): (&Family, &SystemTime)| {
                (family.to_string(), FamilyHealth { last_updated: Some(*updated), healthy: !late(family) })
            };
            Health {
                last_updated: state.updated.values().max().copied(),
                current_time: Some(time),
                node_eligible: None,
                // A family that was never written is starting up, which is healthy.
                healthy: !state.updated.keys().any(late),
                status: state.updated.iter().map(of_family).collect(),
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn late_means_twice_the_period_without_a_write() {
        let health = ProxyHealth::new(PERIOD);
        let ask = |later: u64| {
            let now = Instant::now() + Duration::from_secs(later);
            health.look_at(now, SystemTime::now())
        };
        health.queued(Family::V4);
        assert!(ask(100).healthy, "starting up is healthy");
        health.updated(Family::V4);
        health.updated(Family::V6);
        assert!(ask(100).healthy, "nothing waits");
        health.queued(Family::V6);
        assert!(ask(59).healthy);
        let late = ask(61);
        assert!(!late.healthy && late.status["IPv4"].healthy && !late.status["IPv6"].healthy, "{late:?}");
        health.queued(Family::V6);
        assert!(!ask(61).healthy, "the oldest change counts");
        health.updated(Family::V6);
        assert!(ask(61).healthy);
    }

    #[test]
    fn the_body_is_kube_proxys() {
        let health = ProxyHealth::new(PERIOD);
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 500_000_000);
        let body = |health: &Health| serde_json::to_string(health).expect("JSON");
        let mut found = health.look_at(Instant::now(), time);
        assert_eq!(
            body(&found),
            r#"{"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00.5Z","healthy":true}"#
        );
        found.node_eligible = Some(false);
        found.status.insert("IPv4".into(), FamilyHealth { last_updated: Some(time), healthy: true });
        assert_eq!(
            body(&found),
            concat!(
                r#"{"lastUpdated":"0001-01-01T00:00:00Z","currentTime":"2026-01-01T00:00:00.5Z","nodeEligible":false,"#,
                r#""healthy":true,"status":{"IPv4":{"lastUpdated":"2026-01-01T00:00:00.5Z","healthy":true}}}"#
            )
        );
    }
}
