//! What the flags of programs written in Go have in common, whichever program: the words of their values, what was
//! meant by a name that there is not, and how a help text is laid out.
//!
//! Owns: Go's truth words, numbers and durations ([`words`], [`duration`]), [`nearest`], [`help`], [`remarks`].
//! Never: knows a flag. Each daemon has a table of its own, and its own syntax (package flag's or pflag's).

pub mod duration;
pub mod help;
mod nearest;
pub mod remarks;
pub mod words;

pub use nearest::nearest;
