//! Leases in a real etcd: each test starts its own on the loopback address, and ends it by its process id.

mod access;
mod lease;
mod race;
mod renew;
mod server;
mod watch;
