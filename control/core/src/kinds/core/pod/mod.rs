//! Pods, and the templates of pods that other kinds hold.
//!
//! Begin at [`template`] for the latter.

pub mod template;
