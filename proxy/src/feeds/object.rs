//! From the bytes of an object to a checked one, with what has to be said about it.

use std::time::SystemTime;

use apiclient_core::names::quoted;
use apiclient_core::time;
use goflags::nearest;
use proxy_core::objects::{Checked, Kind, Object, ObjectError};
use serde::Deserialize;

/// A usable object or none, and what was left out.
#[derive(Debug, Default)]
pub struct Decoded {
    pub object: Option<Object>,
    /// One for each part that is left out, or for the whole object.
    pub problems: Vec<String>,
}

impl From<Result<Checked<Object>, ObjectError>> for Decoded {
    fn from(found: Result<Checked<Object>, ObjectError>) -> Self {
        match found {
            Ok(checked) => Self {
                object: Some(checked.object),
                problems: checked.left_out.iter().map(|error| format!("left out: {error}")).collect(),
            },
            Err(error) => Self { object: None, problems: vec![format!("left out as a whole: {error}")] },
        }
    }
}

/// When the endpoints' controller was told of the change behind a slice, as the slice says.
pub fn triggered(json: &[u8]) -> Option<SystemTime> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Head {
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        annotations: Option<Annotations>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Annotations {
        #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
        triggered: Option<String>,
    }
    let head: Head = serde_json::from_slice(json).ok()?;
    time::parse(&head.metadata.annotations?.triggered?)
}

/// What an object in a file is, by its kind and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    Ours(Kind),
    /// Of no use to a proxy, as many objects beside a Service are.
    Other,
    /// Probably meant for a proxy, and not written as it must be.
    Mistaken(String),
}

/// The groups and versions in which a proxy reads a kind.
fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Service | Kind::Node => &["v1"],
        Kind::EndpointSlice => &["discovery.k8s.io/v1"],
        Kind::ServiceCidr => &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"],
    }
}

/// Kinds of the core group that differ little from ours.
const NEIGHBOURS: [&str; 3] = ["Namespace", "Secret", "ServiceAccount"];

pub fn recognise(kind: &str, api_version: &str) -> Recognised {
    let mistaken = |problem: String| Recognised::Mistaken(problem);
    if kind.is_empty() {
        return mistaken("it has no kind".to_owned());
    }
    if let Some(known) = Kind::from_api(kind) {
        let (want, group) = (versions(known), api_version.split('/').next().unwrap_or_default());
        return match api_version {
            version if want.contains(&version) => Recognised::Ours(known),
            // Other groups have kinds of the same name (Knative's Service).
            _ if group.contains('.') && !group.ends_with("k8s.io") => Recognised::Other,
            "" => mistaken(format!("this {kind} has no apiVersion, want {}", want[0])),
            _ => mistaken(format!("apiVersion of this {kind} is {}, want {}", quoted(api_version), want[0])),
        };
    }
    if (kind, api_version) == ("Endpoints", "v1") {
        return mistaken("Endpoints are not read; write an EndpointSlice (discovery.k8s.io/v1)".to_owned());
    }
    let ours =
        Kind::ALL.iter().filter(|known| versions(**known).contains(&api_version) || api_version.is_empty());
    let meant = nearest(kind, ours.map(|known| known.as_str()));
    match meant {
        Some(meant) if kind.len() > 4 && !NEIGHBOURS.contains(&kind) => {
            mistaken(format!("{} is not a kind that is known; did you mean {meant}?", quoted(kind)))
        }
        _ if meant.is_some_and(|meant| meant.eq_ignore_ascii_case(kind)) => mistaken(format!(
            "{} is not a kind that is known; did you mean {}?",
            quoted(kind),
            meant.unwrap_or_default()
        )),
        _ => Recognised::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_from_kinds_of_others() {
        for (kind, version) in [("Service", "v1"), ("EndpointSlice", "discovery.k8s.io/v1"), ("Node", "v1")] {
            assert!(matches!(recognise(kind, version), Recognised::Ours(_)), "{kind} {version}");
        }
        for (kind, version) in [
            ("Service", "serving.knative.dev/v1"),
            ("Deployment", "apps/v1"),
            ("ServiceAccount", "v1"),
            ("Namespace", "v1"),
            ("Secret", "v1"),
            ("Pod", "v1"),
            ("ConfigMap", "v1"),
            ("IPAddress", "networking.k8s.io/v1"),
            ("NetworkPolicy", "networking.k8s.io/v1"),
            ("ServiceMonitor", "monitoring.coreos.com/v1"),
        ] {
            assert_eq!(recognise(kind, version), Recognised::Other, "{kind} {version}");
        }
        for (kind, version, want) in [
            ("", "v1", "it has no kind"),
            ("Service", "", "this Service has no apiVersion, want v1"),
            ("Service", "apps/v1", "apiVersion of this Service is \"apps/v1\", want v1"),
            ("EndpointSlice", "v1", "want discovery.k8s.io/v1"),
            ("EndpointSlice", "discovery.k8s.io/v1beta1", "want discovery.k8s.io/v1"),
            ("Servce", "v1", "did you mean Service?"),
            ("node", "v1", "did you mean Node?"),
            ("endpointslices", "discovery.k8s.io/v1", "did you mean EndpointSlice?"),
            ("ServiceCidr", "networking.k8s.io/v1", "did you mean ServiceCIDR?"),
            ("Endpoints", "v1", "write an EndpointSlice"),
        ] {
            match recognise(kind, version) {
                Recognised::Mistaken(problem) => assert!(problem.contains(want), "{problem}"),
                other => panic!("{kind} {version}: {other:?}"),
            }
        }
    }
}
