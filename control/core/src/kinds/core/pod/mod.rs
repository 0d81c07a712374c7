//! Pods, and the templates of pods that other kinds hold.
//!
//! Begin at [`template`] for the latter.

use crate::kind::Subresource::{
    Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Proxy, Resize, Status,
};

pub mod template;

pub const SUBRESOURCES: &[crate::kind::Subresource] =
    &[Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Proxy, Resize, Status];
