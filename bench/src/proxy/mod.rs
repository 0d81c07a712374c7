//! `weft bench proxy`: service proxies before the same services.
//!
//! One node routes between a client, two servers and an API server, each in a namespace. For every number of services,
//! every repetition goes once through all proxies; each gets a node that nobody has used before.
//! Begin at [`run::proxy`]; the numbers' meaning is in [`metric`], what every proxy reads in [`objects`].

mod cli;
mod daemon;
mod feed;
pub mod goals;
pub mod metric;
pub mod mode;
pub mod objects;
mod place;
mod round;
pub mod run;
pub mod sample;
mod servers;
pub mod table;
mod testbed;
pub mod tools;

pub use cli::Proxy;
pub use daemon::Programs;
