//! VXLAN network identifiers.

use std::fmt;

/// VXLAN network identifier: 1..=2^24-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VNI (1 to 16777215)")]
pub struct BadVni(pub u32);

impl Vni {
    /// flannel's default.
    pub const DEFAULT: Self = Self(1);
    pub const MAX: u32 = (1 << 24) - 1;

    /// # Errors
    ///
    /// If the number is 0 or does not fit in 24 bits.
    pub const fn new(number: u32) -> Result<Self, BadVni> {
        match number {
            1..=Self::MAX => Ok(Self(number)),
            _ => Err(BadVni(number)),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
