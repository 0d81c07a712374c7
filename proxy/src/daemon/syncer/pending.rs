//! What has arrived since the last pass that was completed.

use std::time::{Instant, SystemTime};

use proxy_core::cluster::{Change, Touched};
use proxy_core::names::Family;
use proxy_core::objects::{Kind, Object};

#[derive(Default)]
pub(super) struct Pending {
    pub touched: Touched,
    /// For the metrics.
    pub changes: Vec<Dated>,
}

/// When a change of the objects happened.
pub(super) struct Dated {
    /// None: it may be about both.
    pub family: Option<Family>,
    /// When the feed read it.
    pub at: Instant,
    /// When its cause was, where the change says so.
    pub triggered: Option<SystemTime>,
}

impl Dated {
    pub fn is_about(&self, family: Family) -> bool {
        self.family.is_none_or(|of| of == family)
    }
}

/// So many changes are timed in one pass: more come together only where passes fail for long.
const TIMED: usize = 1 << 14;

impl Pending {
    pub fn add(&mut self, touched: Touched, change: Dated) {
        self.touched.merge(touched);
        if self.changes.len() < TIMED {
            self.changes.push(change);
        }
    }
}

pub(super) fn kind_of(change: &Change) -> Kind {
    match change {
        Change::Put(object) => Object::kind(object),
        Change::Delete(kind, _) | Change::Replace(kind, _) => *kind,
    }
}

/// The family that a change is about, where it is one: each slice is of one.
pub(super) fn family_of(change: &Change) -> Option<Family> {
    match change {
        Change::Put(Object::EndpointSlice(slice)) => Some(slice.family),
        Change::Put(_) | Change::Delete(..) | Change::Replace(..) => None,
    }
}
