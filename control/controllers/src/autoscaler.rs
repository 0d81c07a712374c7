//! Looks at HorizontalPodAutoscalers again and again: asks for their targets' scales and metrics, and writes new scales.
//!
//! Owns: when each is looked at, the requests, and what is remembered from one look to the next. Never: decides how many pods
//! there should be; see `control_controllers_core::autoscaler`.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use apiclient::objects::{Api, Changed, News, Write, follow};
use apiclient::{EventRecorder, Failure, Query, escape};
use apiclient_core::names::ObjectName;
use control_controllers_core::autoscaler::{
    Answer, Ask, Memory, Plan, Scene, Served, Settings, Target, kind_of_target, questions, without_target,
};
use control_controllers_core::discovery::Resource;
use control_controllers_core::kinds::{AUTOSCALERS, PODS};
use control_controllers_core::{Note, Queue, object};
use control_core::edit;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::discovery::{Discovered, discover, path};
use crate::writer::resource;
use crate::{Outcome, Teller, Writer};

/// Autoscalers in work at once (the original's number).
const WORKERS: usize = 5;

/// For so long the server has the kinds that it had.
const FRESH: Duration = Duration::from_secs(30);

/// A scale that somebody else has changed is read and written again, so often.
const ATTEMPTS: usize = 5;

struct Autoscalers {
    api: Arc<dyn Api>,
    writer: Writer,
    teller: Mutex<Teller>,
    settings: Settings,
    known: Mutex<Known>,
    served: tokio::sync::Mutex<Option<(Instant, Arc<Discovered>)>>,
    news: Notify,
    began: Instant,
}

#[derive(Default)]
struct Known {
    queue: Queue<ObjectName>,
    objects: HashMap<ObjectName, Arc<Value>>,
    memories: HashMap<ObjectName, Memory>,
    /// Of their targets, as far as they were read.
    selectors: BTreeMap<ObjectName, String>,
}

impl Known {
    fn put(&mut self, autoscaler: Arc<Value>) {
        let name = object::key(&autoscaler);
        let before = self.objects.get(&name);
        if before.is_some_and(|before| object::version(before) > object::version(&autoscaler)) {
            return;
        }
        // A new one is looked at soon; another version of a known one at its time.
        if before.is_none_or(|before| object::uid(before) != object::uid(&autoscaler)) {
            self.memories.remove(&name);
            self.queue.add(name.clone());
        }
        self.objects.insert(name, autoscaler);
    }

    fn forget(&mut self, name: &ObjectName) {
        self.objects.remove(name);
        self.memories.remove(name);
        self.selectors.remove(name);
    }
}

/// Runs until it is dropped. All have the rights of the account
/// [`horizontal-pod-autoscaler`](control_controllers_core::autoscaler::ACCOUNT).
pub async fn run(api: Arc<dyn Api>, writer: Writer, events: EventRecorder, settings: Settings) -> Infallible {
    let shared = Arc::new(Autoscalers {
        api: Arc::clone(&api),
        writer,
        teller: Mutex::new(Teller::new(events)),
        settings,
        known: Mutex::default(),
        served: tokio::sync::Mutex::default(),
        news: Notify::new(),
        began: Instant::now(),
    });
    let hears = Arc::clone(&shared);
    let following =
        follow(api, Query::new(AUTOSCALERS.name, resource(AUTOSCALERS)), move |news| hears.hear(news));
    tokio::select! {
        never = following => never,
        never = shared.work_on() => never,
    }
}

