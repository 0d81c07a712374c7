//! `weft bench`: packet paths side by side, in one run, on one machine.
//!
//! Every path gets a lab of its own: two nodes joined by one veth pair, one pod on each, and they all stay up while
//! every repetition goes once through all of them, so that a machine that slows down slows all of them down.
//!
//! Owns: the labs named `bench...`, and what is measured in them. Begin at [`run::overlay`]; the numbers' meaning is in
//! [`metric`], their form in [`sample`].
//! Never: judges while it measures: medians, ratios and goals come from the samples alone ([`stats`], [`goals`]).

pub mod beds;
pub mod by_hand;
mod cli;
pub mod goals;
pub mod interrupt;
pub mod machine;
pub mod measure;
pub mod metric;
pub mod mode;
pub mod plot;
pub mod run;
pub mod sample;
pub mod stats;
pub mod table;

pub use cli::BenchCli;
