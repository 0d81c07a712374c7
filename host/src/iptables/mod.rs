//! iptables by its own programs, in both flavours: `legacy` (the kernel's ip_tables) and `nft` (nf_tables in
//! iptables' clothes). A node can have rules of both at once; each program sees only its own.
//!
//! Owns: which programs there are and what they can do ([`survey`]), whole tables in and out
//! ([`Iptables::restore`], [`Iptables::save`]), and a reader of their text ([`Saved`]).
//! Never: decides which flavour to use, which rules there should be, or waits without a limit.

mod saved;
mod tool;

pub use saved::{BadSave, Chain, Rule, Saved, Table};
pub use tool::{Found, Iptables, Version, find, legacy_tables, survey};

use std::fmt;

/// Which of the two rulesets: `iptables` or `ip6tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// What the names of its programs start with.
    pub fn program(self) -> &'static str {
        match self {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        }
    }
}

/// Where the rules live in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flavour {
    Nft,
    Legacy,
}

impl Flavour {
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Nft => "nft",
            Flavour::Legacy => "legacy",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a restore starts from empty tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The tables named in the text lose all that is not in it.
    Tables,
    /// Only chains declared in the text (`:CHAIN - [0:0]`) lose their rules.
    Declared,
}
