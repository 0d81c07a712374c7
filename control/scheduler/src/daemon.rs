//! The loop between what the server says and what the core decides.
//!
//! One task owns the state. It takes in all that has come, then finds nodes for pods as long as writes may begin; each
//! binding is a task of its own that reports how it went. Nothing is decided before every kind is there once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiclient::Reporter;
use apiclient::objects::{Api, Changed, News};
use apiclient_core::names::{Name, ObjectName};
use control_scheduler_core::state::{ALL, Answers, Ask, Bind, Failed, Kind, State, Step};
use telemetry::Ready;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::events::Recorder;
use crate::extenders::{ExtenderError, Extenders};
use crate::feeds::{self, Fed};
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::writer::{Bound, Writer};

/// Pods that are tried before what came meanwhile is taken in.
const BURST: usize = 64;

/// Failures that are being written before the next pod is tried.
const TELLING: usize = 64;

/// Metrics of the queue are at most this old.
const COUNTED: Duration = Duration::from_secs(1);

/// Schedules until `stop` returns. `ready` is set when the first decision can be made.
///
/// # Errors
/// What cannot get better by waiting.
pub async fn run(
    api: Arc<dyn Api>,
    config: Config,
    metrics: Metrics,
    ready: Ready,
    stop: impl Future<Output = ()>,
) -> Result<(), ExtenderError> {
    let extenders = Arc::new(Extenders::new(&config.extenders, api.clone())?);
    let (fed, feeds) = feeds::start(&api);
    let controller = config.profiles.first().map_or("default-scheduler", |profile| profile.name.as_str());
    let reporter = Reporter {
        controller: controller.to_owned(),
        instance: format!("{controller}-{}", std::process::id()),
    };
    let (recorder, telling) = Recorder::new(api.clone(), reporter);
    let began = Instant::now();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = seed.map_or(1, |since| since.as_nanos() as u64);
    let mut profiles = config.profiles;
    for extender in &config.extenders {
        profiles.iter_mut().for_each(|profile| profile.fit.ignored.extend(extender.ignored.iter().cloned()));
    }
    let state = State::new(profiles, config.waits, config.percentage, extenders.are_some(), seed);
    let (report, reports) = mpsc::channel(1024);
    let mut daemon = Daemon {
        state,
        began,
        writer: Writer::new(api),
        recorder,
        extenders,
        limit: Limit::default(),
        under_way: 0,
        telling: 0,
        asking: false,
        missing: ALL.into_iter().collect(),
        report,
        tasks: JoinSet::new(),
        metrics,
        counted: began,
        ready,
    };
    tokio::select! {
        () = daemon.follow(fed, reports) => {}
        () = telling => {}
        () = stop => {}
    }
    drop(feeds);
    // Bindings that the server has are its; those on their way end with the connection.
    daemon.tasks.abort_all();
    Ok(())
}

/// How something ended that was begun.
enum Report {
    Bound { bind: Bind, outcome: Bound, began: Instant, took: Option<Duration> },
    Told { spared: Vec<Name> },
    Answered { ask: Box<Ask>, answers: Result<Answers, String> },
    Slow,
}

struct Daemon {
    state: State,
    began: Instant,
    writer: Writer,
    recorder: Recorder,
    extenders: Arc<Extenders>,
    limit: Limit,
    under_way: usize,
    telling: usize,
    /// Extenders have the word: no other pod is tried meanwhile.
    asking: bool,
    /// Kinds whose first list has not come.
    missing: HashSet<Kind>,
    report: mpsc::Sender<Report>,
    tasks: JoinSet<()>,
    metrics: Metrics,
    counted: Instant,
    ready: Ready,
}

