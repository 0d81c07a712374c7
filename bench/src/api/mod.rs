//! `weft bench api`: API servers over an etcd of their own, with the same objects and the same clients.
//!
//! In every repetition each server lives once, one after the other: it starts over an empty etcd, starts again, takes its
//! pods, and is then asked, listed and watched. etcd alone takes the same bytes last: what no server can beat.
//! Begin at [`run::api`]; the numbers' meaning is in [`metric`], what is written in [`objects`].

mod alone;
mod cli;
pub mod goals;
pub mod metric;
pub mod mode;
mod objects;
mod rates;
mod round;
pub mod run;
pub mod sample;
pub mod table;
mod watchers;

pub use cli::Api;
