//! First station: what a request asks for, by its method, path and query.

pub mod info;
pub mod options;
pub mod query;
pub mod selectors;
