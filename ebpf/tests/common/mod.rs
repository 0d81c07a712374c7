//! What the tests of the overlay programs share. Every test lives in namespaces of its own, which
//! end with the test's thread, however it ends.
#![allow(dead_code)] // each test binary uses a part

pub mod net;
pub mod packets;
pub mod pair;
pub mod sys;
pub mod world;
