//! `weft bench`: what is compared runs side by side, in one run, on one machine.
//!
//! Each benchmark compares some ways of doing the same, and goes through all of them in every repetition, so that a
//! machine that slows down slows all of them down: [`overlay`] packet paths between nodes, [`proxy`] service proxies, [`api`] API
//! servers, [`scheduler`] schedulers, [`controllers`] controller managers, [`repairs`] damages.
//!
//! Owns: the labs named `bench...`, and what is measured in them. What they have in common is here: the run ([`run`]), the
//! form of a report ([`sample`]) and of its text ([`table`]), medians and ratios ([`stats`]), verdicts ([`goals`]), the
//! parts of the command line ([`BenchCli`]), single measures ([`measure`]).
//! Never: judges while it measures: medians, ratios and goals come from the samples alone.

pub mod api;
mod arguments;
mod cli;
pub mod controllers;
mod files;
pub mod goals;
pub mod interrupt;
pub mod machine;
pub mod measure;
pub mod metric;
pub mod overlay;
mod progress;
pub mod proxy;
pub mod repairs;
pub mod run;
pub mod sample;
pub mod scheduler;
pub mod servers;
pub mod stale;
pub mod stats;
mod sys;
pub mod table;

pub use cli::BenchCli;
