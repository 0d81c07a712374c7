//! What the server sends: pages of lists, lines of watches, refusals.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A list without its items, which are decoded one by one.
#[derive(Debug, Deserialize)]
pub struct Page {
    #[serde(default)]
    pub metadata: ListMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMetadata {
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    #[serde(rename = "continue")]
    pub next: String,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub what: Cow<'a, str>,
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// A refusal (metav1.Status).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub details: Option<Details>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    pub retry_after_seconds: u64,
    pub causes: Vec<Cause>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    pub reason: String,
    pub message: String,
}

impl Status {
    /// The version is one that the server has forgotten.
    pub fn is_expired(&self) -> bool {
        self.code == 410 || matches!(self.reason.as_str(), "Expired" | "Gone")
    }

    /// The version is one that the server has not reached: its storage is another one, or an older state of it.
    pub fn is_from_the_future(&self) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        self.message.contains("Too large resource version")
            || causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
    }
}
