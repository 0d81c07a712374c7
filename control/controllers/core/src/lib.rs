//! What controllers decide: what is to be written, given the objects that are known and the time.
//!
//! Owns: every decision of the controllers, each in a folder of its name. Never: performs I/O, reads the clock.
