//! Our API server and the original side by side, each on an etcd of its own of the same kind, asked the same.
//!
//! Owns: the two servers ([`Pair`]), what is asked ([`scenario`]: data in `tests/apiserver`), what must differ and is taken
//! out ([`normal`]), and the comparison ([`difference`]) with the differences that are meant. Begin at [`Pair::up`].
//! Besides, for what must not be lost: several servers on one etcd ([`fleet`]), and clients that keep books ([`load`]). Clients
//! speak HTTP/1.1 ([`http`]), and HTTP/2 where they ask much at a time ([`session`]).

pub mod agent;
pub mod control;
pub mod difference;
pub mod fleet;
pub mod generated;
pub mod http;
pub mod issuer;
pub mod kubectl;
pub mod load;
pub mod normal;
pub mod rules;
pub mod scenario;
pub mod session;
mod side;
pub mod ways;

pub use side::{Pair, Side, Which, authorization};
