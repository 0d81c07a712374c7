//! What the black-box tests share.
//!
//! The tests themselves are in `tests/`, one file for each subject; each drives real daemons in labs of its own.
//! Here is what they look through: [`testbed`] (labs and daemons), [`view`] (what the kernel holds), [`foreign`] (what is
//! not ours and has to survive), [`apiserver`] (our API server beside the original), [`scheduler`] (schedulers on a real API
//! server), [`controllers`] (stories told to our control plane and to the originals'), [`pods`] (nodes with the original kubelet), [`history`] (what an etcd remembers), [`stream`] (whether packets are lost),
//! [`places`] (namespaces), [`guests`] (other kernels in virtual machines), [`wait`] (deadlines).
//! Never: a sleep for luck, or a look through the product's own eyes where the system's tools can tell.

pub mod apiserver;
pub mod controllers;
pub mod deploy;
pub mod foreign;
pub mod guests;
pub mod history;
pub mod leases;
pub mod metrics;
pub mod peers;
pub mod places;
pub mod pods;
pub mod scheduler;
pub mod stream;
pub mod testbed;
pub mod view;
pub mod wait;
