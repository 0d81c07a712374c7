//! A kind that is followed: a list, then its changes, for ever.

use std::convert::Infallible;
use std::sync::Arc;

use super::{Api, Changed, Listed, version};
use crate::{Failure, Pace, Query};

/// What a follower tells.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// All objects that the query chooses. The first is always one of these.
    All(Listed),
    Changed(Changed),
    /// Something is wrong with the server, in words. Comes once until something else is wrong.
    Trouble(String),
}

/// Tells what there is, and then what happens to it, until it is dropped. What fails is tried again.
pub async fn follow(api: Arc<dyn Api>, query: Query, hear: impl FnMut(News) + Send) -> Infallible {
    let mut follower =
        Follower { api, query, hear, version: None, listed: false, pace: Pace::default(), said: None };
    loop {
        if let Err(failure) = follower.round().await {
            follower.wait(failure).await;
        }
    }
}

struct Follower<F> {
    api: Arc<dyn Api>,
    query: Query,
    hear: F,
    /// Up to where the objects are known.
    version: Option<String>,
    listed: bool,
    pace: Pace,
    /// The failure that was told last.
    said: Option<String>,
}

impl<F: FnMut(News) + Send> Follower<F> {
    /// A list where nothing is known, and one watch.
    async fn round(&mut self) -> Result<(), Failure> {
        let since = match self.version.clone() {
            Some(version) => version,
            None => {
                let listed = self.api.list(&self.query, !self.listed).await?;
                let version = listed.version.clone();
                (self.hear)(News::All(listed));
                self.listed = true;
                self.version = Some(version.clone());
                version
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
            let changed = match changes.next().await {
                Ok(Some(changed)) => changed,
                Ok(None) => return Ok(()),
                Err(Failure::Refused(status)) if status.is_expired() => {
                    self.version = None;
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            };
            self.version = Some(match &changed {
                Changed::Put(object) | Changed::Gone(object) => version(object).to_owned(),
                Changed::Until(version) => version.clone(),
            });
            (self.hear)(News::Changed(changed));
            self.pace.reset();
        }
    }

    async fn wait(&mut self, failure: Failure) {
        let problem = failure.explain(&self.query.resource, &self.api.server(), &self.query.forbidden);
        if self.said.as_ref() != Some(&problem) {
            self.said = Some(problem.clone());
            (self.hear)(News::Trouble(problem));
        }
        tokio::time::sleep(self.pace.wait(failure.wish())).await;
    }
}
