//! The nodes of a fleet as the server has them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient::Failure;
use apiclient::objects::{Api, Changed, Listed, News, Write};
use serde_json::Value;

use super::kubelets::Measured;
use super::queue::Key;
use super::writes::Job;
use super::{LEASES, NODES};
use crate::fake::host::{self, Host, RENEWAL};
use crate::fake::{NodeWrite, Shape};

/// Namespace of the nodes' Leases.
const LEASES_NAMESPACE: &str = "kube-node-lease";

/// How often a node is looked at though nothing happens to it.
const LOOK: Duration = Duration::from_secs(60);

/// After a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Members {
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    listed: bool,
    changed: BTreeSet<usize>,
    returned: BTreeSet<usize>,
    measured: Option<Measured>,
}

struct Member {
    host: Host,
    /// As the server has it.
    object: Option<Arc<Value>>,
    /// Somebody deleted it: it does not come back by itself, as a kubelet's does not.
    gone: bool,
    writes: bool,
    renews: bool,
    /// When its Lease is to be renewed; before the first time the fleet's Leases are spread over a period.
    renewal: Option<SystemTime>,
    pause: Option<SystemTime>,
}

impl Members {
    pub fn new(nodes: u32, prefix: &str, shape: &Shape) -> Self {
        let member = |index| Member {
            host: Host::new(prefix, index, shape),
            object: None,
            gone: false,
            writes: false,
            renews: false,
            renewal: None,
            pause: None,
        };
        let members: Vec<Member> = (0..nodes).map(member).collect();
        let by_name =
            members.iter().enumerate().map(|(nth, member)| (member.host.name.clone(), nth)).collect();
        Self {
            members,
            by_name,
            listed: false,
            changed: BTreeSet::new(),
            returned: BTreeSet::new(),
            measured: None,
        }
    }

    /// Keeps up what kubelets say.
    pub fn measure(&mut self, measured: Measured) {
        self.measured = Some(measured);
    }

    /// The nodes that were there are known.
    pub fn listed(&self) -> bool {
        self.listed
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn host(&mut self, index: usize) -> &mut Host {
        &mut self.members[index].host
    }

    /// Nothing happens on it.
    pub fn is_lost(&self, index: usize) -> bool {
        self.members[index].object.as_deref().is_some_and(host::is_lost)
    }

    pub fn present(&self) -> usize {
        self.members.iter().filter(|member| member.object.is_some()).count()
    }

    /// What is wrong, if something is.
    pub fn hear(&mut self, news: News) -> Option<String> {
        match news {
            News::All(Listed { objects: nodes, .. }) => {
                let names: BTreeSet<&str> =
                    nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect();
                for (nth, member) in self.members.iter_mut().enumerate() {
                    let there = names.contains(&*member.host.name);
                    member.gone |= !there && member.object.is_some();
                    if !there {
                        member.object = None;
                    }
                    self.changed.insert(nth);
                }
                self.listed = true;
                nodes.into_iter().for_each(|node| self.put(node));
            }
            News::Changed(Changed::Put(node)) => self.put(node),
            News::Changed(Changed::Until(_)) => {}
            News::Changed(Changed::Gone(node)) => {
                if let Some(index) = node["metadata"]["name"].as_str().and_then(|name| self.index(name)) {
                    let member = &mut self.members[index];
                    (member.object, member.gone) = (None, true);
                }
            }
            News::Trouble(trouble) => return Some(trouble),
        }
        None
    }

    fn put(&mut self, node: Arc<Value>) {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(index) = self.index(name) {
            let member = &mut self.members[index];
            member.host.learn(&node);
            if let Some(measured) = &self.measured {
                measured.node(index, &node);
            }
            let before = member.object.replace(node);
            member.gone = false;
            self.changed.insert(index);
            if before.as_deref().is_some_and(host::is_lost) && !self.is_lost(index) {
                self.returned.insert(index);
            }
        }
    }

    /// Those of which something changed since this was asked last.
    pub fn changed(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.changed)
    }