impl Autoscalers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, news: News) {
        let mut known = self.known();
        match news {
            News::All(listed) => {
                let names: Vec<ObjectName> = listed.objects.iter().map(|one| object::key(one)).collect();
                let gone: Vec<ObjectName> =
                    known.objects.keys().filter(|name| !names.contains(name)).cloned().collect();
                gone.iter().for_each(|name| known.forget(name));
                listed.objects.into_iter().for_each(|one| known.put(one));
            }
            News::Changed(Changed::Put(autoscaler)) => known.put(autoscaler),
            News::Changed(Changed::Gone(autoscaler)) => known.forget(&object::key(&autoscaler)),
            News::Changed(Changed::Until(_)) => return,
            News::Trouble(problem) => {
                tracing::warn!(problem, "cannot follow autoscalers");
                return;
            }
        }
        drop(known);
        self.news.notify_one();
    }

    async fn work_on(self: &Arc<Self>) -> Infallible {
        let mut workers = JoinSet::new();
        loop {
            let mut next = None;
            while workers.len() < WORKERS {
                let now = self.began.elapsed();
                let mut known = self.known();
                let Some(key) = known.queue.take(now) else {
                    next = known.queue.next(now);
                    break;
                };
                drop(known);
                let shared = Arc::clone(self);
                workers.spawn(async move { shared.work(key).await });
            }
            let pause = next.map(|next| next.saturating_sub(self.began.elapsed()));
            tokio::select! {
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("the look at an autoscaler has a defect: it panicked");
                    }
                }
                () = self.news.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// One look, and when the next one is.
    async fn work(&self, key: ObjectName) {
        let found = {
            let known = self.known();
            let memory = known.memories.get(&key).cloned().unwrap_or_default();
            known.objects.get(&key).cloned().map(|autoscaler| (autoscaler, memory))
        };
        let Some((autoscaler, mut memory)) = found else {
            self.known().queue.done(&key);
            return;
        };
        let uid = object::uid(&autoscaler).to_owned();
        self.look(&autoscaler, &mut memory).await;
        let now = self.began.elapsed();
        let mut known = self.known();
        if known.objects.get(&key).is_some_and(|one| object::uid(one) == uid) {
            known.memories.insert(key.clone(), memory);
            known.queue.add_at(key.clone(), now + self.settings.sync_period);
        }
        known.queue.done(&key);
        drop(known);
        self.news.notify_one();
    }

    async fn look(&self, autoscaler: &Arc<Value>, memory: &mut Memory) {
        let (scale, found) = match self.target(autoscaler).await {
            Ok(target) => target,
            Err(why) => {
                let plan = without_target(autoscaler, &why, SystemTime::now());
                self.write_down(&plan).await;
                return;
            }
        };
        let target = Target::of(&scale);
        self.known().selectors.insert(object::key(autoscaler), target.selector.clone());
        let (pods, answers) = match self.measure(autoscaler, &target).await {
            Ok(measured) => measured,
            Err(failure) => {
                tracing::warn!(autoscaler = %object::key(autoscaler), %failure, "cannot read what it needs; it is looked at again");
                return;
            }
        };
        let selectors = self.known().selectors.clone();
        let mut plan = Scene {
            autoscaler,
            target: &target,
            pods: &pods,
            answers: &answers,
            selectors: &selectors,
            settings: &self.settings,
            now: SystemTime::now(),
        }
        .decide(memory);
        if let Some(rescale) = plan.rescale.clone() {
            self.tell(&plan.notes, "");
            match self.rescale(autoscaler, scale, &found, rescale.to).await {
                Ok(()) => plan.rescaled(memory),
                Err(why) => plan.not_rescaled(&why),
            }
        }
        self.write_down(&plan).await;
    }

    /// Events, and the status.
    async fn write_down(&self, plan: &Plan) {
        self.tell(&plan.notes, "");
        let Some(act) = plan.status() else { return };
        match self.writer.perform(&act).await {
            Outcome::Written(autoscaler) => self.known().put(autoscaler),
            Outcome::Refused(status) if !status.is_conflict() && !status.is_not_found() => {
                self.tell(act.refused.as_slice(), &status.message);
            }
            // Another version is known soon, or there is none any more.
            _ => {}
        }
    }

    fn tell(&self, notes: &[Note], more: &str) {
        let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().for_each(|note| teller.tell(note, more, Instant::now()));
    }

    /// The target's scale, and the kind that it is of.
    async fn target(&self, autoscaler: &Value) -> Result<(Value, Resource), String> {
        let (group, kind) = kind_of_target(autoscaler)?;
        let served = self.served().await.map_err(|failure| words(&failure, ""))?;
        let kinds = served.resources.iter().filter(|one| one.group == group && one.kind == kind);
        // Owned, so that the future of a look can go to any thread.
        let kinds: Vec<Resource> = kinds.cloned().collect();
        if kinds.is_empty() {
            return Err(format!("no matches for kind {kind:?} in group {group:?}"));
        }
        let name = edit::text(autoscaler, &["spec", "scaleTargetRef", "name"]);
        let mut first = None;
        for one in kinds {
            let path = path(&one).object_path(object::namespace(autoscaler), name, "scale");
            match self.api.read(&path).await {
                Ok(scale) => return Ok((Value::clone(&scale), one)),
                Err(failure) => {
                    let what = format!("get {}.{} {name}", one.plural, one.group);
                    first.get_or_insert_with(|| words(&failure, what.trim_end_matches('.')));
                }
            }
        }
        Err(first.unwrap_or_else(|| "unrecognized resource".to_owned()))
    }

    /// The target's pods, and what is measured.
    async fn measure(
        &self,
        autoscaler: &Value,
        target: &Target,
    ) -> Result<(Vec<Arc<Value>>, Vec<Answer>), Failure> {
        let served = self.served().await?;
        let served = Served { groups: &served.groups, resources: &served.resources };
        let mut answers: Vec<Answer> = Vec::new();
        let mut asked: HashMap<String, Answer> = HashMap::new();
        for question in questions(autoscaler, target, served) {
            let ask = match question {
                Ok(ask) => ask,
                Err(why) => {
                    answers.push(Err(why));
                    continue;
                }
            };
            let url = url(&ask);
            let answer = match asked.get(&url) {
                Some(answer) => answer.clone(),
                None => self.api.read(&url).await.map_err(|failure| words(&failure, &ask.what)),
            };
            asked.insert(url, answer.clone());
            answers.push(answer);
        }
        let pods = match (answers.is_empty(), target.selector.parse()) {
            (false, Ok(labels)) => {
                let namespace = object::namespace(autoscaler).to_owned();
                let query = Query { namespace, labels, ..Query::new(PODS.name, resource(PODS)) };
                self.api.list(&query, true).await?.objects
            }
            _ => Vec::new(),
        };
        Ok((pods, answers))
    }

    async fn served(&self) -> Result<Arc<Discovered>, Failure> {
        let mut served = self.served.lock().await;
        if let Some((_, known)) = served.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(discover(&*self.api).await?);
        *served = Some((Instant::now(), Arc::clone(&known)));
        Ok(known)
    }

    async fn rescale(
        &self,
        autoscaler: &Value,
        mut scale: Value,
        found: &Resource,
        to: i64,
    ) -> Result<(), String> {
        let name = edit::text(autoscaler, &["spec", "scaleTargetRef", "name"]);
        let path = path(found).object_path(object::namespace(autoscaler), name, "scale");
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            if let Some(spec) = edit::child(&mut scale, "spec") {
                edit::set(spec, "replicas", to);
            }
            let write = Write::Update { path: path.clone(), object: scale.clone() };
            match self.writer.once(&write).await {
                Ok(_) => return Ok(()),
                Err(failure) => {
                    last = words(&failure, &format!("put {}.{} {name}", found.plural, found.group));
                    if !failure.status().is_some_and(|status| status.is_conflict()) {
                        return Err(last);
                    }
                }
            }
            if let Ok(now) = self.api.read(&path).await {
                scale = Value::clone(&now);
            }
        }
        Err(last)
    }
}

