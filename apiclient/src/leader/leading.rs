//! What tells a writer whether its process leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::sys::since_boot;
use crate::objects::{Api, Changes, Listed, Write};
use crate::transport::Pending;
use crate::{Failure, Query};

/// Whether this process leads. Clones are about the same time of leading, which ends once.
#[derive(Clone, Debug)]
pub struct Leading(Arc<State>);

#[derive(Debug)]
struct State {
    /// In nanoseconds since boot.
    until: AtomicU64,
    ended: watch::Sender<bool>,
}

impl Leading {
    /// For a process that has no rivals.
    pub fn always() -> Self {
        Self::until_nanos(u64::MAX)
    }

    pub(super) fn until(end: Duration) -> Self {
        Self::until_nanos(nanos(end))
    }

    fn until_nanos(until: u64) -> Self {
        Self(Arc::new(State { until: AtomicU64::new(until), ended: watch::Sender::new(false) }))
    }

    /// To be asked right before a write. Once false it stays so. Costs some tens of nanoseconds; a process that was
    /// stopped, or slept with its machine, has the true answer when it goes on.
    pub fn holds(&self) -> bool {
        nanos(since_boot()) < self.0.until.load(Ordering::Acquire)
    }

    /// Returns when it is known that this process leads no longer.
    pub async fn lost(&self) {
        // The sender is this very state's.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// The same server, which gets no write once we do not lead.
    pub fn guard(&self, api: Arc<dyn Api>) -> Arc<dyn Api> {
        Arc::new(Guarded { api, leading: self.clone() })
    }

    /// The lease was renewed. Returns whether that came in time.
    pub(super) fn extend(&self, end: Duration) -> bool {
        // Not after its end: who was told that we do not lead may have acted on it.
        let longer = |until: u64| (until > nanos(since_boot())).then(|| until.max(nanos(end)));
        self.0.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, longer).is_ok()
    }

    pub(super) fn end(&self) {
        self.0.until.store(0, Ordering::Release);
        self.0.ended.send_replace(true);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

struct Guarded {
    api: Arc<dyn Api>,
    leading: Leading,
}

impl Api for Guarded {
    fn server(&self) -> String {
        self.api.server()
    }

    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
        self.api.read(path)
    }

    fn list<'a>(&'a self, query: &'a Query, known: bool) -> Pending<'a, Result<Listed, Failure>> {
        self.api.list(query, known)
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        since: &'a str,
    ) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
        self.api.watch(query, since)
    }

    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>> {
        Box::pin(async move {
            match self.leading.holds() {
                true => self.api.write(write).await,
                false => Err(Failure::Away("not sent: this process does not lead any more".to_owned())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leading_ends_once() {
        let leading = Leading::until(since_boot() + Duration::from_secs(60));
        assert!(leading.holds() && Leading::always().holds());
        assert!(leading.extend(since_boot() + Duration::from_secs(1)));
        assert!(
            nanos(since_boot() + Duration::from_secs(30)) < leading.0.until.load(Ordering::Acquire),
            "no shorter"
        );
        let other = leading.clone();
        leading.end();
        tokio::time::timeout(Duration::from_secs(60), other.lost()).await.expect("it is known");
        assert!(!other.extend(since_boot() + Duration::from_secs(60)) && !other.holds());
        let late = Leading::until(since_boot());
        assert!(
            !late.extend(since_boot() + Duration::from_secs(60)) && !late.holds(),
            "a renewal after the end is none"
        );
    }
}
