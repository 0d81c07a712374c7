//! From the bytes of an object to a checked one, with what has to be said about it.

use std::time::SystemTime;

use proxy_core::names::ObjectName;
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

/// The little that every object has, whatever else is wrong with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Head {
    pub metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub resource_version: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// Any JSON: one odd annotation must not cost the head.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    triggered: Option<serde_json::Value>,
    #[serde(rename = "k8s.io/initial-events-end")]
    listed: Option<serde_json::Value>,
}

impl Head {
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The object's name, where it has one.
    pub fn name(&self) -> Option<ObjectName> {
        let name = self.metadata.name.as_deref().filter(|name| !name.is_empty())?;
        Some(ObjectName::new(self.metadata.namespace.as_deref().unwrap_or_default(), name))
    }

    pub fn triggered(&self) -> Option<SystemTime> {
        let text = self.metadata.annotations.as_ref()?.triggered.as_ref()?.as_str()?;
        text.parse::<k8s_openapi::jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// This bookmark says that all objects there are have been sent (a streaming list).
    pub fn ends_the_list(&self) -> bool {
        let annotation = self.metadata.annotations.as_ref().and_then(|found| found.listed.as_ref());
        annotation.and_then(serde_json::Value::as_str) == Some("true")
    }
}

/// The group and version in which a proxy reads a kind. Other groups have kinds of the same name (Knative's Service).
pub fn is_ours(kind: Kind, api_version: &str) -> bool {
    match kind {
        Kind::Service | Kind::Node => api_version == "v1",
        Kind::EndpointSlice => api_version == "discovery.k8s.io/v1",
        Kind::ServiceCidr => matches!(api_version, "networking.k8s.io/v1" | "networking.k8s.io/v1beta1"),
    }
}
