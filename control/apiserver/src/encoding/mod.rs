//! Last station: objects as bytes, in the encoding and shape that the client wants.
//!
//! Owns: what of an object goes out, and that each form of it is made once and shared ([`object`]).

pub mod frame;
pub mod gzip;
pub mod list;
pub mod object;
pub mod pretty;
pub mod status;
pub mod table;
