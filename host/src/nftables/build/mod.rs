//! Rules written as nft writes them.
//!
//! ```
//! use host::nftables::{Family, Proto, Port, Rule, TableId, build::*};
//! let table = TableId::new(Family::Ip, "weft");
//! let rule = Rule::new(&table, "input", [
//!     ip_saddr().is("10.0.0.0/8".parse::<ipnet::IpNet>().unwrap()),
//!     l4proto().is(Proto::TCP),
//!     th_dport().is(Port(80)),
//!     counter(),
//!     accept(),
//! ]);
//! assert_eq!(rule.to_string(), "ip saddr 10.0.0.0/8 meta l4proto tcp th dport 80 counter accept");
//! ```
//!
//! A [`Load`] is what stands on the left of a comparison, in a key, or behind `set`; a [`Statement`] is a part
//! of a rule. Registers are chosen here, as nft chooses them: each statement starts at the first one.

mod compare;
mod load;
mod statement;

pub use compare::*;
pub use load::*;
pub use statement::*;

use super::expr::Expr;

/// A part of a rule: a match, or something done to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement(pub Vec<Expr>);
