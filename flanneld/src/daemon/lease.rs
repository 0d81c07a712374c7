//! Keeping our own lease: renewed in time, taken again when it is deleted, given up when it is another's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flanneld_core::acquire::{Identity, Note, Previous};
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::Subnets;
use flanneld_core::subnet_env::Earlier;
use telemetry::Backoff;
use tokio::sync::mpsc;

use crate::error::{FlanneldError, chain};
use crate::files::write_atomically;
use crate::leases::{HeldLease, LeaseSource, SourceError};
use crate::metrics::Metrics;

/// The waits after a renewal that failed. The first is short: etcd may only have changed its leader. The longest is
/// flannel's.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The shortest time between two renewals that hints cause: two nodes with one address must not write in turns.
const HINTS_APART: Duration = Duration::from_secs(1);

/// What earlier runs, ours or flannel's, left beside `subnet.env`, and what we leave for the next one.
#[derive(Debug)]
pub struct Memory {
    pub previous: Previous,
    pub note: Option<Note>,
    file: PathBuf,
}

impl Memory {
    /// Reads `subnet.env` and our note of the last write of the lease, `subnet.env.lease`.
    pub fn of(subnet_file: &Path) -> Self {
        let mut name = subnet_file.as_os_str().to_owned();
        name.push(".lease");
        let file = PathBuf::from(name);
        let note = fs::read_to_string(&file).ok().and_then(|text| text.parse().ok());
        Self { previous: previous(subnet_file), note, file }
    }

    /// Notes a write of our lease. Without the note a start at another address does not find the lease again.
    fn note(&self, held: &dyn HeldLease) {
        let note = Note { subnets: held.lease().subnets, written: held.written() };
        if let Err(error) = write_atomically(&self.file, &format!("{note}\n")) {
            tracing::warn!(
                error = chain(&error),
                "the lease could not be noted; it matters only if this host's address changes before the next start"
            );
        }
    }
}

fn previous(path: &Path) -> Previous {
    let Ok(text) = fs::read_to_string(path) else { return Previous::default() };
    let earlier = Earlier::parse(&text);
    for problem in &earlier.problems {
        tracing::warn!(file = %path.display(), "{problem}");
    }
    earlier.previous()
}

/// Our lease, and what is needed to keep it.
pub struct OwnLease {
    source: Arc<dyn LeaseSource>,
    config: NetworkConfig,
    held: Box<dyn HeldLease>,
    who: Identity,
    memory: Memory,
    /// How long before its end it is renewed.
    margin: Duration,
}

impl OwnLease {
    pub fn new(
        source: Arc<dyn LeaseSource>,
        config: NetworkConfig,
        held: Box<dyn HeldLease>,
        who: Identity,
        memory: Memory,
        margin: Duration,
    ) -> Self {
        memory.note(&*held);
        Self { source, config, held, who, memory, margin }
    }

    pub fn subnets(&self) -> Subnets {
        self.held.lease().subnets
    }

    /// Keeps the lease; returns when it is lost for good, with the reason. A hint says that something happened
    /// to its key.
    pub async fn keep(mut self, mut hints: mpsc::Receiver<()>, metrics: Metrics) -> FlanneldError {
        let (mut wait, mut backoff): (Option<Duration>, _) = (None, RETRY);
        let mut last_hint: Option<Instant> = None;
        loop {
            let expiry = self.held.expiry();
            metrics.lease_ends(expiry.map(|expiry| expiry.at.saturating_duration_since(Instant::now())));
            let due = match wait {
                Some(wait) => Some(Instant::now() + wait),
                None => expiry.map(|expiry| expiry.renew_at(self.margin)),
            };
            tokio::select! {
                () = until(due) => {}
                Some(()) = hints.recv() => {
                    if let Some(last) = last_hint {
                        until(Some(last + HINTS_APART)).await;
                    }
                    last_hint = Some(Instant::now());
                }
            }
            while hints.try_recv().is_ok() {}
            match self.renew().await {
                Ok(()) => {
                    metrics.renewal("renewed");
                    wait = None;
                    backoff.reset();
                }
                Err(Lost::ForNow(error)) => {
                    metrics.renewal("failed");
                    let next = backoff.step();
                    tracing::warn!(%error, retry_in = ?next, "the lease could not be renewed; traffic goes on");
                    wait = Some(next);
                }
                Err(Lost::ForGood(error)) => return error,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Lost> {
        match self.held.renew().await {
            Ok(()) => {
                self.memory.note(&*self.held);
                tracing::info!(subnet = %self.subnets(), "lease renewed");
                Ok(())
            }
            Err(SourceError::Gone { .. }) => self.reclaim().await,
            Err(SourceError::Taken { by, .. }) => {
                Err(Lost::ForGood(self.taken(format!("the node at {}", by.public_ip))))
            }
            Err(error) => Err(Lost::ForNow(error)),
        }
    }

    /// Our key was deleted or ran out. The pods still have its addresses: take the same subnet, or end.
    async fn reclaim(&mut self) -> Result<(), Lost> {
        let wanted = self.subnets();
        tracing::warn!(subnet = %wanted, "our lease is gone from etcd; taking the same subnet again");
        let attrs = self.held.lease().attrs.clone();
        self.who.previous = Previous { v4: Some(wanted.v4), v6: wanted.v6 };
        let held = self.source.acquire(&self.config, &attrs, &self.who).await.map_err(Lost::ForNow)?;
        if held.lease().subnets != wanted {
            return Err(Lost::ForGood(self.taken("another node".to_owned())));
        }
        self.held = held;
        self.memory.note(&*self.held);
        tracing::info!(subnet = %wanted, "lease taken again");
        Ok(())
    }

    fn taken(&self, holder: String) -> FlanneldError {
        FlanneldError::Taken { subnets: self.subnets().to_string(), holder }
    }
}

enum Lost {
    ForNow(SourceError),
    ForGood(FlanneldError),
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
