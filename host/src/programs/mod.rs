//! Programs that run beside ours, in a network namespace: commands that end within a time limit, daemons with a log
//! that are found again by their pid file, and etcd.
//!
//! Owns: the pid and log files of the daemons that it starts. Begin at [`Daemon`], or at [`run`] for a command.
//! Never: ends a process that it does not find by its own pid file, inside the namespace that the file is for.

mod daemon;
mod error;
mod etcd;
mod freeze;
mod http;
mod run;
mod sys;

pub use daemon::{Daemon, STOP_LIMIT, Signal};
pub use error::ProgramError;
pub use etcd::Etcd;
pub use freeze::freeze;
pub use http::get;
pub use run::{LIMIT, Output, inside, is_installed, require, run, wait_for};
