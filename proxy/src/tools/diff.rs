//! What the kernel lacks, or has too much.

use super::{ToolError, World};
use crate::backends::Backend;
use crate::backends::iptables::IptablesBackend;
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
/// The kernel does not let us look.
pub fn diff(world: &World, options: &Options) -> Result<Difference, ToolError> {
    let families = daemon::families();
    match options.mode {
        Mode::Nftables => {
            compare(NftablesBackend::open(&families, daemon::nftables_settings(options))?, world)
        }
        Mode::Iptables => {
            compare(IptablesBackend::open(&families, daemon::iptables_settings(options))?, world)
        }
    }
}

fn compare(mut backend: impl Backend, world: &World) -> Result<Difference, ToolError> {
    let have = backend.observe()?;
    Ok(Difference { text: backend.plan(&world.table, &have).to_string() })
}
