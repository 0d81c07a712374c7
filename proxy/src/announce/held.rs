//! What this node announces now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiclient::leader::Leading;
use proxy_core::names::ServiceName;

/// Addresses of the Services whose Lease this node holds. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    candidates: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    leading: BTreeMap<ServiceName, Leading>,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node can serve.
    pub fn candidates(&self, candidates: BTreeMap<ServiceName, BTreeSet<IpAddr>>) {
        self.state().candidates = candidates;
    }

    /// This node announces a Service until the guard is dropped, or the Lease ends.
    pub fn lead(&self, service: &ServiceName, leading: Leading) -> Term {
        let mut state = self.state();
        let addresses = state.candidates.get(service);
        tracing::info!(%service, ?addresses, "this node announces the addresses");
        state.leading.insert(service.clone(), leading);
        Term { held: self.clone(), service: service.clone() }
    }

    /// All of them. Asked right before a packet is sent: a Lease may have ended.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let state = self.state();
        let leading = state.leading.iter().filter(|(_, leading)| leading.holds());
        leading.filter_map(|(service, _)| state.candidates.get(service)).flatten().copied().collect()
    }
}

/// The time in which this node announces a Service.
pub struct Term {
    held: Held,
    service: ServiceName,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.held.state().leading.remove(&self.service);
        tracing::info!(service = %self.service, "this node does not announce the addresses any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_served_and_is_led_is_held() {
        let (held, service) = (Held::default(), ServiceName::new("d", "web"));
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let term = held.lead(&service, Leading::always());
        assert!(held.addresses().is_empty(), "it cannot be served");
        held.candidates(BTreeMap::from([(service.clone(), BTreeSet::from([address]))]));
        assert_eq!(held.addresses(), BTreeSet::from([address]));
        drop(term);
        assert!(held.addresses().is_empty());
    }
}
