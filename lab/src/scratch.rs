//! A lab that goes away with its value: for tests.

use std::ops::Deref;

use crate::error::LabError;
use crate::lab::Lab;
use crate::name::LabName;
use crate::progress::Quiet;
use crate::spec::Spec;

/// Set this variable (to anything) and scratch labs stay when their test ends, to be looked at.
pub const KEEP: &str = "WEFT_KEEP_LAB";

/// A lab under a name of its own, removed on drop, also when the test panics.
#[derive(Debug)]
pub struct ScratchLab {
    lab: Lab,
}

impl ScratchLab {
    /// A spec under a name that nobody else uses. `prefix` is at most 8 lower-case letters and digits.
    ///
    /// # Errors
    /// A prefix that cannot begin a name.
    pub fn spec(prefix: &str) -> Result<Spec, LabError> {
        Ok(Spec::of(LabName::unique(prefix)?))
    }

    /// Brings it up, and prints how to get in.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up(spec: &Spec) -> Result<Self, LabError> {
        let lab = Lab::up(spec, &mut Quiet)?;
        println!("lab {}: nsenter --net=/run/netns/{}", spec.name, spec.name.member_namespace("n1"));
        Ok(Self { lab })
    }
}

impl Deref for ScratchLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for ScratchLab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.lab.nodes().iter().filter(|node| !node.log().is_empty()) {
                println!("the end of flanneld's log on {}:\n{}", node.name(), node.flanneld().log_tail(40));
            }
            for node in self.lab.nodes().iter().filter(|node| !node.proxy().log().is_empty()) {
                println!("the end of the proxy's log on {}:\n{}", node.name(), node.proxy().log_tail(40));
            }
        }
        if std::env::var_os(KEEP).is_some() {
            println!("kept: weft lab down --name {}", self.lab.spec().name);
        } else if let Err(error) = self.lab.down() {
            println!("{error}");
        }
    }
}