    /// Those that were lost and are back since this was asked last.
    pub fn returned(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.returned)
    }

    pub fn look(
        &mut self,
        index: usize,
        shape: &Shape,
        now: SystemTime,
    ) -> (Option<Job>, Option<SystemTime>) {
        let lost = self.is_lost(index);
        let member = &mut self.members[index];
        if !self.listed || member.writes || member.gone || lost {
            return (None, None);
        }
        if let Some(pause) = member.pause.filter(|pause| *pause > now) {
            return (None, Some(pause));
        }
        let path = |part| NODES.object_path("", &member.host.name, part);
        let job = match member.host.write(member.object.as_deref(), shape, now) {
            None => return (None, Some(now + LOOK)),
            Some(NodeWrite::Create(object)) => Job::Write(Write::Create { path: NODES.path(""), object }),
            Some(NodeWrite::Status(patch)) => Job::merge(path("status"), patch),
            Some(NodeWrite::Spec(patch)) => Job::merge(path(""), patch),
        };
        member.writes = true;
        (Some(job), None)
    }

    pub fn renew(&mut self, index: usize, now: SystemTime) -> (Option<Job>, Option<SystemTime>) {
        let (lost, all) = (self.is_lost(index), self.members.len());
        let member = &mut self.members[index];
        let Some(node) = member.object.as_ref().filter(|_| !member.renews && !member.gone && !lost) else {
            return (None, None);
        };
        if let Some(renewal) = member.renewal.filter(|renewal| *renewal > now) {
            return (None, Some(renewal));
        }
        let name = &member.host.name;
        let job = Job::PatchOrCreate(
            Write::Patch {
                path: LEASES.object_path(LEASES_NAMESPACE, name, ""),
                patch: apiclient::Patch::Merge(member.host.renewal(now)),
            },
            Write::Create { path: LEASES.path(LEASES_NAMESPACE), object: member.host.lease(node, now) },
        );
        let spread = match member.renewal {
            Some(_) => RENEWAL,
            // Half of a period at least, so that the first ones do not come at once.
            None => RENEWAL.mul_f64(0.5 + 0.5 * index as f64 / all as f64),
        };
        member.renewal = Some(now + spread);
        member.renews = true;
        (Some(job), None)
    }

    pub fn done(&mut self, key: &Key, result: Result<Arc<Value>, Failure>, now: SystemTime) {
        let (Key::Node(index) | Key::Lease(index)) = key else { return };
        let member = &mut self.members[*index];
        match (key, result) {
            (Key::Lease(_), result) => {
                member.renews = false;
                if let Err(failure) = result {
                    tracing::debug!(node = %member.host.name, %failure, "the Lease is not renewed");
                    member.renewal = Some(now + PAUSE);
                }
            }
            (_, Ok(node)) => {
                member.writes = false;
                member.host.learn(&node);
                member.object = Some(node);
            }
            (_, Err(failure)) => {
                member.writes = false;
                member.pause = Some(now + PAUSE);
                // It is there already: it is about to be known.
                if failure.code() != 409 {
                    tracing::warn!(node = %member.host.name, %failure, "the node is not written");
                }
            }
        }
    }

    /// Deletes the nodes and their Leases.
    pub async fn remove(&self, api: &Arc<dyn Api>, concurrency: usize) {
        let one = |member: &Member| {
            let (api, name) = (Arc::clone(api), member.host.name.clone());
            async move {
                for path in
                    [NODES.object_path("", &name, ""), LEASES.object_path(LEASES_NAMESPACE, &name, "")]
                {
                    if let Err(failure) = api.write(&Write::Delete { path, options: Value::Null }).await
                        && failure.code() != 404
                    {
                        tracing::warn!(node = %name, %failure, "it is not deleted");
                    }
                }
            }
        };
        use futures::StreamExt;
        futures::stream::iter(self.members.iter().map(one))
            .for_each_concurrent(concurrency, |done| done)
            .await;
    }
}
