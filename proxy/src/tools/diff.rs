//! What the kernel lacks, or has too much.

use super::{ToolError, World};
use crate::options::Options;

/// The writes that a full pass would make now; none where all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub text: String,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// Compares the wanted rules with those in the kernel. Reads only; needs CAP_NET_ADMIN.
///
/// # Errors
/// The kernel does not let us look.
pub fn diff(world: &World, options: &Options) -> Result<Difference, ToolError> {
    Ok(Difference { text: options.mode.open(options)?.difference(&world.table)? })
}