fn url(ask: &Ask) -> String {
    let mut url: String = ask.path.iter().map(|segment| format!("/{}", escape(segment))).collect();
    for (nth, (name, value)) in ask.query.iter().enumerate() {
        let joint = if nth == 0 { '?' } else { '&' };
        url.push_str(&format!("{joint}{name}={}", escape(value)));
    }
    url
}

/// What the original's client makes of a failure: an answer that is no refusal of the API's own gets words for its code.
fn words(failure: &Failure, what: &str) -> String {
    let Failure::Refused(status) = failure else { return failure.to_string() };
    match (status.code, &status.details) {
        (404, None) => format!("the server could not find the requested resource ({what})"),
        (503, None) => format!("the server is currently unable to handle the request ({what})"),
        _ => status.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_escaped_and_what_is_not_served_has_words() {
        let ask = Ask {
            path: ["apis", "custom.metrics.k8s.io", "v1beta2", "pods", "*", "per second"]
                .map(str::to_owned)
                .to_vec(),
            query: vec![
                ("labelSelector", "a=b,c in (d,e)".to_owned()),
                ("metricLabelSelector", "f".to_owned()),
            ],
            what: String::new(),
        };
        assert_eq!(
            url(&ask),
            "/apis/custom.metrics.k8s.io/v1beta2/pods/%2A/per%20second?labelSelector=a%3Db%2Cc%20in%20%28d%2Ce%29\
             &metricLabelSelector=f"
        );
        let status = |code, message: &str, details| {
            Failure::Refused(Box::new(apiclient_core::wire::Status {
                code,
                message: message.to_owned(),
                details,
                ..Default::default()
            }))
        };
        let missing = status(404, "404 page not found", None);
        assert_eq!(
            words(&missing, "get pods.metrics.k8s.io"),
            "the server could not find the requested resource (get pods.metrics.k8s.io)"
        );
        let named = status(404, "deployments.apps \"a\" not found", Some(Default::default()));
        assert_eq!(words(&named, "x"), "deployments.apps \"a\" not found");
    }
}
