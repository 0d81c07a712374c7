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
