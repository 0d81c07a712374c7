//! What the HTTPS servers of the control plane have in common: which certificate a client is shown, who a client is, and
//! whom to ask where that is not known here.
//!
//! Owns: the ways to tell who sends a request that need no object of the API ([`authentication`]), the question to a service
//! beside the server ([`webhook`]), and the health port of a daemon whose clients an API server knows ([`daemon`]).
//! Never: holds objects of the API, or decides by itself what somebody may do.

pub mod authentication;
pub mod authorization;
pub mod certificates;
pub mod daemon;
pub mod expiring;
pub mod files;
pub mod flags;
pub mod followed;
pub mod options;
pub mod paths;
pub mod webhook;
