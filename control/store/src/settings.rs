//! How a store is set up.

use std::time::Duration;

use crate::view::ring::RingLimits;

/// How a store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What all keys begin with, without the slash behind it: `/registry`.
    pub prefix: String,
    /// What the keys of each kind begin with, with a slash at the end: `configmaps/`, `services/specs/`,
    /// `stable.example.com/crontabs/`. More at run time by [`crate::Store::register`].
    pub kinds: Vec<String>,
    /// Kinds that are served from etcd and kept out of memory, in the same form.
    pub direct: Vec<String>,
    /// How far back watches can begin.
    pub ring: RingLimits,
    /// Bytes that other encodings of objects may take together.
    pub forms: usize,
    /// How long an encoding stays that nobody asks for: this, up to half as much again.
    pub form_age: Duration,
    /// How often etcd's history is compacted, so that about twice as much of it is kept. None: this store does not.
    pub compaction: Option<Duration>,
    /// Connections to etcd for questions and writes, besides that of the watch. At least 1.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "/registry".to_owned(),
            kinds: Vec::new(),
            direct: vec!["events/".to_owned()],
            ring: RingLimits::default(),
            forms: 64 << 20,
            form_age: Duration::from_secs(30),
            compaction: Some(Duration::from_secs(300)),
            connections: 1,
        }
    }
}
