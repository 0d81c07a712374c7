//! Leases as etcd holds them: the key names the subnets, the value says who holds them and how to reach him.
//!
//! Begin at [`Subnets`] (the key) and [`LeaseAttrs`] (the value). Both print flannel's exact bytes and read what
//! flannel reads. Source of the formats: flannel 0.28.4, `pkg/subnet/subnet.go` and `pkg/lease/lease.go`.

mod key;
mod value;

pub use key::{BadKey, Subnets};
pub use value::{BadValue, LeaseAttrs, RawJson, VxlanData};

/// Subnets and their holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub subnets: Subnets,
    pub attrs: LeaseAttrs,
}

/// One lease as its source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub subnets: Subnets,
    /// An error if the value cannot be read. It holds its subnets all the same: nobody can create that key.
    pub attrs: Result<LeaseAttrs, BadValue>,
    /// The key hangs on no etcd lease: somebody reserved it, and it stays when its node is away.
    ///
    /// flannel 0.28.4 writes such a key again with a lease of 24 hours, which loses the reservation
    /// (issue 1329); [`crate::acquire::Plan::Reuse`] says to keep it.
    pub reserved: bool,
    /// The source's number of the last write; another write has another number.
    pub written: i64,
}
