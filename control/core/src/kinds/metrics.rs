//! The kinds of `metrics.k8s.io`: what nodes and pods use. Nothing of it is stored: it is read from the nodes' agents.
//!
//! Facts: `k8s.io/metrics/pkg/apis/metrics/v1beta1`; the columns are metrics-server's.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::quantity::Quantity;
use control_schema::crd;
use serde_json::{Value, json};

use crate::edit::{list, text};
use crate::kind::{Kind, Strategy, Traits, Version};
use crate::table::{BuiltIn, Columns};

pub const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";

/// They belong to no table of their own: a server serves them, or leaves that to another one.
pub fn kinds() -> Vec<Kind> {
    let usage = json!({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}});
    let container = json!({"type": "object", "properties": {"name": {"type": "string"}, "usage": usage}});
    let containers = json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": container});
    vec![
        kind("NodeMetrics", "nodes", false, ("usage", usage), node),
        kind("PodMetrics", "pods", true, ("containers", containers), pod),
    ]
}

fn kind(
    name: &'static str,
    plural: &'static str,
    namespaced: bool,
    (field, of): (&str, Value),
    cells: fn(&Value, SystemTime) -> Vec<Value>,
) -> Kind {
    let open_api = json!({"type": "object", "properties": {
        "timestamp": {"type": "string", "format": "date-time"}, "window": {"type": "string"}, field: of,
    }});
    let compiled = crd::compile(GROUP, VERSION, name, &open_api, false);
    Kind {
        group: GROUP.into(),
        kind: name.into(),
        plural: plural.into(),
        singular: "".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        versions: vec![Version {
            name: VERSION.into(),
            schema: compiled.schema,
            columns: Columns::BuiltIn { columns: COLUMNS, cells },
        }],
        storage_version: 0,
        storage: format!("{GROUP}/{plural}").into(),
        subresources: Vec::new(),
        traits: Traits { only_read: true, json: true, ..Traits::default() },
        strategy: Arc::new(Read),
    }
}

/// Nothing is written.
#[derive(Debug)]
struct Read;

impl Strategy for Read {}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn { name: "Name", of: "string", format: "name", description: "Name of the resource", priority: 0 },
    BuiltIn { name: "cpu", of: "string", format: "", description: "", priority: 0 },
    BuiltIn { name: "memory", of: "string", format: "", description: "", priority: 0 },
    BuiltIn { name: "Window", of: "string", format: "duration", description: "", priority: 0 },
];

fn node(metrics: &Value, _: SystemTime) -> Vec<Value> {
    row(metrics, &[&metrics["usage"]])
}

fn pod(metrics: &Value, _: SystemTime) -> Vec<Value> {
    let usages: Vec<&Value> =
        list(metrics, &["containers"]).iter().map(|container| &container["usage"]).collect();
    row(metrics, &usages)
}

fn row(metrics: &Value, usages: &[&Value]) -> Vec<Value> {
    let sum = |resource: &str| -> Value {
        let amounts = usages.iter().filter_map(|usage| usage[resource].as_str()?.parse::<Quantity>().ok());
        let sum = amounts.reduce(Quantity::plus).unwrap_or_default();
        sum.to_string().into()
    };
    vec![text(metrics, &["metadata", "name"]).into(), sum("cpu"), sum("memory"), metrics["window"].clone()]
}
