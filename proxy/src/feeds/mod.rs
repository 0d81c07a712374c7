//! Where Services, EndpointSlices, Nodes and ServiceCIDRs come from: an API server, or a directory of files.
//!
//! Owns: the stream of [`Arrival`]s, the same for both. Each kind starts with a `Change::Replace` and
//! [`Event::Listed`]; until every kind was listed once, a reader must delete nothing.
//! Never: decides what a Service means; [`proxy_core::objects`] decodes and checks.
//! Begin at [`start`]; [`directory::load`] reads a directory once, for tools.

pub mod directory;
mod error;
mod kubernetes;
mod object;

use std::fmt;
use std::time::{Instant, SystemTime};

use apiclient::{Access, EventRecorder};
use proxy_core::cluster::Change;
use proxy_core::objects::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use error::FeedError;

use crate::options;

/// Arrivals that wait for the reader, at most; then the feed waits, and the API server with it.
const WAITING: usize = 1024;

/// Something about the objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Change(Change),
    /// All objects of the kind have been sent. Comes again after each list; the first time counts.
    Listed(Kind),
    /// Something is wrong with a source or an object. Logged already; the feed goes on.
    Trouble(Trouble),
}

/// An event, and since when it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    pub event: Event,
    /// When the feed read it.
    pub at: Instant,
    /// When the endpoints' controller was told of the change behind it, where a slice says so
    /// (annotation `endpoints.kubernetes.io/last-change-trigger-time`). Never for a list.
    pub triggered: Option<SystemTime>,
}

/// What is wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A file, or a kind of objects.
    pub place: String,
    /// Names the object and the field where it is about one.
    pub problem: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// A running feed. Dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    arrivals: mpsc::Receiver<Arrival>,
    tasks: Vec<JoinHandle<()>>,
    events: EventRecorder,
}

impl Feed {
    /// The next arrival; `None` only after the feed itself broke down.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Where Events go: to the API server, or nowhere with files.
    pub fn events(&self) -> EventRecorder {
        self.events.clone()
    }

    /// One that is here already: what a pass can serve together.
    pub fn try_next(&mut self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts the feed that the options name. Needs a tokio runtime.
///
/// The API server may be away; a directory must be there.
///
/// # Errors
/// What cannot get better by waiting: no such directory, an unreadable kubeconfig.
pub async fn start(from: &options::Feed, node_name: &str) -> Result<Feed, FeedError> {
    match from {
        options::Feed::Directory(path) => directory::start(path),
        options::Feed::Kubernetes { kubeconfig, master } => {
            let access = Access { kubeconfigs: kubeconfig.iter().cloned().collect(), master: master.clone() };
            kubernetes::start(access, node_name).await
        }
    }
}

/// The feeds' end of the stream.
#[derive(Clone, Debug)]
struct Outbox(mpsc::Sender<Arrival>);

/// The reader is gone.
#[derive(Debug)]
struct Closed;

impl Outbox {
    fn new() -> (Self, mpsc::Receiver<Arrival>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.arrival(Arrival { event, at: Instant::now(), triggered: None }).await
    }

    async fn arrival(&self, arrival: Arrival) -> Result<(), Closed> {
        self.0.send(arrival).await.map_err(|_| Closed)
    }

    /// Logs it, and sends it.
    async fn trouble(&self, trouble: Trouble) -> Result<(), Closed> {
        tracing::warn!(place = %trouble.place, "{}", trouble.problem);
        self.send(Event::Trouble(trouble)).await
    }
}
