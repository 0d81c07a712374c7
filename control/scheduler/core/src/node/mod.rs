//! A node as the scheduler sees it, and the sums over its pods.
//!
//! Owns: [`Node`], read once from JSON, and [`NodeInfo`], kept up to date by each pod that comes and goes.

mod info;

use std::sync::Arc;

use apiclient_core::names::Name;
use serde_json::Value;

use crate::Labels;
use crate::pod::toleration::{self, Taint};
use crate::read::{self, BadObject};
use crate::resources::Resources;

pub use info::NodeInfo;

/// Labels that say where a node is, the former names last.
const REGIONS: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: Name,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    /// Most pods that it takes.
    pub pods: i64,
    /// Sizes of the images that it has, by every name of theirs, in order.
    pub images: Vec<(Name, i64)>,
}

impl Node {
    /// Reads a Node.
    ///
    /// # Errors
    /// A field that no API server would let in.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
        let allocatable = &status["allocatable"];
        let pods = match &allocatable["pods"] {
            Value::Null => 0,
            pods => read::quantity("status.allocatable.pods", pods)?.value(),
        };
        Ok(Self {
            name: read::name(metadata, "name"),
            labels: read::labels(&metadata["labels"]),
            taints: toleration::taints(&spec["taints"]),
            unschedulable: spec["unschedulable"].as_bool() == Some(true),
            allocatable: Resources::read("status.allocatable", allocatable)?,
            pods,
            images: images(&status["images"]),
        })
    }

    /// Region and zone as one word; empty where it has neither.
    pub fn zone(&self) -> String {
        let of = |names: [&str; 2]| {
            names.iter().find_map(|name| self.labels.get(*name)).map_or("", String::as_str).to_owned()
        };
        match (of(REGIONS), of(ZONES)) {
            (region, zone) if region.is_empty() && zone.is_empty() => String::new(),
            (region, zone) => format!("{region}\0{zone}"),
        }
    }

    pub fn has_image(&self, name: &str) -> bool {
        self.images.binary_search_by(|(known, _)| (**known).cmp(name)).is_ok()
    }
}

fn images(images: &Value) -> Vec<(Name, i64)> {
    let mut found = Vec::new();
    for image in read::list(images) {
        let size = image["sizeBytes"].as_i64().unwrap_or_default();
        for name in read::list(&image["names"]).iter().filter_map(Value::as_str) {
            found.push((Arc::from(name), size));
        }
    }
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found
}
