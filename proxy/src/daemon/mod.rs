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
use std::thread;
use std::time::Duration;

use host::error::Remedy;
use proxy_core::objects::Kind;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

pub use cleanup::cleanup;
pub use start::init_only;

use crate::addresses::LocalAddresses;
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

/// Runs the proxy until it is told to end.
///
/// Passes block, so they have a thread of their own: signals and HTTP wait for none.
///
/// # Errors
/// Whatever it cannot wait out; see [`ProxyError`]. Also that with which `end` returns, should it.
pub async fn run(options: Options, end: impl Future<Output = ProxyError>) -> Result<(), ProxyError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProxyError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ProxyError::Signals)?;
    tracing::info!(%options, "starting");
    for note in options.without_effect() {
        tracing::warn!("{note}");
    }
    let (stop, mut stopped) = watch::channel(false);
    let (tell, mut ended) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        let outcome = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => Ok(()),
                outcome = serve(&options) => outcome,
            }
        });
        // Nobody listens where the end came before.
        let _ = tell.send(outcome);
    };
    let syncer = thread::Builder::new().name("syncer".to_owned()).spawn(work).map_err(ProxyError::Thread)?;
    let mut outcome = Ok(());
    tokio::select! {
        outcome = &mut ended => match (outcome, syncer.join()) {
            (Ok(outcome), _) => return outcome,
            (Err(_), Err(panic)) => std::panic::resume_unwind(panic),
            (Err(_), Ok(())) => return Err(ProxyError::FeedEnded),
        },
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        why = end => outcome = Err(why),
    }
    // The rules stay as they are: services go on.
    tracing::info!("ending; services stay as they are");
    tell_systemd("STOPPING=1");
    stop.send_replace(true);
    if timeout(GRACE, ended).await.is_err() {
        tracing::warn!("not waiting for the pass in course; the next start makes good what it leaves");
    }
    outcome
}

async fn serve(options: &Options) -> Result<(), ProxyError> {
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
    let surroundings = Surroundings { settings, addresses, bridges };
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
            tell_systemd("READY=1");
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

fn tell_systemd(state: &str) {
    if let Err(error) = telemetry::systemd::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
