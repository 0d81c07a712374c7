//! The pods of a fleet as the server has them.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient::Failure;
use apiclient::objects::{Changed, Listed, News, Write, version};
use apiclient_core::names::ObjectName;
use serde_json::Value;

use super::kubelets::Measured;
use super::members::Members;
use super::writes::Job;
use super::{Counts, PODS};
use crate::fake::{Act, Runtime, adopt, decide, forget};

/// After a write that failed: at first, at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// A status that the server took, and that is not what it shows, is not written again before.
const STUBBORN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Pods {
    pods: HashMap<ObjectName, Pod>,
    /// Names for which a write is on its way, and the uid of the pod that it is for. Another pod of the name waits for its
    /// end: what the server answers is not about that one.
    under_way: HashMap<ObjectName, String>,
    /// How many are in each phase.
    phases: [usize; 3],
    measured: Option<Measured>,
}

struct Pod {
    node: usize,
    uid: String,
    version: u64,
    phase: Phase,
    /// As the server has it; given up once there is nothing to do with it.
    object: Option<Arc<Value>>,
    runtime: Option<Runtime>,
    /// What was written last, and when.
    wrote: Option<(u64, SystemTime)>,
    /// Its object was told to go.
    deleted: bool,
    pause: Option<SystemTime>,
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pending,
    Running,
    Ended,
}

fn phase(pod: &Value) -> Phase {
    match pod["status"]["phase"].as_str() {
        Some("Running") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Ended,
        _ => Phase::Pending,
    }
}

/// Versions of a kind are numbers that grow. Where they are none, every object counts as newer.
fn number(pod: &Value) -> u64 {
    version(pod).parse().unwrap_or(u64::MAX)
}

impl Pods {
    /// Takes what the server says. Which ones are to be looked at; or what is wrong.
    pub fn hear(&mut self, news: News, members: &mut Members) -> Result<Vec<ObjectName>, String> {
        match news {
            News::All(Listed { objects: pods, .. }) => {
                let names: HashSet<ObjectName> = pods.iter().map(|pod| name(pod)).collect();
                let gone: Vec<ObjectName> =
                    self.pods.keys().filter(|name| !names.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.remove(name, members));
                let changed: Vec<ObjectName> =
                    pods.into_iter().filter_map(|pod| self.put(pod, members)).collect();
                // Before any new address is given, all that are taken are known.
                for name in &changed {
                    if let Some(Pod { node, object: Some(object), runtime, .. }) = self.pods.get_mut(name) {
                        adopt(object, members.host(*node), runtime);
                    }
                }
                Ok(changed)
            }
            News::Changed(Changed::Put(pod)) => Ok(self.put(pod, members).into_iter().collect()),
            News::Changed(Changed::Until(_)) => Ok(Vec::new()),
            News::Changed(Changed::Gone(pod)) => {
                self.remove(&name(&pod), members);
                Ok(Vec::new())
            }
            News::Trouble(trouble) => Err(trouble),
        }
    }

    /// Its name, where it is one of ours and newer than what was known.
    fn put(&mut self, object: Arc<Value>, members: &mut Members) -> Option<ObjectName> {
        let node = members.index(object["spec"]["nodeName"].as_str()?)?;
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let name = name(&object);
        if self.pods.get(&name).is_some_and(|pod| pod.uid != uid) {
            self.remove(&name, members);
        }
        let phases = &mut self.phases;
        let pod = self.pods.entry(name.clone()).or_insert_with(|| {
            phases[Phase::Pending as usize] += 1;
            Pod::new(node, uid)
        });
        let newer = pod.take(Arc::clone(&object), phases);
        if newer && let Some(measured) = &self.measured {
            measured.pod(node, &name, &object);
        }
        newer.then_some(name)
    }

    fn remove(&mut self, name: &ObjectName, members: &mut Members) {
        if let Some(mut pod) = self.pods.remove(name) {
            self.phases[pod.phase as usize] -= 1;
            if let Some(measured) = &self.measured {
                measured.gone(pod.node, name);
            }
            forget(members.host(pod.node), &mut pod.runtime);
        }
    }

    /// What is next with a pod: something to write, or when to look again.
    pub fn look(
        &mut self,
        name: &ObjectName,
        members: &mut Members,
        now: SystemTime,
    ) -> (Option<Job>, Option<SystemTime>) {
        let Some(pod) = self.pods.get_mut(name) else { return (None, None) };
        let Some(object) = pod.object.clone().filter(|_| !members.is_lost(pod.node)) else {
            return (None, None);
        };
        if self.under_way.contains_key(name) {
            return (None, None);
        }
        if let Some(pause) = pod.pause.filter(|pause| *pause > now) {
            return (None, Some(pause));
        }
        let decision = decide(&object, members.host(pod.node), &mut pod.runtime, now);
        let path = |part| PODS.object_path(&name.namespace, &name.name, part);
        let job = match decision.act {
            Some(Act::Status(patch)) => {
                let hash = hash(&patch);
                if let Some((wrote, at)) = pod.wrote
                    && wrote == hash
                    && at + STUBBORN > now
                {
                    return (None, Some(at + STUBBORN));
                }
                pod.wrote = Some((hash, now));
                Job::strategic(path("status"), patch)
            }
            Some(Act::Delete(options)) if !pod.deleted => {
                pod.deleted = true;
                Job::Write(Write::Delete { path: path(""), options })
            }
            Some(Act::Delete(_)) => return (None, None),
            None => {
                if decision.next.is_none() {
                    pod.object = None;
                }
                return (None, decision.next);
            }
        };
        self.under_way.insert(name.clone(), pod.uid.clone());
        (Some(job), None)
    }

