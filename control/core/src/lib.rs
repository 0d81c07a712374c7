//! What kinds of objects mean.
//!
//! Owns: the table of kinds ([`kind::Kind`]) with each one's strategy, the refusals of the API and their words, and the
//! decisions about requests: validation, admission, authorization.
//! Never: performs I/O, reads the clock, or knows how an object travels or is stored.

pub mod access;
pub mod admission;
pub mod ages;
pub mod allocation;
pub mod amounts;
pub mod at;
pub mod authorization;
pub mod cidrs;
pub mod conditions;
pub mod configuration;
pub mod domains;
pub mod edit;
pub mod eviction;
pub mod fairness;
pub mod field;
pub mod impersonation;
pub mod internal;
pub mod jsonpath;
pub mod kind;
pub mod kinds;
pub mod lifecycle;
pub mod location;
pub mod metadata;
pub mod names;
pub mod node_authorizer;
pub mod rbac;
pub mod refusal;
pub mod reviews;
pub mod scale;
pub mod selectors;
pub mod shown;
pub mod table;
pub mod tokens;
pub mod unified;
pub mod usage;
