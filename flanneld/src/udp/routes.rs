//! The table of peers, swapped under the data path's feet.

use super::counters::{PeerCounter, PeerCounts};
use flanneld_core::packet::PeerTable;
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A table with a counter for each of its peers, in the same order.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub table: PeerTable,
    pub counters: Vec<Arc<PeerCounter>>,
}

/// The current routes. Writers replace them; readers look at one number per packet and take the lock only when
/// it has changed.
#[derive(Debug, Default)]
pub(super) struct SharedRoutes {
    generation: AtomicU64,
    current: RwLock<Arc<Routes>>,
}

impl SharedRoutes {
    /// Replaces the table. A peer that stays keeps its counters.
    pub fn set(&self, leases: &BTreeMap<Ipv4Net, Ipv4Addr>) {
        let table = PeerTable::new(leases);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let counters = table
            .peers()
            .iter()
            .map(|address| match current.table.sender(*address) {
                Some(peer) => current.counters[peer.index].clone(),
                None => Arc::default(),
            })
            .collect();
        *current = Arc::new(Routes { table, counters });
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The counts of the current peers.
    pub fn counts(&self) -> BTreeMap<Ipv4Addr, PeerCounts> {
        let routes = self.load();
        routes
            .table
            .peers()
            .iter()
            .copied()
            .zip(routes.counters.iter().map(|counter| counter.read()))
            .collect()
    }

    fn load(&self) -> Arc<Routes> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One thread's view of the routes.
#[derive(Debug)]
pub(super) struct RoutesReader {
    shared: Arc<SharedRoutes>,
    seen: u64,
    routes: Arc<Routes>,
}

impl RoutesReader {
    pub fn new(shared: Arc<SharedRoutes>) -> Self {
        let seen = shared.generation.load(Ordering::Acquire);
        let routes = shared.load();
        Self { shared, seen, routes }
    }

    /// The routes as they are now.
    pub fn get(&mut self) -> &Routes {
        let now = self.shared.generation.load(Ordering::Acquire);
        if now != self.seen {
            self.routes = self.shared.load();
            self.seen = now;
        }
        &self.routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(list: &[(&str, &str)]) -> BTreeMap<Ipv4Net, Ipv4Addr> {
        list.iter().map(|(net, peer)| (net.parse().unwrap(), peer.parse().unwrap())).collect()
    }

    #[test]
    fn a_reader_sees_the_new_table_and_a_peer_keeps_its_counts() {
        let shared = Arc::new(SharedRoutes::default());
        let mut reader = RoutesReader::new(shared.clone());
        assert!(reader.get().table.peers().is_empty());

        shared.set(&leases(&[("10.5.2.0/24", "192.0.2.2")]));
        reader.get().counters[0].sent(100);

        shared.set(&leases(&[("10.5.3.0/24", "192.0.2.2"), ("10.5.4.0/24", "192.0.2.1")]));
        reader.get().counters[1].sent(100);
        let counts = shared.counts();
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[&"192.0.2.2".parse().unwrap()].sent_packets, 2);
        assert_eq!(counts[&"192.0.2.2".parse().unwrap()].sent_bytes, 200);
        assert_eq!(counts[&"192.0.2.1".parse().unwrap()], PeerCounts::default());
    }
}
