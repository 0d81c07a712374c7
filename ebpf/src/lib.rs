//! Packet programs in the kernel and their typed loader.
//!
//! Owns: the C programs in `c/`, loading, attaching and pinning them, their maps and counters. Each use of them is a
//! module ([`overlay`]) over what all have in common: objects, hooks, maps, pins.
//! Never: decides what the kernel should do; that is handed in.
//! The only package that uses aya.

mod error;
mod hook;
mod layout;
mod maps;
mod object;
pub mod overlay;
mod pins;
mod sys;

pub use error::{EbpfError, Unsupported};
pub use hook::HookKind;
pub use pins::ensure_bpffs;
