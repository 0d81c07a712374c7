//! From the bytes of an object to a checked one, with what has to be said about it.

use std::time::SystemTime;

use apiclient_core::time;
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

/// The group and version in which a proxy reads a kind. Other groups have kinds of the same name (Knative's Service).
pub fn is_ours(kind: Kind, api_version: &str) -> bool {
    match kind {
        Kind::Service | Kind::Node => api_version == "v1",
        Kind::EndpointSlice => api_version == "discovery.k8s.io/v1",
        Kind::ServiceCidr => matches!(api_version, "networking.k8s.io/v1" | "networking.k8s.io/v1beta1"),
    }
}
