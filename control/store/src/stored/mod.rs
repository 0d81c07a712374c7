//! One version of one object: its bytes as etcd has them, and what callers made of them.
//!
//! Owns: what belongs to an object's version and can never change. Begin at [`Stored`].
//! Never: decodes; what is in the bytes, the caller's closures say.

pub mod forms;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use forms::{FormCache, Forms};

/// Which encoding of an object. The numbers are the caller's: one for each pair of media type and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// How long an encoding stays that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As long as it is asked for now and then.
    WhileWanted,
    /// Not for long, unless somebody asks for it.
    Briefly,
    Not,
}

/// One version of one object. Cheap to clone; all clones share one value, for as long as anybody holds one.
#[derive(Clone)]
pub struct Stored(Arc<Inner>);

pub(crate) struct Inner {
    key: Box<str>,
    revision: i64,
    bytes: Bytes,
    derived: OnceLock<Box<Derived>>,
    pub(crate) forms: Mutex<Option<Box<Forms>>>,
    cache: Arc<FormCache>,
}

/// Values of different types that were made from one object: a list that only grows, so that each can be borrowed.
struct Derived {
    value: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Derived>>,
}

impl Stored {
    pub(crate) fn new(key: &str, revision: i64, bytes: Bytes, cache: &Arc<FormCache>) -> Self {
        Self(Arc::new(Inner {
            key: key.into(),
            revision,
            bytes,
            derived: OnceLock::new(),
            forms: Mutex::new(None),
            cache: cache.clone(),
        }))
    }

    /// The key without the registry's prefix: `configmaps/NAMESPACE/NAME`.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// etcd's revision of the write that made this version: the object's resourceVersion. At least 1.
    pub fn revision(&self) -> i64 {
        self.0.revision
    }

    /// What etcd has under the key.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Another encoding: made by `make` when it is asked for first, then shared by all who ask, and given up again
    /// when nobody has asked for a while or when all encodings together take too much memory.
    pub fn form(&self, slot: Slot, make: impl FnOnce() -> Bytes) -> Bytes {
        let made: Result<Bytes, std::convert::Infallible> =
            self.try_form(slot, Keep::WhileWanted, || Ok(make()));
        match made {
            Ok(bytes) => bytes,
            Err(never) => match never {},
        }
    }

    /// As [`Stored::form`], where `keep` says how long what is made stays. A failure is not kept.
    ///
    /// # Errors
    /// What `make` says.
    pub fn try_form<E>(
        &self,
        slot: Slot,
        keep: Keep,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let now = self.0.cache.now();
        if let Some(kept) = self.forms().as_mut().and_then(|forms| forms.get(slot, now)) {
            return Ok(kept);
        }
        // Made outside the lock: two may make it at the same time, and the first stays.
        let made = make()?;
        let used = match keep {
            Keep::WhileWanted => now,
            Keep::Briefly => forms::long_ago(now),
            Keep::Not => return Ok(made),
        };
        let (kept, grown) = {
            let mut forms = self.forms();
            let forms = forms.get_or_insert_default();
            let first = forms.is_empty();
            let (kept, bytes) = forms.keep(slot, made, used);
            (kept, (bytes, first))
        };
        self.0.cache.grew(self, grown.0, grown.1);
        Ok(kept)
    }

    /// A value that `make` derives from the object, one for each type `T`: attributes for selectors, or the few fields
    /// that a controller reads. Made when it is asked for first, and kept as long as the object: keep it small.
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        let mut place = &self.0.derived;
        loop {
            let found = place.get_or_init(|| {
                let value: Box<dyn Any + Send + Sync> = match make.take() {
                    Some(make) => Box::new(make()),
                    None => Box::new(()),
                };
                Box::new(Derived { value, next: OnceLock::new() })
            });
            if let Some(value) = found.value.downcast_ref::<T>() {
                return value;
            }
            place = &found.next;
        }
    }

    /// Whether both are the same value in memory.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same bytes at another revision: what is deleted, or leaves a selection, is seen a last time at the revision of
    /// that.
    pub fn at_revision(&self, revision: i64) -> Self {
        Self::new(self.key(), revision, self.bytes().clone(), &self.0.cache)
    }

    pub(crate) fn forms(&self) -> std::sync::MutexGuard<'_, Option<Box<Forms>>> {
        self.0.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn downgrade(&self) -> std::sync::Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn upgrade(weak: &std::sync::Weak<Inner>) -> Option<Self> {
        weak.upgrade().map(Self)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(forms) = self.forms.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            self.cache.shrank(forms.bytes());
        }
    }
}

impl fmt::Debug for Stored {
    /// Without the bytes: they may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key(), self.revision())
    }
}