impl Daemon {
    async fn follow(&mut self, mut fed: mpsc::UnboundedReceiver<Fed>, mut reports: mpsc::Receiver<Report>) {
        loop {
            while let Ok(report) = reports.try_recv() {
                self.hear(report);
            }
            while let Ok((kind, update)) = fed.try_recv() {
                self.take(kind, update);
            }
            let until = self.work();
            self.count();
            while self.tasks.try_join_next().is_some() {}
            let sleep = until.map_or(COUNTED, |until| until.min(COUNTED));
            if sleep.is_zero() {
                // There is more to do, after what has come meanwhile.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                report = reports.recv() => report.into_iter().for_each(|report| self.hear(report)),
                update = fed.recv() => match update {
                    Some((kind, update)) => self.take(kind, update),
                    None => return,
                },
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn take(&mut self, kind: Kind, news: News) {
        let now = self.now();
        let skipped = |name: &dyn std::fmt::Display, error: &dyn std::fmt::Display| {
            tracing::warn!(kind = kind.name(), %name, %error, "an object is left out: write it again");
        };
        match news {
            News::All(listed) => {
                for (name, error) in self.state.replace(kind, &listed.objects, now) {
                    skipped(&name, &error);
                }
                if self.missing.remove(&kind) && self.missing.is_empty() {
                    tracing::info!(pods = self.state.queue.len(), "everything is known: scheduling begins");
                    self.ready.set(true);
                }
            }
            News::Changed(Changed::Put(object)) => {
                if let Err(error) = self.state.put(kind, &object, now) {
                    skipped(&object["metadata"]["name"].as_str().unwrap_or_default(), &error);
                }
            }
            News::Changed(Changed::Gone(object)) => {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                let name = ObjectName::new(text("namespace"), text("name"));
                self.state.gone(kind, &name, now);
            }
            News::Changed(Changed::Until(_)) => {}
            News::Trouble(problem) => tracing::warn!(kind = kind.name(), "{problem}"),
        }
    }

    /// Tries pods; says how long nothing is to be done, `None`: until something happens.
    fn work(&mut self) -> Option<Duration> {
        if !self.missing.is_empty() {
            return None;
        }
        for _ in 0..BURST {
            if self.under_way >= self.limit.allowed() || self.telling >= TELLING || self.asking {
                return None;
            }
            let began = Instant::now();
            let now = self.now();
            let step = self.state.step(now);
            if let Step::Wait(until) = step {
                return until.map(|until| until.saturating_sub(now).max(Duration::from_millis(1)));
            }
            self.metrics.algorithm(began.elapsed());
            self.act(step, began);
        }
        Some(Duration::ZERO)
    }

    fn act(&mut self, step: Step, began: Instant) {
        match step {
            Step::Wait(_) => {}
            Step::Bind(bind) => self.bind(bind, began),
            Step::Failed(failed) => self.fail(*failed, began),
            Step::Ask(ask) => {
                self.asking = true;
                let (extenders, report) = (self.extenders.clone(), self.report.clone());
                self.tasks.spawn(async move {
                    let answers = extenders.ask(&ask).await;
                    let _ = report.send(Report::Answered { ask, answers }).await;
                });
            }
        }
    }

    fn bind(&mut self, bind: Bind, began: Instant) {
        self.under_way += 1;
        let (writer, extenders, report) = (self.writer.clone(), self.extenders.clone(), self.report.clone());
        let limit = Duration::from_secs(self.state.profile(bind.profile).volume_timeout);
        self.tasks.spawn(async move {
            let needs_volumes = !bind.plan.bindings.is_empty() || !bind.plan.provisions.is_empty();
            let volumes = match needs_volumes {
                true => writer.volumes(&bind.plan, &bind.node, limit).await,
                false => Ok(()),
            };
            let sent = Instant::now();
            let outcome = match volumes {
                Err(problem) => Bound::Failed(problem),
                Ok(()) => match extenders.bind(&bind).await {
                    Some(Ok(())) => Bound::Done,
                    Some(Err(problem)) => Bound::Failed(problem),
                    None => {
                        let slow = || _ = report.try_send(Report::Slow);
                        writer.bind(&bind, slow).await
                    }
                },
            };
            let took = (!needs_volumes).then(|| sent.elapsed());
            let _ = report.send(Report::Bound { bind, outcome, began, took }).await;
        });
    }

    fn fail(&mut self, failed: Failed, began: Instant) {
        let profile = self.state.profile(failed.profile).name.clone();
        self.metrics.attempt("unschedulable", &profile, began.elapsed());
        tracing::debug!(pod = %failed.pod.name, attempts = failed.tried.attempts, message = failed.message, "unschedulable");
        self.tell(failed, "Unschedulable", profile);
    }

    /// Says so in the pod and by an event, and makes room where that is planned.
    fn tell(&mut self, failed: Failed, reason: &'static str, scheduler: String) {
        self.telling += 1;
        self.metrics.preempted(failed.room.as_ref().map_or(0, |room| room.victims.len()));
        let known = failed.pod.verdict.as_ref().is_some_and(|(_, message)| *message == failed.message);
        if !known {
            self.recorder.failed(&failed.pod, &failed.message);
        }
        let (writer, recorder, report) = (self.writer.clone(), self.recorder.clone(), self.report.clone());
        self.tasks.spawn(async move {
            writer.tell(&failed.pod, reason, &failed.message, failed.nominated.as_ref()).await;
            let spared = match &failed.room {
                None => Vec::new(),
                Some(room) => {
                    let told = |victim: &_| recorder.preempted(victim, &failed.pod, &room.node);
                    writer.make_room(&failed, room, &scheduler, told).await
                }
            };
            let _ = report.send(Report::Told { spared }).await;
        });
    }

    fn hear(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Slow => self.limit.refused(),
            Report::Told { spared } => {
                self.telling -= 1;
                spared.iter().for_each(|uid| self.state.spared(uid));
            }
            Report::Answered { ask, answers } => {
                self.asking = false;
                let began = Instant::now();
                match answers {
                    Ok(answers) => {
                        let step = self.state.answered(*ask, answers, now);
                        self.act(step, began);
                    }
                    Err(problem) => {
                        self.state.confused(&ask.pod.uid, now);
                        let Ask { pod, tried, profile, .. } = *ask;
                        self.confused(pod, tried, profile, problem, began);
                    }
                }
            }
            Report::Bound { bind, outcome, began, took } => {
                self.under_way -= 1;
                match outcome {
                    Bound::Done => {
                        took.into_iter().for_each(|took| self.limit.answered(took));
                        self.state.bound(&bind.pod.uid);
                        self.recorder.scheduled(&bind.pod, &bind.node);
                        let profile = &self.state.profile(bind.profile).name;
                        self.metrics.attempt("scheduled", profile, began.elapsed());
                        self.metrics.bound(bind.tried.attempts, now.saturating_sub(bind.tried.first));
                    }
                    Bound::Otherwise => self.state.not_bound(&bind.pod.uid, now),
                    Bound::Failed(problem) => {
                        self.state.not_bound(&bind.pod.uid, now);
                        self.confused(bind.pod, bind.tried, bind.profile, problem, began);
                    }
                }
            }
        }
    }

    /// Something went wrong that is no judgement about the pod.
    fn confused(
        &mut self,
        pod: Arc<control_scheduler_core::pod::Pod>,
        tried: control_scheduler_core::queue::Tried,
        profile: usize,
        problem: String,
        began: Instant,
    ) {
        let name = self.state.profile(profile).name.clone();
        self.metrics.attempt("error", &name, began.elapsed());
        tracing::warn!(pod = %pod.name, problem, "a pod could not be scheduled; it is tried again");
        let failed = Failed::error(pod, tried, profile, problem);
        self.tell(failed, "SchedulerError", name);
    }

    fn count(&mut self) {
        if self.counted.elapsed() >= COUNTED {
            self.counted = Instant::now();
            self.metrics.queue(self.state.queue.counts());
            self.metrics.bindings(self.under_way, self.limit.allowed());
        }
    }
}
