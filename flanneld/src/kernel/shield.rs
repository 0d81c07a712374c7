//! IPv6 settings of our links: nobody behind a tunnel or a bridge may give this host an address or a default route.

use flanneld_core::tables::LinkName;
use host::error::HostError;

use crate::error::chain;

/// Router advertisements are not taken (flannel does this for VXLAN over IPv6 alone, and after the link is up), and no
/// address is made of one.
const SETTINGS: [&str; 2] = ["accept_ra", "autoconf"];

/// Keeps the settings of our links, and says once of each link where that is impossible.
#[derive(Debug, Default)]
pub struct Shield {
    reported: Vec<LinkName>,
}

impl Shield {
    /// Switches them off, where they are on. To be called before a link is up, and from time to time: the kernel tells
    /// nobody of a change.
    pub fn cover(&mut self, link: &LinkName) {
        match off(link) {
            Ok(()) => self.reported.retain(|reported| reported != link),
            Err(_) if self.reported.contains(link) => {}
            Err(error) => {
                tracing::warn!(
                    %link, error = chain(&error),
                    "router advertisements through this link stay accepted; switch them off: \
                     sysctl -w net/ipv6/conf/{link}/accept_ra=0"
                );
                self.reported.push(link.clone());
            }
        }
    }
}

fn off(link: &LinkName) -> Result<(), HostError> {
    for setting in SETTINGS {
        let key = format!("net/ipv6/conf/{link}/{setting}");
        // A kernel without IPv6 has none of them.
        if host::sysctl::exists(&key) && host::sysctl::ensure(&key, "0")? {
            tracing::debug!(%link, setting, "switched off");
        }
    }
    Ok(())
}
