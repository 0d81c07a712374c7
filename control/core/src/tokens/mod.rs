//! Tokens of service accounts, bootstrap tokens, and tokens of OpenID issuers: what their claims must say, and of what
//! they must still be.
//!
//! Owns: the claims of a new token ([`issue`]), the check of one that came ([`check`]), bootstrap tokens ([`bootstrap`]),
//! other issuers and whom their claims mean ([`oidc`]).
//! Never: signs, verifies a signature, or reads the clock.

pub mod bootstrap;
pub mod check;
pub mod issue;
pub mod oidc;
pub mod review;
