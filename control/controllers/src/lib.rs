//! The controllers: one loop that follows objects, asks the core what is to be written, and writes it.
//!
//! Owns: how objects become known ([`run`]), writes and what is done about their failures ([`Writer`]), the rate of both
//! ([`Limit`]), the program `weft controller-manager`. Begin at [`run`].
//! Never: decides what an object should be; see `control-controllers-core`.

mod autoscaler;
pub mod discovery;
pub mod garbage;
mod limit;
pub mod namespaces;
pub mod options;
pub mod program;
mod run;
pub mod signing;
mod tell;
mod writer;

pub use limit::Limit;
pub use options::Choice;
pub use run::{Access, OTHERS, run};
pub use tell::Teller;
pub use writer::{Outcome, Writer};
