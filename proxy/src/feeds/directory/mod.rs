//! Objects from the files of one directory (not of those below it), followed by inotify.
//!
//! Owns: which files count (`*.yaml`, `*.yml`, `*.json`, not hidden), when they are read (never half-written), and
//! what holds when they are wrong: a file that cannot be read keeps its last good objects, one bad object is left
//! out, of one object in two files the first file's counts. Begin at [`start`], or at [`load`] for one look.
//! Never: looks at a file that a link points to outside the directory, unless the link itself changes.

mod content;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiclient::EventRecorder;
use proxy_core::cluster::Change;
use proxy_core::objects::{Kind, Object};
use tokio::time::Instant;

use super::{Closed, Event, Feed, FeedError, Outbox, Trouble};
use files::{Files, Findings};
use host::inotify::{Notice, Watch};

/// How long a file may be away before its objects are. Editors move a file aside before they write the new one.
const AWAY: Duration = Duration::from_millis(150);

/// Between two looks for a directory that is gone.
const RETRY: Duration = Duration::from_millis(250);

/// What a directory holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Each object once, in the order of files and documents.
    pub objects: Vec<Object>,
    pub troubles: Vec<Trouble>,
}

/// Reads a directory once: for tools that need no changes.
///
/// # Errors
/// The directory cannot be listed. Files that cannot be read are among the troubles.
pub fn load(directory: &Path) -> io::Result<Loaded> {
    let mut files = Files::new(directory.to_owned());
    let findings = files.rescan(&BTreeSet::new())?;
    let puts = findings.changes.into_iter().filter_map(|change| match change {
        Change::Put(object) => Some(object),
        Change::Delete(..) | Change::Replace(..) => None,
    });
    Ok(Loaded { objects: puts.collect(), troubles: findings.troubles })
}

/// Starts to follow a directory. Needs a tokio runtime.
pub(super) fn start(directory: &Path) -> Result<Feed, FeedError> {
    let failed = |source| FeedError::Directory { path: directory.to_owned(), source };
    // Watched first, read second: nothing that happens between the two is missed.
    let watch = Watch::new(directory).map_err(failed)?;
    std::fs::read_dir(directory).map_err(failed)?;
    let (outbox, arrivals) = Outbox::new();
    let task = tokio::spawn(follow(directory.to_owned(), watch, outbox));
    Ok(Feed { arrivals, tasks: vec![task], events: EventRecorder::default() })
}

async fn follow(directory: PathBuf, watch: Watch, outbox: Outbox) {
    let follower = Follower {
        files: Some(Files::new(directory.clone())),
        directory,
        away: BTreeMap::new(),
        writing: BTreeSet::new(),
        outbox,
    };
    // An error means that the reader is gone.
    let _ = follower.run(watch).await;
}

struct Follower {
    directory: PathBuf,
    /// Elsewhere only while a thread that may block works with it.
    files: Option<Files>,
    /// Files that are gone, and until when they may come back.
    away: BTreeMap<OsString, Instant>,
    /// Files that somebody is writing to.
    writing: BTreeSet<OsString>,
    outbox: Outbox,
}

/// What to look at.
#[derive(Default)]
struct Look {
    everything: bool,
    names: BTreeSet<OsString>,
}

impl Follower {
    async fn run(mut self, mut watch: Watch) -> Result<(), Closed> {
        self.list().await?;
        loop {
            let expiry = self.away.values().min().copied();
            let notices = tokio::select! {
                notices = watch.next() => notices,
                () = expire(expiry) => Ok(Vec::new()),
            };
            let mut look = Look::default();
            match notices {
                Ok(notices) if notices.contains(&Notice::DirectoryGone) => {
                    watch = self.wait_for_directory("is gone; its objects stay until it is back").await?;
                    look.everything = true;
                }
                Ok(notices) => self.note(notices, &mut look),
                Err(error) => {
                    watch = self.wait_for_directory(&format!("cannot be watched: {error}")).await?;
                    look.everything = true;
                }
            }
            let now = Instant::now();
            let gone: Vec<_> =
                self.away.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect();
            for name in gone {
                self.away.remove(&name);
                look.names.insert(name);
            }
            self.look(look).await?;
        }
    }

