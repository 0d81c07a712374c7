//! The files of the directory: which object is in which, and what a change of one means for all.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proxy_core::cluster::Change;
use proxy_core::objects::Object;

use super::super::Trouble;
use super::content::{Content, Key};

/// What a look brought.
#[derive(Debug, Default)]
pub struct Findings {
    pub changes: Vec<Change>,
    pub troubles: Vec<Trouble>,
}

/// Tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Follows links.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(found.is_file().then(|| Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }))
    }
}

/// The last good version of a file.
#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    /// What stands in it, and a number that changes with the object's text.
    objects: BTreeMap<Key, u64>,
    /// Said already.
    problems: BTreeSet<String>,
    passed_over: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    files: BTreeMap<OsString, File>,
    /// Which files hold an object; the first one's version counts.
    holders: BTreeMap<Key, BTreeSet<OsString>>,
}

/// Whether a file of this name is read at all.
pub fn counts(name: &OsStr) -> bool {
    let hidden = name.as_encoded_bytes().starts_with(b".");
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn put_key(change: &Change) -> Option<Key> {
    match change {
        Change::Put(object) => Some((object.kind(), object.name())),
        Change::Delete(..) | Change::Replace(..) => None,
    }
}

impl Files {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, files: BTreeMap::new(), holders: BTreeMap::new() }
    }

    /// Looks at every file that changed since the last look, except those that are being written.
    pub fn rescan(&mut self, writing: &BTreeSet<OsString>) -> io::Result<Findings> {
        let mut names: BTreeSet<OsString> = self.files.keys().cloned().collect();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if counts(&name) {
                names.insert(name);
            }
        }
        let changed = names.difference(writing).filter(|name| match self.files.get(*name) {
            Some(known) => Stamp::of(&self.directory.join(name)).ok().flatten() != known.stamp,
            None => true,
        });
        let changed: BTreeSet<OsString> = changed.cloned().collect();
        Ok(self.look_at(&changed))
    }

    /// Looks at these files, whether they are still there or not.
    pub fn look_at(&mut self, names: &BTreeSet<OsString>) -> Findings {
        let mut findings = Findings::default();
        for name in names {
            self.look_at_one(name, &mut findings);
        }
        // An object that went from one file to another was never away.
        let put: BTreeSet<Key> = findings.changes.iter().filter_map(put_key).collect();
        findings.changes.retain(|change| match change {
            Change::Delete(kind, name) => !put.contains(&(*kind, name.clone())),
            Change::Put(_) | Change::Replace(..) => true,
        });
        findings
    }

    fn look_at_one(&mut self, name: &OsStr, findings: &mut Findings) {
        let path = self.directory.join(name);
        let found = Stamp::of(&path).and_then(|stamp| match stamp {
            Some(_) => Ok((stamp, Some(std::fs::read_to_string(&path)?))),
            None => Ok((None, None)),
        });
        let (stamp, text) = match found {
            Ok(found) => found,
            Err(error) => return self.keep(name, None, format!("cannot be read: {error}"), findings),
        };
        let content = match text.as_deref().map(Content::read) {
            Some(Ok(content)) => content,
            None => Content::default(),
            Some(Err(error)) => {
                return self.keep(name, stamp, format!("is neither YAML nor JSON: {error}"), findings);
            }
        };
        self.pass_over(name, &content);
        let problems = self.replace(name, content, findings);
        match stamp {
            Some(_) => self.say(name, stamp, problems, findings),
            None => _ = self.files.remove(name),
        }
    }

    /// The file cannot be used: its last good objects stay.
    fn keep(&mut self, name: &OsStr, stamp: Option<Stamp>, problem: String, findings: &mut Findings) {
        let kept = self.files.get(name).map_or(0, |file| file.objects.len());
        let stays = if kept == 0 {
            "nothing of it counts".to_owned()
        } else {
            format!("its last good version stays ({kept} objects)")
        };
        self.say(name, stamp, vec![format!("{problem}; {stays}")], findings);
    }

    /// Mentions once what is in a file for others.
    fn pass_over(&mut self, name: &OsStr, content: &Content) {
        let known = &mut self.files.entry(name.to_owned()).or_default().passed_over;
        let new: Vec<_> = content.passed_over.difference(known).map(String::as_str).collect();
        if !new.is_empty() {
            let (place, kinds) = (self.directory.join(name), new.join(", "));
            tracing::info!(place = %place.display(), kinds, "a proxy has no use for these kinds: passed over");
        }
        known.clone_from(&content.passed_over);
    }

    /// Reports what was not said about this file before.
    fn say(&mut self, name: &OsStr, stamp: Option<Stamp>, problems: Vec<String>, findings: &mut Findings) {
        let place = self.directory.join(name).display().to_string();
        let file = self.files.entry(name.to_owned()).or_default();
        file.stamp = stamp;
        let problems: BTreeSet<String> = problems.into_iter().collect();
        for problem in problems.difference(&file.problems) {
            findings.troubles.push(Trouble { place: place.clone(), problem: problem.clone() });
        }
        file.problems = problems;
    }

    /// Puts the content in the place of what the file held, and says what is wrong with it.
    fn replace(&mut self, name: &OsStr, content: Content, findings: &mut Findings) -> Vec<String> {
        let mut problems = content.problems;
        let mut now: BTreeMap<Key, (u64, Object)> = BTreeMap::new();
        for (key, mark, object) in content.objects {
            match now.entry(key) {
                Entry::Vacant(place) => _ = place.insert((mark, object)),
                Entry::Occupied(place) => {
                    let (kind, name) = place.key();
                    problems.push(format!("{} {name} is in it twice: the first one counts", kind.as_str()));
                }
            }
        }
        let marks = now.iter().map(|(key, (mark, _))| (key.clone(), *mark)).collect();
        let before = std::mem::replace(&mut self.files.entry(name.to_owned()).or_default().objects, marks);
        for key in before.keys().filter(|key| !now.contains_key(*key)) {
            self.lose(name, key, findings);
        }
        for (key, (mark, object)) in now {
            let holders = self.holders.entry(key.clone()).or_default();
            let counted = holders.first().is_some_and(|first| first == name);
            holders.insert(name.to_owned());
            let first = holders.first().filter(|first| *first != name);
            let there = |name: &OsStr| self.directory.join(name).exists();
            if let Some(first) = first {
                if !there(first) {
                    continue;
                }
                problems.push(format!(
                    "{} {} is in {} too, which counts",
                    key.0.as_str(),
                    key.1,
                    first.display()
                ));
            } else {
                if let Some(other) = holders.iter().nth(1).filter(|other| there(other)) {
                    problems.push(format!(
                        "{} {} is in {} too, which does not count",
                        key.0.as_str(),
                        key.1,
                        other.display()
                    ));
                }
                if !counted || before.get(&key) != Some(&mark) {
                    findings.changes.push(Change::Put(object));
                }
            }
        }
        problems
    }

    /// The object is not in this file any more; another file may still have it.
    fn lose(&mut self, name: &OsStr, key: &Key, findings: &mut Findings) {
        let Some(holders) = self.holders.get_mut(key) else { return };
        let counted = holders.first().is_some_and(|first| first == name);
        holders.remove(name);
        match holders.first().cloned() {
            None => {
                self.holders.remove(key);
                findings.changes.push(Change::Delete(key.0, key.1.clone()));
            }
            Some(heir) if counted => match self.object(&heir, key) {
                Some(object) => findings.changes.push(Change::Put(object)),
                // That file changed meanwhile; its own look comes, and decides.
                None => findings.changes.push(Change::Delete(key.0, key.1.clone())),
            },
            Some(_) => {}
        }
    }

    /// One object out of a file that was read before.
    fn object(&self, name: &OsStr, key: &Key) -> Option<Object> {
        let text = std::fs::read_to_string(self.directory.join(name)).ok()?;
        let content = Content::read(&text).ok()?;
        content.objects.into_iter().find(|(found, _, _)| found == key).map(|(_, _, object)| object)
    }
}
