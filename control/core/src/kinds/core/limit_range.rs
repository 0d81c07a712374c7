//! LimitRanges: what one pod, container or claim of a namespace may ask for.

use apiclient_core::quantity::Quantity;
use serde_json::{Map, Value};

use super::resources::{self, may_overcommit, quantity};
use crate::at::{At, Errors};
use crate::edit::{at, items, set, text};
use crate::field::FieldError;
use crate::kind::{Context, NameRule, Strategy};
use crate::{metadata, names};

#[derive(Debug)]
pub struct LimitRange;

impl Strategy for LimitRange {
    /// What a container gets without asking follows from what it may have.
    fn set_defaults(&self, object: &mut Value) {
        let Some(spec) = crate::edit::existing(object, "spec") else {
            return;
        };
        for limit in items(spec, "limits") {
            for field in FIELDS {
                resources::round_up(limit, field);
            }
            if at(limit, &["type"]) != "Container" {
                continue;
            }
            let map = |field: &str| at(limit, &[field]).as_object().cloned().unwrap_or_default();
            let (mut limits, mut requests) = (map("default"), map("defaultRequest"));
            add(&mut limits, &map("max"));
            add(&mut requests, &limits);
            add(&mut requests, &map("min"));
            for (field, amounts) in [("default", limits), ("defaultRequest", requests)] {
                if !amounts.is_empty() {
                    set(limit, field, amounts);
                }
            }
        }
    }

    /// One without a name goes by its uid.
    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        let uid = text(object, &["metadata", "uid"]).to_owned();
        if text(object, &["metadata", "name"]).is_empty()
            && let Some(metadata) = crate::edit::existing(object, "metadata")
            && !uid.is_empty()
        {
            set(metadata, "name", uid);
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let mut seen = Vec::new();
        let mut errors = Errors::new();
        for limit in At::object(object).get("spec").get("limits").items() {
            errors.extend(limit_errors(&limit, seen.contains(&limit.get("type").text())));
            seen.push(limit.get("type").text());
        }
        errors
    }

    fn validate_update(&self, new: &Value, _old: &Value, context: &Context<'_>) -> Errors {
        let mut errors = metadata::again(new, true, NameRule::Subdomain);
        errors.extend(self.validate_create(new, context));
        errors
    }
}

fn add(to: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, amount) in from {
        to.entry(name.as_str()).or_insert_with(|| amount.clone());
    }
}

const FIELDS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn limit_errors(limit: &At<'_>, repeated: bool) -> Errors {
    let kind = limit.get("type");
    let mut errors = type_errors(&kind);
    if repeated {
        errors.push(kind.duplicate());
    }
    let of_pod = kind.text() == "Pod";
    let mut resources: Vec<&str> = Vec::new();
    for field in FIELDS {
        if field == "maxLimitRequestRatio"
            && kind.text() == "PersistentVolumeClaim"
            && !limit.get("min").has("storage")
            && !limit.get("max").has("storage")
        {
            errors.push(FieldError::required(
                &limit.path.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            ));
        }
        let amounts = limit.get(field);
        if of_pod && field.starts_with("default") {
            if !amounts.is_empty() {
                errors.push(amounts.forbidden("may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (resource, amount) in amounts.entries() {
            errors.extend(match kind.text() {
                "Pod" | "Container" => resources::container_name(resource, &amount.path),
                _ => resources::name(resource, &amount.path),
            });
            resources.push(resource);
        }
    }
    resources.sort_unstable();
    resources.dedup();
    for resource in resources {
        errors.extend(resource_errors(limit, resource, of_pod));
    }
    errors
}

fn type_errors(kind: &At<'_>) -> Errors {
    let name = kind.text();
    let errors: Errors = kind.invalid_each(names::qualified(name)).collect();
    let standard = matches!(name, "Pod" | "Container" | "PersistentVolumeClaim");
    if errors.is_empty() && !name.contains('/') && !standard {
        return vec![kind.invalid_text("must be a standard limit type or fully qualified")];
    }
    errors
}

/// How the bounds of one resource fit to one another.
fn resource_errors(limit: &At<'_>, resource: &str, of_pod: bool) -> Errors {
    let get = |field: &str| at(limit.value, &[field, resource]);
    let amount = |field: &str| quantity(get(field)).filter(|_| !(of_pod && field.starts_with("default")));
    let [max, min, default, request, ratio] = FIELDS.map(amount);
    let mut errors = Errors::new();
    let mut refuse = |field: &str, shown: Quantity, detail: String| {
        let path = limit.path.child(field).key(resource);
        errors.push(FieldError::invalid(&path, &Value::from(shown.to_string()), &detail));
    };
    let over = |a: Option<Quantity>, b: Option<Quantity>| a.zip(b).filter(|(a, b)| a > b);
    if let Some((min, max)) = over(min, max) {
        refuse("min", min, format!("min value {min} is greater than max value {max}"));
    }
    if let Some((min, request)) = over(min, request) {
        let detail = format!("min value {min} is greater than default request value {request}");
        refuse("defaultRequest", request, detail);
    }
    if let Some((request, max)) = over(request, max) {
        let detail = format!("default request value {request} is greater than max value {max}");
        refuse("defaultRequest", request, detail);
    }
    if let Some((request, default)) = over(request, default) {
        let detail = format!("default request value {request} is greater than default limit value {default}");
        refuse("defaultRequest", request, detail);
    }
    if let Some((min, default)) = over(min, default) {
        refuse("default", min, format!("min value {min} is greater than default value {default}"));
    }
    if let Some((default, max)) = over(default, max) {
        refuse("default", max, format!("default value {default} is greater than max value {max}"));
    }
    if let Some(ratio) = ratio {
        if ratio.milli_value() < 1000 {
            refuse("maxLimitRequestRatio", ratio, format!("ratio {ratio} is less than 1"));
        }
        if let Some((min, max)) = min.zip(max) {
            let most = as_float(max) / as_float(min);
            if as_float(ratio) > most {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                refuse("maxLimitRequestRatio", ratio, detail);
            }
        }
    }
    if let Some((default, request)) = default.zip(request)
        && default != request
        && !may_overcommit(resource)
    {
        let detail =
            format!("default value {default} must equal to defaultRequest value {request} in {resource}");
        refuse("defaultRequest", request, detail);
    }
    errors
}

/// Exact as far as thousandths fit.
#[allow(clippy::cast_precision_loss)]
fn as_float(amount: Quantity) -> f64 {
    match amount.milli_value() {
        i64::MAX | i64::MIN => amount.value() as f64,
        milli => milli as f64 / 1000.0,
    }
}
