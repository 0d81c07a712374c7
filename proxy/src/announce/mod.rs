//! Announces addresses of load balancers on the node's network, where a Lease says that this node does.
//!
//! Owns: one candidacy for each Service that this node can serve ([`stand`]), what this node holds now ([`held`]), and the
//! threads that answer for it on the node's interfaces ([`responder`]). For which Services, and the packets, is decided in
//! [`proxy_core::announce`]. Begin at [`Announcer::start`].
//! Never: puts an address on an interface; the proxy's rules take what comes for it.

mod held;
mod interfaces;
mod leases;
mod responder;
mod stand;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use apiclient::{Access, Client};
use proxy_core::announce::Candidates;
use proxy_core::names::ServiceName;
use proxy_core::table::TableDelta;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::held::Held;
use self::interfaces::Interfaces;
use self::leases::Leases;
use self::stand::{Call, Stand};
use crate::feeds::FeedError;
use crate::options::{Feed, Options};

/// How long Leases may take to be given up at the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Between two looks at the interfaces.
const LOOK: Duration = Duration::from_secs(5);

/// What this node could announce.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    services: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    /// The node's own addresses: where they are it announces.
    node: Vec<IpAddr>,
}

/// What tells the announcer of changes.
pub struct Announcing {
    candidates: Candidates,
    changed: bool,
    tell: watch::Sender<Wanted>,
}

impl Announcing {
    pub fn follow(&mut self, delta: &TableDelta) {
        self.changed |= self.candidates.follow(delta) || delta.node_before.is_some();
    }

    /// The kernel holds the rules of all changes: who is told to come here is served.
    pub fn written(&mut self, node: &[IpAddr]) {
        if std::mem::take(&mut self.changed) {
            self.tell.send_replace(Wanted { services: self.candidates.services(), node: node.to_vec() });
        }
    }
}

/// The announcer, while it runs.
pub struct Announcer {
    tell: watch::Sender<Wanted>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Announcer {
    /// Starts it where the options ask for it. Needs a tokio runtime. The server may be away.
    ///
    /// # Errors
    /// There is no way to the API server.
    pub async fn start(options: &Options) -> Result<Option<Self>, FeedError> {
        let (Some(wish), Feed::Kubernetes { kubeconfig, master }) = (&options.announce, &options.feed) else {
            return Ok(None);
        };
        let access = Access { kubeconfigs: kubeconfig.iter().cloned().collect(), master: master.clone() };
        // Reading credentials may take a disk's time.
        let client = tokio::task::spawn_blocking(move || Client::connect(access));
        let client = client.await.map_err(|_| FeedError::Ended)??;
        let leases = Leases::follow(Arc::new(client), &wish.namespace, &options.node_name);
        let (tell, wanted) = watch::channel(Wanted::default());
        let (stop, stopped) = watch::channel(false);
        let held = Held::default();
        let running = Running {
            stands: BTreeMap::new(),
            interfaces: Interfaces::new(wish.interfaces.clone(), held.clone()),
            leases,
            held,
        };
        let task = tokio::spawn(running.run(wanted, stopped));
        Ok(Some(Self { tell, stop, task }))
    }

    /// For who has the table.
    pub fn hand(&self) -> Announcing {
        Announcing { candidates: Candidates::default(), changed: false, tell: self.tell.clone() }
    }

    /// Gives up what this node holds, so that another announces it at once.
    pub async fn end(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!(
                "not waiting for the API server; addresses are announced again once their Leases end"
            );
        }
    }
}

struct Running {
    stands: BTreeMap<ServiceName, Stand>,
    interfaces: Interfaces,
    leases: Arc<Leases>,
    held: Held,
}

impl Running {
    async fn run(mut self, mut wanted: watch::Receiver<Wanted>, mut stopped: watch::Receiver<bool>) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                changed = wanted.changed() => if changed.is_err() { break },
                _ = look.tick() => {}
            }
            let now = wanted.borrow_and_update().clone();
            self.interfaces.follow(&now.node, !now.services.is_empty()).await;
            self.stand_for(now.services);
        }
        let all = std::mem::take(&mut self.stands);
        let ends: Vec<_> = all.into_values().map(|stand| stand.call(Call::End)).collect();
        for end in ends {
            let _ = end.await;
        }
    }

    fn stand_for(&mut self, services: BTreeMap<ServiceName, BTreeSet<IpAddr>>) {
        self.held.candidates(services.clone());
        for (service, stand) in &mut self.stands {
            let call = if services.contains_key(service) { Call::Stand } else { Call::Withdraw };
            stand.tell(call);
        }
        self.stands.retain(|_, stand| !stand.is_over());
        for service in services.keys() {
            self.stands.entry(service.clone()).or_insert_with_key(|service| {
                Stand::start(service.clone(), Arc::clone(&self.leases), self.held.clone())
            });
        }
    }
}
