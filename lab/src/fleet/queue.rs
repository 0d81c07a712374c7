//! Writes that wait, and times at which to look again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient::Failure;
use apiclient::objects::Api;
use apiclient_core::names::ObjectName;
use serde_json::Value;
use tokio::sync::mpsc;

use super::writes::Job;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A node's Lease, and the node, by its place in the fleet.
    Lease(usize),
    Node(usize),
    Pod(ObjectName),
}

/// How a write ended.
pub struct Done {
    pub key: Key,
    pub result: Result<Arc<Value>, Failure>,
}

pub struct Queue {
    api: Arc<dyn Api>,
    most: usize,
    running: usize,
    /// A node whose Lease waits behind ten thousand pods would be lost.
    urgent: VecDeque<(Key, Job)>,
    pods: VecDeque<(Key, Job)>,
    times: BinaryHeap<Reverse<(SystemTime, Key)>>,
    /// The one time that counts for each; others in the heap are out of date.
    next: HashMap<Key, SystemTime>,
    tell: mpsc::UnboundedSender<Done>,
    told: mpsc::UnboundedReceiver<Done>,
    written: u64,
}

impl Queue {
    /// At most `most` requests are on their way at a time.
    pub fn new(api: Arc<dyn Api>, most: usize) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (urgent, pods, times) = (VecDeque::new(), VecDeque::new(), BinaryHeap::new());
        Self {
            api,
            most: most.max(1),
            running: 0,
            urgent,
            pods,
            times,
            next: HashMap::new(),
            tell,
            told,
            written: 0,
        }
    }

    /// Each key has one job at most, until it is done.
    pub fn push(&mut self, key: Key, job: Job) {
        match key {
            Key::Pod(_) => self.pods.push_back((key, job)),
            Key::Lease(_) | Key::Node(_) => self.urgent.push_back((key, job)),
        }
    }

    /// Sends as much as may be on its way.
    pub fn start(&mut self) {
        while self.running < self.most {
            let Some((key, job)) = self.urgent.pop_front().or_else(|| self.pods.pop_front()) else { return };
            self.running += 1;
            let (api, tell) = (Arc::clone(&self.api), self.tell.clone());
            tokio::spawn(async move {
                let result = job.run(&*api).await;
                // Nobody listens any more: the fleet has ended.
                let _ = tell.send(Done { key, result });
            });
        }
    }

    /// The next write that ended. May be dropped and called again.
    pub async fn done(&mut self) -> Option<Done> {
        let done = self.told.recv().await?;
        self.running -= 1;
        self.written += u64::from(done.result.is_ok());
        Some(done)
    }

    /// Writes that succeeded.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// It is to be looked at again then, or earlier where that was said before.
    pub fn remind(&mut self, at: SystemTime, key: Key) {
        if self.next.get(&key).is_none_or(|next| at < *next) {
            self.next.insert(key.clone(), at);
            self.times.push(Reverse((at, key)));
        }
    }

    /// One whose time has come.
    pub fn due(&mut self, now: SystemTime) -> Option<Key> {
        while self.times.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Reverse((at, key)) = self.times.pop()?;
            if self.next.get(&key) == Some(&at) {
                self.next.remove(&key);
                return Some(key);
            }
        }
        None
    }

    /// Until the next one's time.
    pub fn wait(&self, now: SystemTime) -> Duration {
        let next = self.times.peek().map(|Reverse((at, _))| at.duration_since(now).unwrap_or_default());
        next.unwrap_or(Duration::MAX)
    }
}
