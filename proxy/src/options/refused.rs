//! What kube-proxy has and this release does not: why, and what to use instead.
//!
//! Flags and fields that merely have no effect say so in their tables; these would change what happens to packets.

use super::error::OptionsError;
use super::settings::Settings;

/// A value that this release cannot honour.
#[derive(Debug)]
pub struct Refused {
    /// Path of the field.
    pub field: &'static str,
    pub value: &'static str,
    pub reason: &'static str,
    pub instead: &'static str,
}

/// All of them.
pub static REFUSED: &[Refused] = &[
    Refused {
        field: "mode",
        value: "ipvs",
        reason: "there is no ipvs mode yet (and kube-proxy deprecates its own)",
        instead: "leave the mode out, or say nftables or iptables",
    },
    Refused {
        field: "mode",
        value: "kernelspace",
        reason: "that is kube-proxy's mode on Windows",
        instead: "leave the mode out, or say nftables or iptables",
    },
];

/// The first setting that has a refused value.
pub fn check(settings: &Settings) -> Result<(), OptionsError> {
    for refused in REFUSED {
        let setting = settings.get(refused.field);
        if setting.text() == refused.value {
            return Err(OptionsError::Refused {
                origin: setting.origin(),
                value: refused.value.to_owned(),
                reason: refused.reason,
                instead: refused.instead,
            });
        }
    }
    Ok(())
}
