//! The application of `tests/pods/web.yaml`, seen from outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::cluster::{Cluster, Pod};
use super::machine::Machine;

/// How often a Service is asked before it is said who answers. Each of three pods is left out once in ten million times.
const ASKED: usize = 40;

impl Cluster {
    /// Deploys it; gives its pods, all ready, and its Service.
    ///
    /// # Panics
    /// It does not come up.
    pub fn deploy_web(&self) -> (Vec<Pod>, SocketAddr) {
        self.apply_file("web.yaml");
        let pods = self.until("three ready pods", || {
            let pods = self.pods("web");
            (pods.len() == 3 && pods.iter().all(|pod| pod.ready)).then_some(pods)
        });
        (pods, self.service("web"))
    }

    /// Waits until a Service is answered by these pods and no others, and every time.
    ///
    /// # Panics
    /// It is not.
    pub fn wait_answers(&self, machine: &Machine, service: SocketAddr, pods: &[Pod]) {
        let wanted: BTreeSet<String> = pods.iter().map(|pod| pod.name.clone()).collect();
        let what = format!("{wanted:?} to answer on {}", machine.name());
        self.until(&what, || (answers(machine, service) == Some(wanted.clone())).then_some(()));
    }

    /// Deletes it, and waits until nothing of it is left on the nodes.
    ///
    /// # Panics
    /// Something stays.
    pub fn delete_web(&self, service: SocketAddr) {
        self.must(&["delete", "deployment/web", "service/web"]);
        self.until("no pods", || self.pods("web").is_empty().then_some(()));
        for machine in self.machines() {
            self.until("nothing in use", || machine.in_use().is_empty().then_some(()));
            self.until("nobody to answer", || machine.ask(service).is_none().then_some(()));
        }
    }
}

/// Who answers. `None`: somebody did not.
fn answers(machine: &Machine, service: SocketAddr) -> Option<BTreeSet<String>> {
    (0..ASKED).map(|_| machine.ask(service)).collect()
}

/// The nodes of pods.
pub fn nodes(pods: &[Pod]) -> BTreeSet<&str> {
    pods.iter().map(|pod| &*pod.node).collect()
}
