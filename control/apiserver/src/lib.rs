//! The Kubernetes API over HTTP. A request's way is one straight line, and the folders are its stations in order:
//! connection, authentication, authorization, decoding, admission, strategy, store, encoding.

pub mod authentication;
pub mod authorization;
pub mod local;
pub mod options;
pub mod pki;
pub mod program;
pub mod request;
pub mod run;
