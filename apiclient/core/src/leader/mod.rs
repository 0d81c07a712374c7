//! Who leads: one of several candidates, by a Lease that it renews.
//!
//! Owns: the record in the Lease ([`Record`]), the times of an election ([`Timing`]), and what a candidate does next
//! ([`Election`], where to begin). Facts: client-go's `tools/leaderelection`, whose candidates may stand for the same Lease.
//! Never: performs I/O, reads a clock, or compares times of two machines.
//!
//! Why never two hold: who leads counts from the moment before it *sent* its last write that the server accepted, and for
//! [`Timing::renew`] only. Who waits counts from the moment when it *saw* that write, for the whole of the lease, which is
//! longer. Each uses its own clock, of which only the rate matters. Between two that want the same Lease the server decides:
//! each write names the version that it replaces. (An administrator who deletes the Lease takes that guarantee away for
//! one [`Timing::retry`], as with client-go.)

mod election;
mod record;
#[cfg(test)]
mod simulation;
mod timing;

pub use election::{Election, Loss, Moment, Step};
pub use record::{Record, released};
pub use timing::{BadTiming, Timing};
