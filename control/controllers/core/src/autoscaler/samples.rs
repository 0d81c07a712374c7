//! What metrics APIs answer, as numbers. Values are in thousandths.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use apiclient_core::quantity::Quantity;
use control_core::edit::{list, text};
use serde_json::Value;

use crate::object;

/// The window of a metric that says none (metrics-server's).
const WINDOW: Duration = Duration::from_secs(60);

/// What a pod measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub value: i64,
    /// The end of the time that it was measured over, and how long that was.
    pub at: Option<SystemTime>,
    pub window: Duration,
}

/// By the pod's name.
pub type Samples = BTreeMap<String, Sample>;

/// Use of a resource by pods, from a `PodMetricsList`: of all containers, or of one. A pod of which something is missing
/// is missing.
///
/// # Errors
/// It is empty.
pub fn of_resource(answer: &Value, resource: &str, container: &str) -> Result<Samples, String> {
    let items = list(answer, &["items"]);
    if items.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    let mut samples = Samples::new();
    for item in items {
        let containers = list(item, &["containers"]).iter();
        let mut uses = containers
            .filter(|one| container.is_empty() || text(one, &["name"]) == container)
            .map(|one| milli(&one["usage"][resource]))
            .peekable();
        let value = uses.peek().is_some().then(|| uses.sum::<Option<i64>>()).flatten();
        if let Some(value) = value {
            let window = window(&item["window"]).unwrap_or_default();
            let at = object::moment(item, &["timestamp"]);
            samples.insert(object::name(item).to_owned(), Sample { value, at, window });
        }
    }
    Ok(samples)
}

/// A metric of pods, from a `MetricValueList` of `custom.metrics.k8s.io`.
///
/// # Errors
/// It is empty.
pub fn of_pods(answer: &Value) -> Result<Samples, String> {
    let items = list(answer, &["items"]);
    if items.is_empty() {
        return Err("no metrics returned from custom metrics API".to_owned());
    }
    let sample = |item: &Value| {
        // The field's name in v1beta2, and in v1beta1.
        let seconds = item["windowSeconds"].as_u64().or_else(|| item["window"].as_u64());
        let name = text(item, &["describedObject", "name"]).to_owned();
        let window = seconds.map_or(WINDOW, Duration::from_secs);
        let value = milli(&item["value"]).unwrap_or_default();
        (name, Sample { value, at: object::moment(item, &["timestamp"]), window })
    };
    Ok(items.iter().map(sample).collect())
}

/// The one value of an object, from a `MetricValueList` of `custom.metrics.k8s.io`.
///
/// # Errors
/// There are none, or several.
pub fn of_object(answer: &Value) -> Result<i64, String> {
    match list(answer, &["items"]) {
        [only] => Ok(milli(&only["value"]).unwrap_or_default()),
        items => Err(format!(
            "the custom metrics API server returned {} results when we asked for exactly one",
            items.len()
        )),
    }
}

/// The sum of an external metric's values; what is too large for a number is the largest.
///
/// # Errors
/// There are none.
pub fn of_external(answer: &Value) -> Result<i64, String> {
    let items = list(answer, &["items"]);
    if items.is_empty() {
        return Err("no metrics returned from external metrics API".to_owned());
    }
    let values = items.iter().map(|item| milli(&item["value"]).unwrap_or_default());
    Ok(values.fold(0, i64::saturating_add))
}

/// A quantity in thousandths.
pub fn milli(value: &Value) -> Option<i64> {
    let quantity: Quantity = match value {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.to_string().parse().ok()?,
        _ => return None,
    };
    Some(quantity.milli_value())
}

/// A duration as metrics have it: `15s`, `1m0.5s`.
fn window(value: &Value) -> Option<Duration> {
    let mut rest = value.as_str()?;
    let mut whole = 0.0;
    while !rest.is_empty() {
        let size = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, more) = rest.split_at(size);
        let end = more.find(|letter: char| letter.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        whole += number.parse::<f64>().ok()? * seconds;
        rest = more;
    }
    Duration::try_from_secs_f64(whole).ok()
}
