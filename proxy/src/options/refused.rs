//! What kube-proxy has and this release does not: why, and what to use instead.
//!
//! Flags and fields that merely have no effect say so in their tables; these would change what happens to packets.

use goflags::Refused;

use crate::modes::mode_names;

/// All of them.
pub static REFUSED: &[Refused] = &[
    Refused {
        name: "mode",
        value: Some("ipvs"),
        reason: "there is no ipvs mode yet (and kube-proxy deprecates its own)",
        instead: concat!("leave the mode out, or say ", mode_names!()),
    },
    Refused {
        name: "mode",
        value: Some("kernelspace"),
        reason: "that is kube-proxy's mode on Windows",
        instead: concat!("leave the mode out, or say ", mode_names!()),
    },
];
