//! What is done: one module for each verb.
//!
//! Which of them a kind has, [`crate::dispatch`] decides.

pub mod collection;
pub mod components;
pub mod create;
pub mod delete;
pub mod deletion;
pub mod get;
pub mod list;
pub mod patch;
pub mod store_update;
pub mod update;
pub mod usage;
pub mod watch;
