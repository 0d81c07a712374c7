//! Asking a service from inside a lab: who answers, from where, at which of its addresses?
//!
//! Owns: the answers of the pods ([`answer`]), single questions ([`ask`]) and the table of all of them. Begin at
//! [`check()`], which asks the lab's own Service from everywhere.

pub mod answer;
pub mod ask;
mod check;
mod report;

pub use ask::Transport;
pub use check::{Asked, Frontend, FrontendKind, check};
pub use report::{asked, diff_command, explain_command, explain_from, render, summary};
