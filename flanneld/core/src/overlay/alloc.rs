//! alloc: a lease, and no data path.

use std::fmt;

use super::backend::Overlay;
use super::wanted::{Ignored, Wanted};
use super::{Node, Reach, View};
use crate::config::ConfigError;
use crate::config::fields::Fields;

pub(super) const NAME: &str = "alloc";

/// No options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Alloc;

pub(super) fn read(_options: &Fields<'_>, _ipv6: bool) -> Result<Alloc, ConfigError> {
    Ok(Alloc)
}

impl Overlay for Alloc {
    fn lease_type(&self) -> &'static str {
        ""
    }

    fn needs_same_type(&self) -> bool {
        false
    }

    fn carried_by_kernel(&self) -> bool {
        false
    }

    fn peer(&self, _: &mut Wanted, _: &Node, _: &Reach<'_>, _: &View) -> Result<(), Ignored> {
        Ok(())
    }
}

impl fmt::Display for Alloc {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
