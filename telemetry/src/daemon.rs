//! The frame of a daemon: its runtime, the thread for its work, the signals that end it.
//!
//! Owns: the order of an end: STOPPING to systemd, a word to the work, a grace for what blocks.
//! Begin at [`program`] and [`until_told`].
//! Never: waits for a thread that blocks, a name server that does not answer for instance.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::systemd;

/// The frame could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Room for the frames of builds without optimisation, which copy the states of all that they wait for. Memory is used only
/// as far as it is reached.
const STACK: usize = 8 << 20;

/// How many threads serve what a program waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Two: for a program that mostly waits, and must leave the CPUs to others.
    Few,
    /// One for each CPU that this process may use, by its affinity and its control group, and at least two: for a server.
    EachCpu,
}

impl Threads {
    fn number(self) -> usize {
        const FEW: usize = 2;
        match self {
            Self::Few => FEW,
            Self::EachCpu => thread::available_parallelism().map_or(FEW, |cpus| cpus.get().max(FEW)),
        }
    }
}

/// What threads of [`program`] do before they sleep.
static BEFORE_SLEEP: OnceLock<fn()> = OnceLock::new();

/// Says what each thread of the runtime does when it has run out of work: something short, for it is asked often. The first
/// one counts.
pub fn before_sleep(act: fn()) {
    let _ = BEFORE_SLEEP.set(act);
}

/// Work that has had nothing to do for so long rests.
const REST: Duration = Duration::from_secs(6);

/// Does on a thread that is none of the runtime's what those do before they sleep: whenever `work` has run out of things to
/// do, and once more when it rests.
async fn with_rests<T>(act: impl Fn(), work: impl Future<Output = T>) -> T {
    let (mut work, mut rest, mut rested) = (pin!(work), pin!(sleep(REST)), false);
    poll_fn(|context| {
        let outcome = work.as_mut().poll(context);
        if outcome.is_pending() {
            act();
            // Only the work wakes who has rested; otherwise it was the work, or the rest is due.
            if rested || !rest.is_elapsed() {
                rest.as_mut().reset(Instant::now() + REST);
            }
            rested = rest.as_mut().poll(context).is_ready();
        }
        outcome
    })
    .await
}

/// Runs a program's work to its end. An error goes to the log in the words that `say` finds for it.
///
/// What still blocks on a thread afterwards does not keep the end waiting.
pub fn program<E>(
    name: &str,
    threads: Threads,
    work: impl Future<Output = Result<(), E>>,
    say: impl FnOnce(&E) -> String,
) -> ExitCode {
    let mut builder = Builder::new_multi_thread();
    if let Some(act) = BEFORE_SLEEP.get() {
        builder.on_thread_park(*act);
    }
    let runtime = room_for_descriptors().and_then(|()| {
        builder.worker_threads(threads.number()).thread_stack_size(STACK).enable_all().build()
    });
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::note!("{name}: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", say(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether a runtime could be made: Tokio panics where it gets too few descriptors for signals.
fn room_for_descriptors() -> io::Result<()> {
    const NEEDED: usize = 8;
    (0..NEEDED).map(|_| std::fs::File::open("/dev/null")).collect::<Result<Vec<_>, _>>().map(drop)
}

/// Runs a daemon's work on a thread of its own, so that a pass that blocks keeps no signal waiting, until it ends by
/// itself, until SIGINT or SIGTERM, or until `end` returns, whose error is then the outcome.
///
/// When told to end, it logs `farewell`, and waits for the work for `grace` at most: what blocks for longer is left as
/// it is, and the next start makes good what a pass leaves.
///
/// # Errors
/// Those of the work and of `end`, and [`FrameError`].
pub async fn until_told<E, F>(
    work: impl FnOnce() -> F + Send + 'static,
    end: impl Future<Output = E>,
    grace: Duration,
    farewell: &str,
) -> Result<(), E>
where
    E: From<FrameError> + Send + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FrameError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(FrameError::Signals)?;
    let (stop, mut stopped) = watch::channel(false);
    let (tell, mut ended) = oneshot::channel();
    let runtime = Handle::current();
    let before_sleep = BEFORE_SLEEP.get().copied().unwrap_or(|| ());
    let run = move || {
        let outcome = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => Ok(()),
                outcome = with_rests(before_sleep, work()) => outcome,
            }
        });
        // Nobody listens where the end came before.
        let _ = tell.send(outcome);
    };
    let thread = thread::Builder::new().name("work".to_owned()).spawn(run).map_err(FrameError::Thread)?;
    let outcome = tokio::select! {
        outcome = &mut ended => return match (outcome, thread.join()) {
            (Ok(outcome), _) => outcome,
            (Err(_), Err(panic)) => std::panic::resume_unwind(panic),
            (Err(_), Ok(())) => unreachable!("the work tells its outcome unless it panics"),
        },
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        why = end => Err(why),
    };
    tracing::info!("{farewell}");
    systemd::tell("STOPPING=1");
    stop.send_replace(true);
    if timeout(grace, ended).await.is_err() {
        tracing::warn!("not waiting for the pass in course; the next start makes good what it leaves");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thread_acts_whenever_its_work_pauses_and_once_when_it_rests() {
        let acts = Cell::new(0);
        let act = || acts.set(acts.get() + 1);
        let counted = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(acts.get(), 1);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(acts.get(), 2);
            // A rest that lasts is one.
            sleep(REST * 10).await;
            assert_eq!(acts.get(), 4);
            sleep(REST * 2).await;
            acts.get()
        };
        assert_eq!(with_rests(act, counted).await, 6);
    }
}