    fn note(&mut self, notices: Vec<Notice>, look: &mut Look) {
        for notice in notices {
            match notice {
                Notice::Lost => {
                    // Who writes is not known any more; what is half written comes again when it is closed.
                    self.writing.clear();
                    look.everything = true;
                }
                // A mounted ConfigMap is a set of links through `..data`, which is replaced.
                Notice::Written(name) | Notice::Created(name) if is_hidden_twice(&name) => {
                    look.everything = true
                }
                Notice::Written(name)
                | Notice::Created(name)
                | Notice::Writing(name)
                | Notice::Gone(name)
                    if !files::counts(&name) =>
                {
                    drop(name)
                }
                Notice::Created(name) if !self.is_link(&name) => _ = self.writing.insert(name),
                Notice::Written(name) | Notice::Created(name) => {
                    self.away.remove(&name);
                    self.writing.remove(&name);
                    look.names.insert(name);
                }
                Notice::Writing(name) => {
                    look.names.remove(&name);
                    self.writing.insert(name);
                }
                Notice::Gone(name) => {
                    self.writing.remove(&name);
                    look.names.remove(&name);
                    self.away.insert(name, Instant::now() + AWAY);
                }
                Notice::DirectoryGone => {}
            }
        }
    }

    /// A link, symbolic or hard, is complete when it appears.
    fn is_link(&self, name: &OsStr) -> bool {
        let found = std::fs::symlink_metadata(self.directory.join(name));
        found.is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
    }

    /// The first look: everything as one list of each kind.
    async fn list(&mut self) -> Result<(), Closed> {
        let findings = self.on_thread(|files, _| files.rescan(&BTreeSet::new())).await?;
        let mut lists: BTreeMap<Kind, Vec<Object>> = Kind::ALL.map(|kind| (kind, Vec::new())).into();
        for trouble in findings.troubles {
            self.outbox.trouble(trouble).await?;
        }
        for change in findings.changes {
            if let Change::Put(object) = change {
                lists.entry(object.kind()).or_default().push(object);
            }
        }
        for (kind, objects) in lists {
            self.outbox.send(Event::Change(Change::Replace(kind, objects))).await?;
            self.outbox.send(Event::Listed(kind)).await?;
        }
        Ok(())
    }

    async fn look(&mut self, look: Look) -> Result<(), Closed> {
        if !look.everything && look.names.is_empty() {
            return Ok(());
        }
        let findings =
            self.on_thread(move |files, writing| {
                if look.everything { files.rescan(writing) } else { Ok(files.look_at(&look.names)) }
            })
            .await?;
        for trouble in findings.troubles {
            self.outbox.trouble(trouble).await?;
        }
        for change in findings.changes {
            self.outbox.send(Event::Change(change)).await?;
        }
        Ok(())
    }

    /// Reads files where blocking does no harm.
    async fn on_thread(
        &mut self,
        work: impl FnOnce(&mut Files, &BTreeSet<OsString>) -> io::Result<Findings> + Send + 'static,
    ) -> Result<Findings, Closed> {
        let Some(mut files) = self.files.take() else { return Err(Closed) };
        let writing = self.writing.clone();
        let done = tokio::task::spawn_blocking(move || {
            let findings = work(&mut files, &writing);
            (files, findings)
        });
        let (files, findings) = done.await.map_err(|_| Closed)?;
        self.files = Some(files);
        match findings {
            Ok(findings) => Ok(findings),
            Err(error) => {
                let problem = format!("cannot be listed, and its objects stay as they are: {error}");
                Ok(Findings {
                    troubles: vec![Trouble { place: self.place(), problem }],
                    ..Findings::default()
                })
            }
        }
    }

    async fn wait_for_directory(&mut self, why: &str) -> Result<Watch, Closed> {
        self.outbox.trouble(Trouble { place: self.place(), problem: why.to_owned() }).await?;
        self.away.clear();
        self.writing.clear();
        loop {
            if let Ok(watch) = Watch::new(&self.directory) {
                tracing::info!(directory = %self.directory.display(), "watching the directory again");
                return Ok(watch);
            }
            if self.outbox.0.is_closed() {
                return Err(Closed);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}

fn is_hidden_twice(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"..")
}

async fn expire(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
