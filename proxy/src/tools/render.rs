//! The rules that a proxy would write, as text.

use proxy_core::names::Family;

use super::World;
use crate::backends::iptables::IptablesBackend;
use crate::backends::nftables::NftablesBackend;
use crate::daemon;
use crate::options::{Mode, Options};

/// What the mode makes of the world on an empty kernel, both families. Needs no privilege and starts no program.
pub fn render(world: &World, options: &Options) -> String {
    match options.mode {
        Mode::Nftables => {
            NftablesBackend::render(&world.table, &Family::BOTH, daemon::nftables_settings(options))
        }
        Mode::Iptables => {
            IptablesBackend::render(&world.table, &Family::BOTH, &daemon::iptables_settings(options))
        }
    }
}
