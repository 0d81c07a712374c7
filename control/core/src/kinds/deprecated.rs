//! Versions of kinds that clients are asked to leave: every answer about them carries a warning.

use crate::kind::Kind;

/// The warning that goes with a version of a kind, in the original's words.
pub fn warning(kind: &Kind, version: &str) -> Option<String> {
    let (since, instead) = match (kind.group.as_ref(), version, kind.kind.as_ref()) {
        ("", "v1", "ComponentStatus") => ("v1.19+", None),
        ("", "v1", "Endpoints") => ("v1.33+", Some("discovery.k8s.io/v1 EndpointSlice")),
        _ => return None,
    };
    let instead = instead.map(|instead| format!("; use {instead}")).unwrap_or_default();
    Some(format!("{version} {} is deprecated in {since}{instead}", kind.kind))
}