    /// How a write for a pod ended.
    pub fn done(&mut self, name: &ObjectName, result: Result<Arc<Value>, Failure>, now: SystemTime) {
        let written = self.under_way.remove(name);
        let Some(pod) = self.pods.get_mut(name).filter(|pod| written.as_ref() == Some(&pod.uid)) else {
            return;
        };
        match result {
            Ok(object) => {
                pod.failures = 0;
                // A deletion gives the last state, or nothing.
                if !pod.deleted
                    && pod.take(Arc::clone(&object), &mut self.phases)
                    && let Some(measured) = &self.measured
                {
                    measured.pod(pod.node, name, &object);
                }
            }
            // It is gone: the watch tells.
            Err(failure) if failure.code() == 404 => pod.object = None,
            Err(failure) => {
                let wait = PAUSE.0.saturating_mul(1 << pod.failures.min(16)).min(PAUSE.1);
                pod.failures += 1;
                (pod.pause, pod.wrote, pod.deleted) = (Some(now + wait), None, false);
                // Another one with its name, or a change at the same moment, is no trouble.
                if failure.code() == 409 {
                    tracing::debug!(pod = %name, %failure, "the pod is not written");
                } else {
                    tracing::warn!(pod = %name, %failure, "the pod is not written");
                }
            }
        }
    }

    /// Keeps up what kubelets say.
    pub fn measure(&mut self, measured: Measured) {
        self.measured = Some(measured);
    }

    /// Those of a node of which something is undone.
    pub fn waiting_for(&self, node: usize) -> Vec<ObjectName> {
        let waiting = self.pods.iter().filter(|(name, pod)| {
            pod.node == node && pod.object.is_some() && !self.under_way.contains_key(*name)
        });
        waiting.map(|(name, _)| name.clone()).collect()
    }

    pub fn counts(&self) -> Counts {
        let [pending, running, ended] = self.phases;
        Counts { pending, running, ended, ..Counts::default() }
    }
}

impl Pod {
    fn new(node: usize, uid: &str) -> Self {
        Self {
            node,
            uid: uid.to_owned(),
            version: 0,
            phase: Phase::Pending,
            object: None,
            runtime: None,
            wrote: None,
            deleted: false,
            pause: None,
            failures: 0,
        }
    }

    /// Whether it is newer than what was known.
    fn take(&mut self, object: Arc<Value>, phases: &mut [usize; 3]) -> bool {
        let version = number(&object);
        if version <= self.version && version != u64::MAX {
            return false;
        }
        phases[self.phase as usize] -= 1;
        (self.version, self.phase) = (version, phase(&object));
        phases[self.phase as usize] += 1;
        self.object = Some(object);
        true
    }
}

fn hash(patch: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    patch.to_string().hash(&mut hasher);
    hasher.finish()
}

fn name(object: &Value) -> ObjectName {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectName::new(text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use apiclient_core::wire::Status;
    use serde_json::json;

    use super::*;
    use crate::fake::Shape;

    #[test]
    fn the_end_of_a_write_for_a_former_pod_says_nothing_about_the_next_of_its_name() {
        let shape = Shape { cpu: "4".into(), memory: "16Gi".into(), pods: 110, zones: 1, labels: Vec::new() };
        let mut members = Members::new(1, "node", &shape);
        let mut pods = Pods::default();
        let now = SystemTime::now();
        let pod = |uid: &str, version: u32| {
            Arc::new(json!({
                "metadata": {"namespace": "d", "name": "db-0", "uid": uid, "resourceVersion": version.to_string()},
                "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "example.org/app:1"}]},
            }))
        };
        let name = ObjectName::new("d", "db-0");
        let all = News::All(Listed { version: "1".into(), objects: vec![pod("1", 1)] });
        assert_eq!(pods.hear(all, &mut members), Ok(vec![name.clone()]));
        assert!(pods.look(&name, &mut members, now).0.is_some(), "its status is written");
        pods.hear(News::Changed(Changed::Gone(pod("1", 2))), &mut members).expect("no trouble");
        pods.hear(News::Changed(Changed::Put(pod("2", 3))), &mut members).expect("no trouble");
        assert!(pods.look(&name, &mut members, now).0.is_none(), "the former one's write is on its way");
        let gone = Failure::Refused(Box::new(Status { code: 404, ..Status::default() }));
        pods.done(&name, Err(gone), now);
        assert!(pods.look(&name, &mut members, now).0.is_some(), "it is not the one that has gone");
    }
}
