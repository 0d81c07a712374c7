//! The defaults of a HorizontalPodAutoscaler, in the form of `v2`.

use serde_json::{Map, Value, json};

use crate::edit::{child, default, existing, list, set};

/// Percent of the requested CPU that pods should use.
const CPU: i64 = 80;

/// Seconds over which a scaling policy counts.
const PERIOD: i64 = 15;

pub fn set_defaults(scaler: &mut Value) {
    default(scaler, "spec", Map::new());
    let Some(spec) = existing(scaler, "spec") else {
        return;
    };
    default(spec, "minReplicas", 1);
    if list(spec, &["metrics"]).is_empty() {
        set(spec, "metrics", json!([cpu(CPU)]));
    }
    let Some(behavior) = existing(spec, "behavior") else {
        return;
    };
    if let Some(up) = child(behavior, "scaleUp") {
        default(up, "stabilizationWindowSeconds", 0);
        default(up, "selectPolicy", "Max");
        default(up, "policies", json!([policy("Pods", 4), policy("Percent", 100)]));
    }
    if let Some(down) = child(behavior, "scaleDown") {
        default(down, "selectPolicy", "Max");
        default(down, "policies", json!([policy("Percent", 100)]));
    }
}

/// The metric that looks at the use of CPU.
pub fn cpu(percent: i64) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn policy(kind: &str, value: i64) -> Value {
    json!({"type": kind, "value": value, "periodSeconds": PERIOD})
}
