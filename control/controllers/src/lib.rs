//! The controllers: one loop that follows objects, asks the core what is to be written, and writes it.
//!
//! Owns: the known objects, queues, writes, the program `weft controller-manager`. Never: decides what an object should be.
