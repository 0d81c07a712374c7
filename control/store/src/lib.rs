//! etcd as the API server's storage, and the one in-memory view of it that lists and watches share.
//!
//! Owns: keys under the registry's prefix, revisions, consistent reads, watches that resume. Begin at [`Store`].
//! Never: decodes an object; what is in one, the caller says when it asks for a form of it.
//!
//! A change comes from etcd by one watch ([`feed`]), goes into the tree and the ring of its kind ([`view`]), and is read
//! from there by lists ([`Snapshot`]) and watches ([`Watcher`]). A write goes to etcd ([`write`]) and comes back the
//! same way.

mod compact;
mod direct;
mod error;
mod event;
mod feed;
mod fresh;
mod keys;
mod line;
mod question;
mod recall;
mod settings;
mod snapshot;
mod store;
mod stored;
mod view;
mod watcher;
mod write;

pub use error::{ReadError, WatchEnd, WriteError};
pub use event::{Change, Event};
pub use question::{Freshness, Page};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use store::Store;
pub use stored::{Keep, Slot, Stored};
pub use view::ring::RingLimits;
pub use view::scope::Topic;
pub use view::stats::{KindStats, Stats};
pub use watcher::Watcher;
