//! How fresh the view is, against etcd.
//!
//! Owns: the question for etcd's revision, which concurrent readers share, and the wait until the view has reached it.
//! Begin at [`Fresh::latest`].
//! Never: answers with a revision that was asked for before its reader came.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Client, Range, Span};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{PATIENCE, ReadError};
use crate::keys::Keys;
use crate::line::{Line, Turn, Word};
use crate::view::{Reached, View};

/// How long the view may lag behind etcd before it is asked whether anything is missing at all, where the watch does not
/// see all keys.
const LAG: Duration = Duration::from_millis(5);

/// The one that asks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fresh {
    view: Arc<View>,
    client: Client,
    keys: Keys,
    line: Line,
}

impl Fresh {
    pub(crate) fn new(view: Arc<View>, client: Client, keys: Keys) -> Self {
        Self { view, client, keys, line: Line::default() }
    }

    /// Waits until the view has everything that was written before this call; that revision.
    pub(crate) async fn latest(&self) -> Result<i64, ReadError> {
        let revision = match self.line.enter() {
            Ok(turn) => self.ask(turn).await?,
            Err(waiting) => match waiting.await {
                Ok(Word::Answer(answer)) => answer?,
                Ok(Word::Turn(turn)) => self.ask(turn).await?,
                Err(_) => return Err(ReadError::Unavailable { reason: "the store is closed".to_owned() }),
            },
        };
        match self.reach(revision).await {
            Ok(()) => Ok(revision),
            // It is no reader's fault.
            Err(_) => Err(ReadError::Unavailable {
                reason: format!(
                    "etcd is at revision {revision}, and its changes since {} have not come within {PATIENCE:?}",
                    self.view.reached().revision
                ),
            }),
        }
    }

    /// Asks etcd for its revision, for all who wait at this moment.
    async fn ask(&self, mut turn: Turn) -> Result<i64, ReadError> {
        turn.gather();
        let range = Range { count_only: true, ..Range::of(Span::key(self.keys.key("revision"))) };
        let answer = match self.client.range(&range).await {
            Ok(page) => Ok(page.header.revision),
            Err(error) => Err(ReadError::unavailable(&error)),
        };
        turn.tell(&answer);
        answer
    }

    /// Waits until the view has reached a revision.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] after three seconds.
    pub(crate) async fn reach(&self, revision: i64) -> Result<(), ReadError> {
        let mut reaches = self.view.reaches();
        let there = |reached: &Reached| reached.revision >= revision;
        if there(&reaches.borrow_and_update()) {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        if !self.view.sees_all_keys() {
            if timeout(LAG, reaches.wait_for(there)).await.is_ok() {
                return Ok(());
            }
            // Others' keys may have moved etcd's revision. Changes of ours may come at the same time.
            let asked = timeout_at(deadline, async {
                tokio::select! {
                    _ = reaches.wait_for(there) => Ok(()),
                    () = self.ask_whether_anything_is_missing(revision) => Err(()),
                }
            });
            if let Ok(Ok(())) = asked.await {
                return Ok(());
            }
        }
        match timeout_at(deadline, reaches.wait_for(there)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::TooLarge { asked: revision, current: self.view.reached().revision }),
        }
    }

    /// Moves the view to a revision of etcd's if nothing under the prefix has changed up to it: then no key has a newer
    /// version, and there are as many keys as before, so none was deleted.
    async fn ask_whether_anything_is_missing(&self, wanted: i64) {
        loop {
            match self.nothing_before(wanted).await {
                Ok(Some(revision)) => {
                    self.view.advance(revision);
                    return;
                }
                // Something has changed: its event is on its way.
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot ask etcd what has changed"),
            }
            tokio::time::sleep(LAG * 4).await;
        }
    }

    /// A revision of etcd's, at least `wanted`, up to which nothing has changed since the view's.
    async fn nothing_before(&self, wanted: i64) -> Result<Option<i64>, etcd::EtcdError> {
        let (from, known) = self.view.counted();
        let (mut revision, mut count) = (0, 0);
        for span in self.keys.spans(self.view.direct()) {
            let range =
                Range { limit: 1, keys_only: true, revision, min_mod_revision: from + 1, ..Range::of(span) };
            let page = self.client.range(&range).await?;
            if revision == 0 {
                revision = page.header.revision;
            }
            if !page.kvs.is_empty() {
                return Ok(None);
            }
            count += page.count;
        }
        Ok((usize::try_from(count) == Ok(known) && revision >= wanted).then_some(revision))
    }
}
