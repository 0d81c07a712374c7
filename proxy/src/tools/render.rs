//! The rules that a proxy would write, as text.

use proxy_core::names::Family;

use super::{ToolError, World};
use crate::backends::nftables::NftablesBackend;
use crate::daemon;
use crate::options::{Mode, Options};

/// What the mode makes of the world on an empty kernel, both families. Needs no privilege.
///
/// # Errors
/// A mode that this build does not have.
pub fn render(world: &World, options: &Options) -> Result<String, ToolError> {
    match options.mode {
        Mode::Nftables => {
            Ok(NftablesBackend::render(&world.table, &Family::BOTH, daemon::nftables_settings(options)))
        }
        Mode::Iptables => Err(ToolError::Mode(options.mode.as_str())),
    }
}
