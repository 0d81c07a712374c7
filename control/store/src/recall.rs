//! What happened shortly before the registry was listed, so that the clients of a server that was restarted, or of another
//! one, go on watching where they were and need not list everything again.
//!
//! Owns: how far back that goes. Begin at [`recall`].
//! Never: delays anything. It is done when it is done, and where it cannot be, watches from before the list end with 410 as
//! with the original.

use std::collections::HashMap;
use std::time::Instant;

use etcd::{Client, Header, Span, WatchEvent};

use crate::compact;
use crate::event::{Change, Event};
use crate::keys::Keys;
use crate::stored::Stored;
use crate::view::View;

/// How far back it goes at most: revisions, and bytes of versions that are no more.
const REVISIONS: i64 = 5_000;
const BYTES: usize = 8 << 20;

/// Puts what happened before the list into the rings, if etcd still knows.
pub(crate) async fn recall(view: &View, client: &Client, keys: &Keys, listed: Header) {
    // Where only the registry is watched, nothing tells when the watch has come to the list.
    if !view.sees_all_keys() {
        return;
    }
    let compacted = match client.get(compact::KEY).await {
        Ok(Some(kv)) => std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
        Ok(None) => 0,
        Err(_) => return,
    };
    let from = (listed.revision - REVISIONS).max(compacted);
    let mut past = Past { floor: from, events: Vec::new(), versions: HashMap::new() };
    let mut watch = client.watch(Span::prefix(""), Header { revision: from, ..listed }, true);
    let mut last = from;
    while last < listed.revision {
        match watch.next().await {
            Ok(WatchEvent::Changes(_, changes)) => {
                for change in changes {
                    last = change.kv().mod_revision;
                    if last <= listed.revision {
                        past.take_in(view, keys, change);
                    }
                }
            }
            Ok(WatchEvent::Started(_) | WatchEvent::Progress(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot read what happened before the registry was listed");
                return;
            }
        }
    }
    past.forget_much();
    tracing::debug!(events = past.events.len(), since = past.floor, "read what happened before the list");
    view.recall(listed.revision, past.floor, past.events, Instant::now());
}

struct Past {
    /// Every change after this revision is known.
    floor: i64,
    events: Vec<Event>,
    /// The last version of each key, so that an object of two events is one in memory.
    versions: HashMap<Box<str>, Stored>,
}

impl Past {
    fn take_in(&mut self, view: &View, keys: &Keys, change: etcd::Change) {
        let (kv, before, put) = match change {
            etcd::Change::Put { kv, before } => (kv, before, true),
            etcd::Change::Delete { kv, before } => (kv, before, false),
        };
        let Some(key) = keys.strip(&kv.key).filter(|key| !view.is_direct(key)) else { return };
        let known = self.versions.remove(key);
        let previous = known.or_else(|| {
            let before = before?;
            Some(view.listed(key, before.mod_revision, before.value))
        });
        if previous.is_none() && (!put || kv.version != 1) {
            // The version before has been compacted: the past begins here.
            self.floor = kv.mod_revision;
            self.events.clear();
        }
        if put {
            let object = view.listed(key, kv.mod_revision, kv.value);
            self.versions.insert(key.into(), object.clone());
            if kv.mod_revision > self.floor {
                let change = if previous.is_some() { Change::Modified } else { Change::Added };
                self.events.push(Event { change, object, previous });
            }
        } else if let Some(previous) = previous {
            let object = previous.at_revision(kv.mod_revision);
            self.events.push(Event { change: Change::Deleted, object, previous: Some(previous) });
        }
    }

    /// Keeps the younger part, if the whole is too large.
    fn forget_much(&mut self) {
        let weight = |event: &Event| event.previous.as_ref().map_or(0, |previous| previous.bytes().len());
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += weight(event);
            bytes <= BYTES
        };
        let kept = self.events.iter().rev().take_while(fits).count();
        let gone = self.events.len() - kept;
        if let Some(last) = gone.checked_sub(1).and_then(|last| self.events.get(last)) {
            self.floor = last.revision();
            let floor = self.floor;
            // The rest of a revision that is half forgotten goes with it.
            self.events.drain(..gone);
            self.events.retain(|event| event.revision() > floor);
        }
    }
}
