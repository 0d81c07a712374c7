//! The scheduler: it follows pods and nodes, asks its core where a pod goes, and binds it there.
//!
//! Owns: the queue's clock, the objects that are known, writes, the program `weft scheduler`. Never: chooses a node itself.
