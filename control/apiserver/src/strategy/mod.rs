//! What the server itself writes into every object.
//!
//! Owns: uid, times and namespace ([`system`]), and who wrote which field ([`managed`]). What a kind wants besides is
//! its strategy's, which `control_core::lifecycle` calls.

pub mod managed;
pub mod system;
