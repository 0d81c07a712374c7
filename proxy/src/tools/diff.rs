//! What the kernel lacks, or has too much.

use super::{ToolError, World};
use crate::backends::Backend;
use crate::backends::nftables::NftablesBackend;
use crate::daemon;
use crate::options::{Mode, Options};

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
/// The kernel does not let us look, or a mode that this build does not have.
pub fn diff(world: &World, options: &Options) -> Result<Difference, ToolError> {
    match options.mode {
        Mode::Nftables => {
            let settings = daemon::nftables_settings(options);
            let mut backend = NftablesBackend::open(&daemon::families(), settings)?;
            let have = backend.observe()?;
            Ok(Difference { text: backend.plan(&world.table, &have).to_string() })
        }
        Mode::Iptables => Err(ToolError::Mode(options.mode.as_str())),
    }
}
