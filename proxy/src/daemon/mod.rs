//! The life of the proxy, from its options to its end.
//!
//! Order of the start: settings of the kernel, servers, feed, and once every kind of object has been listed the first
//! complete pass, then readiness. From then on each change is written when it arrives; what arrives during a pass is
//! the next pass. Begin at [`run`]; then [`syncer`] (objects into tables), [`start`] and [`switch`] (leftovers of other modes).
//! Never: deletes a rule when it ends. Services go on without a proxy, as they were.

mod cleanup;
mod kernel;
mod questions;
mod retry;
mod start;
mod switch;
mod syncer;

use std::collections::BTreeSet;
use std::time::Duration;

use host::error::Remedy;
use proxy_core::objects::Kind;
use telemetry::daemon::until_told;
use telemetry::systemd;

pub use cleanup::cleanup;
pub use start::init_only;

use crate::addresses::LocalAddresses;
use crate::announce::{Announcer, Announcing};
use crate::backends::AnyBackend;
use crate::bridges::Bridges;
use crate::error::ProxyError;
use crate::feeds::{self, Event, Feed};
use crate::options::Options;
use kernel::KernelSettings;
use retry::Retry;
use syncer::{Surroundings, Syncer, Wake};

/// Arrivals that one pass serves at most: a feed that never pauses must not keep the kernel waiting.
const GATHER: usize = 4096;

/// How long a pass in course may take when the end has been asked for. It is one transaction, or several of which each
/// leaves something that works; the next start goes on from wherever this one stops.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the proxy until it is told to end. The rules stay as they are: services go on.
///
/// # Errors
/// Whatever it cannot wait out; see [`ProxyError`]. Also that with which `end` returns, should it.
pub async fn run(options: Options, end: impl Future<Output = ProxyError>) -> Result<(), ProxyError> {
    tracing::info!(%options, "starting");
    for note in options.without_effect() {
        tracing::warn!("{note}");
    }
    let announcer = Announcer::start(&options).await?;
    let announcing = announcer.as_ref().map(Announcer::hand);
    let work = move || async move { serve(&options, announcing).await };
    let outcome = until_told(work, end, GRACE, "ending; services stay as they are").await;
    if let Some(announcer) = announcer {
        announcer.end().await;
    }
    outcome
}

async fn serve(options: &Options, announcing: Option<Announcing>) -> Result<(), ProxyError> {
    let mut backend = options.mode.open(options)?;
    let in_use = backend.territory();
    let settings = KernelSettings::apply(options);
    if let Err(error) = backend.probe() {
        if error.remedy() == Remedy::GiveUp {
            return Err(error.into());
        }
        // A lock that somebody holds, say: the first pass is tried again until it is done.
        tracing::warn!(error = crate::error::chain(&error), "what the kernel can do is not known yet");
    }
    let start::Services { health, metrics, ready, ask, mut questions, _servers } =
        start::services(options).await?;
    let mut feed = feeds::start(&options.feed, &options.node_name).await?;
    let (addresses, bridges) = (LocalAddresses::follow(), Bridges::follow(options.sync_period));
    let surroundings = Surroundings { settings, addresses, bridges, announcing };
    let mut syncer = Syncer::new(options, backend, surroundings, health, metrics, feed.events());
    let mut unlisted: BTreeSet<Kind> = Kind::ALL.into();
    let mut retry = Retry::new(options.sync_period);
    loop {
        let informed = unlisted.is_empty();
        tokio::select! {
            event = next(&mut feed) => note(&mut syncer, event?, &mut unlisted),
            () = retry.due(), if informed => {}
            wake = syncer.wake(retry.is_calm()), if informed => match wake {
                Wake::Disturbed(outcome) => retry.after(outcome.as_ref().err()),
                Wake::FollowUp => syncer.follow_up(),
            },
            question = questions.recv() => question.into_iter().for_each(|question| syncer.answer(question)),
        }
        for _ in 1..GATHER {
            let Some(arrival) = feed.try_next() else { break };
            note(&mut syncer, arrival, &mut unlisted);
        }
        // What is not known yet would look like gone.
        let due = if retry.is_calm() { syncer.has_work() } else { retry.is_due() };
        if !unlisted.is_empty() || !due {
            continue;
        }
        let outcome = syncer.pass();
        retry.after(outcome.as_ref().err());
        if outcome.is_ok() && !ready.get() {
            ready.set(true);
            systemd::tell("READY=1");
            tracing::info!(services = syncer.services(), "ready");
            tokio::spawn(switch::remove_leftovers(in_use.clone(), ask.clone()));
        }
        // Whoever asked for the end is heard even where changes never cease.
        tokio::task::yield_now().await;
    }
}

async fn next(feed: &mut Feed) -> Result<feeds::Arrival, ProxyError> {
    feed.next().await.ok_or(ProxyError::FeedEnded)
}

fn note(syncer: &mut Syncer<dyn AnyBackend>, arrival: feeds::Arrival, unlisted: &mut BTreeSet<Kind>) {
    match arrival.event {
        Event::Change(change) => syncer.note(change, arrival.at, arrival.triggered),
        Event::Listed(kind) => {
            if unlisted.remove(&kind) {
                tracing::debug!(?kind, "listed");
            }
        }
        // The feed has said it.
        Event::Trouble(_) => {}
    }
}
