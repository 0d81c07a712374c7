//! Who sends a request.
//!
//! Owns: the ways to tell that need the server's objects or files (tokens of many sorts, passwords). What needs neither, and
//! the trait of them all, is `control_serving`'s.
//! Never: decides what somebody may do.

pub mod impersonation;
pub mod oidc;
pub mod passwords;
pub mod service_accounts;
pub mod static_tokens;
#[cfg(test)]
mod token_webhook_tests;

pub use control_serving::authentication::{
    Authenticate, Unauthorized, bearer, certificates, chain, front_proxy, jwt, keys, token_webhook,
};
