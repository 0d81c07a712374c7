//! Keeping our own lease: renewed in time, taken again when it is deleted, given up when it is another's.

use std::time::{Duration, Instant};

use flanneld_core::acquire::Previous;
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::Subnets;
use tokio::sync::mpsc;

use crate::error::FlanneldError;
use crate::etcd::{Acquired, EtcdError, EtcdSource};
use crate::metrics::Metrics;

/// The longest wait after a renewal that failed (flannel's).
const RETRY_LAST: Duration = Duration::from_secs(60);
/// The first one: etcd may only have changed its leader.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Our lease, and what is needed to keep it.
pub struct OwnLease {
    pub source: EtcdSource,
    pub config: NetworkConfig,
    pub acquired: Acquired,
    /// How long before its end it is renewed.
    pub margin: Duration,
}

impl OwnLease {
    pub fn subnets(&self) -> Subnets {
        self.acquired.lease.subnets
    }

    /// Keeps the lease; returns when it is lost for good, with the reason. A hint says that something happened
    /// to its key.
    pub async fn keep(mut self, mut hints: mpsc::Receiver<()>, metrics: Metrics) -> FlanneldError {
        let mut wait: Option<Duration> = None;
        loop {
            metrics.lease_ends(self.acquired.etcd_lease.map(|granted| left_until(granted.expires_at)));
            let due = match wait {
                Some(wait) => Some(Instant::now() + wait),
                None => self.acquired.renew_at(self.margin),
            };
            tokio::select! {
                () = until(due) => {}
                Some(()) = hints.recv() => {}
            }
            match self.renew().await {
                Ok(()) => {
                    metrics.renewal("renewed");
                    wait = None;
                }
                Err(Lost::ForNow(error)) => {
                    metrics.renewal("failed");
                    let next = wait.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
                    tracing::warn!(%error, retry_in = ?next, "the lease could not be renewed; traffic goes on");
                    wait = Some(next);
                }
                Err(Lost::ForGood(error)) => return error,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Lost> {
        match self.source.renew(&self.acquired).await {
            Ok(renewed) => {
                self.acquired = renewed;
                tracing::info!(subnet = %self.subnets(), "lease renewed");
                Ok(())
            }
            Err(EtcdError::Gone { .. }) => self.reclaim().await,
            Err(EtcdError::Taken { by, .. }) => {
                Err(Lost::ForGood(self.taken(format!("the node at {}", by.public_ip))))
            }
            Err(error) => Err(Lost::ForNow(error)),
        }
    }

    /// Our key was deleted or ran out. The pods still have its addresses: take the same subnet, or end.
    async fn reclaim(&mut self) -> Result<(), Lost> {
        tracing::warn!(subnet = %self.subnets(), "our lease is gone from etcd; taking the same subnet again");
        let wanted = self.subnets();
        let attrs = self.acquired.lease.attrs.clone();
        let previous = Previous { v4: Some(wanted.v4), v6: wanted.v6 };
        let acquired = self.source.acquire(&self.config, &attrs, previous).await.map_err(Lost::ForNow)?;
        if acquired.lease.subnets != wanted {
            return Err(Lost::ForGood(self.taken("another node".to_owned())));
        }
        self.acquired = acquired;
        tracing::info!(subnet = %wanted, "lease taken again");
        Ok(())
    }

    fn taken(&self, holder: String) -> FlanneldError {
        FlanneldError::Taken { subnets: self.subnets().to_string(), holder }
    }
}

enum Lost {
    ForNow(EtcdError),
    ForGood(FlanneldError),
}

fn left_until(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
