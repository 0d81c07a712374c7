//! The life of the proxy, from its options to its end.
//!
//! Order of the start: settings of the kernel, servers, feed, and once every kind of object has been listed the first
//! complete pass, then readiness. From then on each change is written when it arrives; what arrives during a pass is
//! the next pass. Begin at [`run`]; then [`keeper`] (objects into tables) and [`start`].
//! Never: deletes a rule when it ends. Services go on without a proxy, as they were.

mod cleanup;
mod counts;
mod keeper;
mod retry;
mod start;
mod switch;

use std::collections::BTreeSet;

use proxy_core::objects::Kind;
use tokio::signal::unix::{SignalKind, signal};

pub use cleanup::cleanup;
pub use start::init_only;
pub(crate) use start::{families, iptables_settings, nftables_settings};

use crate::backends::Backend;
use crate::backends::iptables::IptablesBackend;
use crate::backends::nftables::NftablesBackend;
use crate::error::ProxyError;
use crate::feeds::{self, Event, Feed};
use crate::options::{Mode, Options};
use counts::Questions;
use keeper::Keeper;
use retry::Retry;

/// Arrivals that one pass serves at most: a feed that never pauses must not keep the kernel waiting.
const GATHER: usize = 4096;

/// Runs the proxy until it is told to end.
///
/// # Errors
/// Whatever it cannot wait out; see [`ProxyError`].
pub async fn run(options: Options) -> Result<(), ProxyError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProxyError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ProxyError::Signals)?;
    tracing::info!(%options, "starting");
    for note in options.without_effect() {
        tracing::warn!("{note}");
    }
    let serving = async {
        match options.mode {
            Mode::Nftables => {
                let backend = NftablesBackend::open(&families(), nftables_settings(&options))?;
                serve(&options, backend).await
            }
            Mode::Iptables => {
                let backend = IptablesBackend::open(&families(), iptables_settings(&options))?;
                serve(&options, backend).await
            }
        }
    };
    tokio::select! {
        outcome = serving => outcome,
        _ = interrupt.recv() => leave(),
        _ = terminate.recv() => leave(),
    }
}

/// The rules stay as they are: services go on.
fn leave() -> Result<(), ProxyError> {
    tracing::info!("ending; services stay as they are");
    tell_systemd("STOPPING=1");
    Ok(())
}

async fn serve<B: Backend>(options: &Options, mut backend: B) -> Result<(), ProxyError> {
    start::prepare_kernel(options);
    backend.probe()?;
    let start::Services { health, metrics, ready, mut questions, _servers } =
        start::services(options).await?;
    let mut feed = feeds::start(&options.feed, &options.node_name).await?;
    let mut keeper = Keeper::new(options, backend, health, metrics);
    let mut unlisted: BTreeSet<Kind> = Kind::ALL.into();
    let mut retry = Retry::new(options.sync_period);
    loop {
        let informed = unlisted.is_empty();
        tokio::select! {
            event = next(&mut feed) => note(&mut keeper, event?, &mut unlisted),
            () = retry.due(), if informed => {}
            outcome = keeper.disturbed(), if informed && retry.is_calm() => {
                retry.after(outcome.as_ref().err());
            }
            question = questions.recv() => {
                answer(&mut keeper, question);
                continue;
            }
        }
        for _ in 1..GATHER {
            let Some(arrival) = feed.try_next() else { break };
            note(&mut keeper, arrival, &mut unlisted);
        }
        // What is not known yet would look like gone.
        let due = if retry.is_calm() { keeper.has_work() } else { retry.is_due() };
        if !unlisted.is_empty() || !due {
            continue;
        }
        let outcome = keeper.pass().await;
        retry.after(outcome.as_ref().err());
        if outcome.is_ok() && !ready.get() {
            ready.set();
            tell_systemd("READY=1");
            tracing::info!(services = keeper.services(), "ready");
            let options = options.clone();
            tokio::task::spawn_blocking(move || switch::leave_others(&options));
        }
    }
}

async fn next(feed: &mut Feed) -> Result<feeds::Arrival, ProxyError> {
    feed.next().await.ok_or(ProxyError::FeedEnded)
}

fn note<B: Backend>(keeper: &mut Keeper<B>, arrival: feeds::Arrival, unlisted: &mut BTreeSet<Kind>) {
    match arrival.event {
        Event::Change(change) => keeper.note(change, arrival.at, arrival.triggered),
        Event::Listed(kind) => {
            if unlisted.remove(&kind) {
                tracing::debug!(?kind, "listed");
            }
        }
        // The feed has said it.
        Event::Trouble(_) => {}
    }
}

fn answer<B: Backend>(keeper: &mut Keeper<B>, question: Option<Questions>) {
    if let Some(question) = question {
        // Who asked may have given up.
        let _ = question.send(keeper.connections());
    }
}

fn tell_systemd(state: &str) {
    if let Err(error) = telemetry::systemd::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
