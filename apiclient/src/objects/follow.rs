//! A kind that is followed: a list, then its changes, for as long as somebody reads.

use std::sync::Arc;
use std::time::Instant;

use apiclient_core::names::ObjectName;
use serde_json::Value;

use super::{Api, Changed, version};
use crate::{Closed, Failure, Pace, Query, Sink, Update};

/// Keeps a reader current until it is gone. Each list is an [`Update::Replace`]; what fails is told once, and tried again.
pub async fn follow(api: Arc<dyn Api>, query: Query, sink: impl Sink<Arc<Value>>) {
    let mut follower =
        Follower { api, query, sink, version: None, listed: false, pace: Pace::default(), said: None };
    loop {
        let failure = match follower.round().await {
            Ok(()) => continue,
            Err(Stop::Closed) => return,
            Err(Stop::Failure(failure)) => failure,
        };
        if follower.wait(failure).await.is_err() {
            return;
        }
    }
}

struct Follower<S> {
    api: Arc<dyn Api>,
    query: Query,
    sink: S,
    /// Up to where the objects are known.
    version: Option<String>,
    listed: bool,
    pace: Pace,
    /// The failure that was told last.
    said: Option<String>,
}

enum Stop {
    Failure(Failure),
    Closed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl<S: Sink<Arc<Value>>> Follower<S> {
    /// A list where nothing is known, and one watch.
    async fn round(&mut self) -> Result<(), Stop> {
        let since = match self.version.clone() {
            Some(version) => version,
            None => {
                let listed = self.api.list(&self.query, !self.listed).await?;
                self.sink.send(Update::Replace(listed.objects), Instant::now()).await?;
                self.listed = true;
                self.version = Some(listed.version.clone());
                listed.version
            }
        };
        let mut changes = match self.api.watch(&self.query, &since).await {
            Err(Failure::Refused(status)) if status.is_expired() || status.is_from_the_future() => {
                self.version = None;
                return Ok(());
            }
            begun => begun?,
        };
        self.said = None;
        loop {
            let changed = tokio::select! {
                changed = changes.next() => changed,
                () = self.sink.closed() => return Err(Stop::Closed),
            };
            let at = Instant::now();
            let version = match changed {
                Ok(Some(Changed::Put(object))) => {
                    let version = version(&object).to_owned();
                    self.sink.send(Update::Put(object), at).await?;
                    version
                }
                Ok(Some(Changed::Gone(object))) => {
                    self.sink.send(Update::Delete(name(&object)), at).await?;
                    version(&object).to_owned()
                }
                Ok(Some(Changed::Until(version))) => version,
                Ok(None) => return Ok(()),
                Err(Failure::Refused(status)) if status.is_expired() => {
                    self.version = None;
                    return Ok(());
                }
                Err(failure) => return Err(failure.into()),
            };
            self.pace.reset();
            self.version = Some(version);
        }
    }

    async fn wait(&mut self, failure: Failure) -> Result<(), Closed> {
        let problem = failure.explain(&self.query.resource, &self.api.server(), &self.query.forbidden);
        if self.said.as_ref() != Some(&problem) {
            self.said = Some(problem.clone());
            self.sink.send(Update::Trouble(problem), Instant::now()).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(self.pace.wait(failure.wish())) => Ok(()),
            () = self.sink.closed() => Err(Closed),
        }
    }
}

fn name(object: &Value) -> ObjectName {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectName::new(text("namespace"), text("name"))
}
