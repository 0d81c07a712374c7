//! A fleet of fake nodes at an API server.
//!
//! Owns: the connection between what [`crate::fake`] decides and the server: objects followed, a clock, writes with bounded
//! concurrency. Begin at [`run`]. Never: decides what a pod or a node does.

pub mod kubelets;
mod members;
mod pods;
mod queue;
mod writes;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient::objects::{Api, News, follow};
use apiclient::{Query, Resource};
use apiclient_core::selector::FieldSelector;
use tokio::sync::{mpsc, watch};

use crate::fake::Shape;
use kubelets::{Kubelets, Measured};
use members::Members;
use pods::Pods;
use queue::{Done, Key, Queue};

const PODS: Resource = Resource::new("", "v1", "pods", true);
const NODES: Resource = Resource::new("", "v1", "nodes", false);
const LEASES: Resource = Resource::new("coordination.k8s.io", "v1", "leases", true);

/// The clock is read again this often, for it may be set.
const TICK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub nodes: u32,
    /// Nodes are named `PREFIX-1` and so on.
    pub prefix: String,
    pub shape: Shape,
    /// Requests at a time.
    pub concurrency: usize,
    /// The nodes are deleted at the end.
    pub remove: bool,
}

/// How a fleet stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that are there.
    pub nodes: usize,
    pub pending: usize,
    pub running: usize,
    /// Succeeded or failed.
    pub ended: usize,
    /// Requests that succeeded so far.
    pub writes: u64,
    /// What is wrong with the server, in words.
    pub trouble: Option<String>,
}

/// Plays the nodes until `stop`. Who reads `told` knows how it goes. `kubelets`: as many as there are nodes.
pub async fn run(
    api: Arc<dyn Api>,
    options: Options,
    kubelets: Option<Kubelets>,
    stop: impl Future<Output = ()>,
    told: watch::Sender<Counts>,
) {
    let mut fleet = Fleet::new(Arc::clone(&api), options, told);
    let answering = fleet.answer(kubelets);
    tokio::select! {
        () = fleet.play() => {}
        _ = answering => {}
        () = stop => {}
    }
    if fleet.options.remove {
        fleet.members.remove(&api, fleet.options.concurrency).await;
    }
}

struct Fleet {
    api: Arc<dyn Api>,
    options: Options,
    members: Members,
    pods: Pods,
    queue: Queue,
    told: watch::Sender<Counts>,
    trouble: Option<String>,
}

impl Fleet {
    fn new(api: Arc<dyn Api>, options: Options, told: watch::Sender<Counts>) -> Self {
        let members = Members::new(options.nodes, &options.prefix, &options.shape);
        let queue = Queue::new(Arc::clone(&api), options.concurrency);
        Self { api, options, members, pods: Pods::default(), queue, told, trouble: None }
    }

    /// The nodes have these kubelets.
    fn answer(&mut self, kubelets: Option<Kubelets>) -> impl Future<Output = ()> + use<> {
        let measured = Measured::default();
        for (index, kubelet) in kubelets.iter().flat_map(Kubelets::places).enumerate() {
            self.members.host(index).answers_at(kubelet);
        }
        if kubelets.is_some() {
            self.pods.measure(measured.clone());
            self.members.measure(measured.clone());
        }
        async move {
            match kubelets {
                Some(kubelets) => match kubelets.serve(measured).await {},
                None => std::future::pending().await,
            }
        }
    }

    async fn play(&mut self) {
        let (to_nodes, mut nodes) = mpsc::unbounded_channel();
        let (to_pods, mut pods) = mpsc::unbounded_channel();
        let mut to_pods = Some(to_pods);
        let _nodes = Follower::new(&self.api, Query::new("Node", NODES), to_nodes);
        let mut following = None;
        loop {
            self.tell();
            let wait = self.queue.wait(SystemTime::now()).min(TICK);
            tokio::select! {
                Some(news) = nodes.recv() => {
                    self.node(news);
                    while let Ok(news) = nodes.try_recv() {
                        self.node(news);
                    }
                    // Before the nodes are known, so are not the addresses of their pods.
                    if self.members.listed() && let Some(to_pods) = to_pods.take() {
                        let bound = FieldSelector::default().not_equal("spec.nodeName", "");
                        let query = Query { fields: bound, ..Query::new("Pod", PODS) };
                        following = Some(Follower::new(&self.api, query, to_pods));
                    }
                }
                Some(news) = pods.recv(), if following.is_some() => {
                    self.pod(news);
                    while let Ok(news) = pods.try_recv() {
                        self.pod(news);
                    }
                }
                Some(done) = self.queue.done() => self.done(done),
                () = tokio::time::sleep(wait) => {}
            }
            let now = SystemTime::now();
            while let Some(key) = self.queue.due(now) {
                self.look(key, now);
            }
            self.queue.start();
        }
    }

    fn node(&mut self, news: News) {
        let now = SystemTime::now();
        if let Some(trouble) = self.members.hear(news) {
            self.trouble = Some(trouble);
            return;
        }
        self.trouble = None;
        for index in self.members.changed() {
            self.look(Key::Node(index), now);
            self.look(Key::Lease(index), now);
        }
        for index in self.members.returned() {
            for name in self.pods.waiting_for(index) {
                self.look(Key::Pod(name), now);
            }
        }
    }

    fn pod(&mut self, news: News) {
        let now = SystemTime::now();
        match self.pods.hear(news, &mut self.members) {
            Err(trouble) => self.trouble = Some(trouble),
            Ok(changed) => {
                for name in changed {
                    self.look(Key::Pod(name), now);
                }
            }
        }
    }

    fn done(&mut self, Done { key, result }: Done) {
        let now = SystemTime::now();
        match &key {
            Key::Pod(name) => self.pods.done(name, result, now),
            Key::Node(_) | Key::Lease(_) => self.members.done(&key, result, now),
        }
        self.look(key, now);
    }

    /// Decides what is next with one of them, unless a write for it is on its way.
    fn look(&mut self, key: Key, now: SystemTime) {
        let (job, next) = match &key {
            Key::Pod(name) => self.pods.look(name, &mut self.members, now),
            Key::Node(index) => self.members.look(*index, &self.options.shape, now),
            Key::Lease(index) => self.members.renew(*index, now),
        };
        if let Some(job) = job {
            self.queue.push(key.clone(), job);
        }
        if let Some(next) = next {
            self.queue.remind(next, key);
        }
    }

    fn tell(&self) {
        let mut counts = self.pods.counts();
        counts.nodes = self.members.present();
        counts.writes = self.queue.written();
        counts.trouble.clone_from(&self.trouble);
        self.told.send_if_modified(|told| {
            let changed = *told != counts;
            *told = counts;
            changed
        });
    }
}

/// A kind that is followed for as long as this lives.
struct Follower(tokio::task::JoinHandle<()>);

impl Follower {
    fn new(api: &Arc<dyn Api>, query: Query, to: mpsc::UnboundedSender<News>) -> Self {
        let hear = move |news| {
            // Who listened has ended, and this is about to.
            let _ = to.send(news);
        };
        let following = follow(Arc::clone(api), query, hear);
        Self(tokio::spawn(async {
            following.await;
        }))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}
