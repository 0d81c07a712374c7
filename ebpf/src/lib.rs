//! Packet programs in the kernel and their typed loader.
//!
//! Owns: the C programs in `c/`, loading, attaching and pinning them, their maps and counters.
//! Begin at [`Overlay`]; [`probe`] says beforehand whether this machine can run it.
//! Never: decides which lease exists, opens the tun or the socket, knows flanneld's configuration.
//! The only package that uses aya.

mod counters;
mod error;
mod hook;
mod layout;
mod maps;
mod object;
mod overlay;
mod pins;
mod probe;
mod sys;

pub use counters::{Counters, DropReason, PeerCounters, UserReason};
pub use error::{EbpfError, Unsupported};
pub use hook::HookKind;
pub use maps::{MAX_LEASES, PeerDelta};
pub use overlay::{Bridge, Overlay, Spec, detach_and_unpin};
pub use pins::ensure_bpffs;
pub use probe::probe;

/// For tests that run one program on one packet: the object and the layouts of its maps.
#[doc(hidden)]
pub mod raw {
    pub use crate::layout::{Config, State};
    pub use crate::object::OBJECT;
}
