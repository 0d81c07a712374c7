//! Tokens of service accounts, and bootstrap tokens: what their claims must say, and of what they must still be.
//!
//! Owns: the claims of a new token ([`issue`]), the check of one that came ([`check`]), bootstrap tokens ([`bootstrap`]).
//! Never: signs, verifies a signature, or reads the clock.

pub mod bootstrap;
pub mod check;
pub mod issue;
