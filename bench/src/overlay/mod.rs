//! `weft bench overlay`: packet paths between two nodes.
//!
//! Every path gets a lab of its own: two nodes joined by one veth pair, one pod on each, and they all stay up for the
//! whole run. Begin at [`run::overlay`]; the numbers' meaning is in [`metric`].

pub mod by_hand;
mod cli;
pub mod goals;
pub mod metric;
pub mod mode;
pub mod plot;
pub mod run;
pub mod sample;
pub mod table;
pub mod testbeds;

pub use cli::Overlay;
