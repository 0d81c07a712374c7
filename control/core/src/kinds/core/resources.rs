//! Names and amounts of resources: `cpu`, `requests.memory`, `example.com/gpu`, `hugepages-2Mi`.

use apiclient_core::quantity::Quantity;
use serde_json::{Map, Value};

use crate::at::{At, Errors};
use crate::field::{FieldError, Path, quote};
use crate::metadata::NEGATIVE;
use crate::names;

const HUGE_PAGES: &str = "hugepages-";

/// Counted, never fractions.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Known to nodes, containers and quotas, besides [`COUNTED`].
const MEASURED: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// `None` for what is no quantity; the schema refuses such an object before.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The amounts of a list of resources (`limits`, `capacity`) by name.
pub fn amounts<'a>(list: &At<'a>) -> impl Iterator<Item = (&'a str, Quantity, Path)> + use<'a> {
    list.entries().filter_map(|(name, at)| Some((name, quantity(at.value)?, at.path)))
}

/// Amounts of a list of resources are kept in thousandths: what is finer is rounded up.
pub fn round_up(object: &mut Value, field: &str) {
    for amount in object.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let finer = |amount: &Quantity| {
            let milli = amount.milli_value();
            milli.abs() != i64::MAX
                && format!("{milli}m").parse::<Quantity>().is_ok_and(|kept| kept != *amount)
        };
        if let Some(found) = quantity(amount).filter(finer)
            && let Ok(kept) = format!("{}m", found.milli_value()).parse::<Quantity>()
        {
            *amount = kept.to_string().into();
        }
    }
}

pub fn is_huge_page(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

fn is_quota_huge_page(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// In the system's own namespace, which a name without a domain is.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

/// More of it may be promised than there is.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Of a whole pod: `cpu`, `memory` and huge pages.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

pub fn is_quota_resource(name: &str) -> bool {
    MEASURED.contains(&name)
        || COUNTED.contains(&name)
        || name == "requests.storage"
        || is_quota_huge_page(name)
}

fn is_standard(name: &str) -> bool {
    is_quota_resource(name) || name == "storage"
}

fn refuse(path: &Path, name: &str, detail: &str) -> FieldError {
    FieldError::invalid(path, &Value::from(name), detail)
}

/// Any resource (`validateResourceName`).
pub fn name(name: &str, path: &Path) -> Errors {
    let wrong: Errors = names::qualified(name).iter().map(|detail| refuse(path, name, detail)).collect();
    if wrong.is_empty() && !name.contains('/') && !is_standard(name) {
        return vec![refuse(path, name, "must be a standard resource type or fully qualified")];
    }
    wrong
}

/// One that a container may ask for.
pub fn container_name(resource: &str, path: &Path) -> Errors {
    let mut errors = name(resource, path);
    let standard = matches!(resource, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(resource);
    if !resource.contains('/') {
        if !standard {
            errors.push(refuse(path, resource, "must be a standard resource for containers"));
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.push(refuse(path, resource, "doesn't follow extended resource name standard"));
    }
    errors
}

/// One that a whole pod may ask for.
pub fn pod_name(resource: &str, path: &Path) -> Errors {
    let errors = name(resource, path);
    if errors.is_empty() && !is_pod_level(resource) {
        let supported = ["cpu", "hugepages-", "memory"];
        return vec![FieldError::not_supported(path, &Value::from(resource), &supported)];
    }
    errors
}

/// One that a quota may limit.
pub fn quota_name(resource: &str, path: &Path) -> Errors {
    let mut errors = name(resource, path);
    if !resource.contains('/') && !is_quota_resource(resource) {
        errors.push(refuse(path, resource, "must be a standard resource for quota"));
    }
    errors
}

pub fn not_negative(amount: Quantity, path: &Path) -> Option<FieldError> {
    (amount < Quantity::default())
        .then(|| FieldError::invalid(path, &Value::from(amount.to_string()), NEGATIVE))
}

pub const NOT_POSITIVE: &str = "must be greater than zero";

pub fn positive(amount: Quantity, path: &Path) -> Option<FieldError> {
    (amount <= Quantity::default())
        .then(|| FieldError::invalid(path, &Value::from(amount.to_string()), NOT_POSITIVE))
}

/// An amount of a resource (`ValidateResourceQuantityValue`).
pub fn amount(resource: &str, amount: Quantity, path: &Path) -> Errors {
    let mut errors: Errors = not_negative(amount, path).into_iter().collect();
    let whole = COUNTED.contains(&resource) || is_extended(resource);
    if whole && amount.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(path, &Value::from(amount.to_string()), "must be an integer"));
    }
    errors
}

/// `resources` of a container or a pod: limits, requests and claims. `name_rule` is [`container_name`] or [`pod_name`];
/// `claims` are the names of the pod's `resourceClaims`.
pub fn requirements(at: &At<'_>, name_rule: fn(&str, &Path) -> Errors, claims: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    let (mut huge, mut computes) = (false, false);
    for (resource, limit, path) in amounts(&limits) {
        errors.extend(name_rule(resource, &path));
        errors.extend(amount(resource, limit, &path));
        errors.extend(huge_page_amount(resource, limit, &path));
        huge |= is_huge_page(resource);
        computes |= matches!(resource, "cpu" | "memory");
    }
    for (resource, request, path) in amounts(&requests) {
        errors.extend(name_rule(resource, &path));
        errors.extend(amount(resource, request, &path));
        let over = |how: &str, limit: Quantity| {
            let detail = format!("must be {how} {resource} limit of {limit}");
            FieldError::invalid(&requests.path, &Value::from(request.to_string()), &detail)
        };
        match limits.value.get(resource).and_then(quantity) {
            Some(limit) if request != limit && !may_overcommit(resource) => {
                errors.push(over("equal to", limit));
            }
            Some(limit) if request > limit => errors.push(over("less than or equal to", limit)),
            None if !may_overcommit(resource) => {
                errors.push(limits.required("Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
        errors.extend(huge_page_amount(resource, request, &path));
        huge |= is_huge_page(resource);
        computes |= matches!(resource, "cpu" | "memory");
    }
    if huge && !computes {
        errors.push(at.forbidden("HugePages require cpu or memory"));
    }
    errors.extend(claim_names(&at.get("claims"), claims));
    errors
}

fn huge_page_amount(resource: &str, amount: Quantity, path: &Path) -> Option<FieldError> {
    let size = resource.strip_prefix(HUGE_PAGES)?.parse::<Quantity>().ok();
    let whole = size.is_some_and(|size| {
        size > Quantity::default() && size.milli_value() % 1000 == 0 && amount.value() % size.value() == 0
    });
    (!whole).then(|| {
        let detail = format!("{amount} is not positive integer multiple of {resource}");
        FieldError::invalid(path, &Value::from(amount.to_string()), &detail)
    })
}

/// Claims of a container must be claims of the pod, each once.
fn claim_names(claims: &At<'_>, known: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<String> = Vec::new();
    for claim in claims.items() {
        let (name, request) = (claim.get("name").text(), claim.get("request"));
        let duplicate = |key: &str| FieldError::duplicate(&claim.path, &Value::from(key));
        if name.is_empty() {
            errors.push(claim.required(""));
            continue;
        }
        if seen.iter().any(|key| key == name) {
            errors.push(duplicate(name));
        } else {
            let mut key = name.to_owned();
            if !request.text().is_empty() {
                errors.extend(request.invalid_each(names::dns1123_label(request.text())));
                key = format!("{name}/{}", request.text());
            }
            if seen.contains(&key) {
                errors.push(duplicate(&key));
            } else if request.text().is_empty() {
                let of_this = |key: &&String| key.split_once('/').is_some_and(|(claim, _)| claim == name);
                errors.extend(seen.iter().filter(of_this).map(|_| duplicate(name)));
            }
            seen.push(key);
        }
        if !known.contains(&name) {
            let mut known: Vec<&str> = known.to_vec();
            known.sort_unstable();
            let list = if known.is_empty() {
                " which is empty".to_owned()
            } else {
                format!(": {}", known.join(", "))
            };
            let mut error = claim.not_found();
            error.message = format!(
                "Not found: {}: must be one of the names in pod.spec.resourceClaims{list}",
                quote(name)
            );
            errors.push(error);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(resources: &Value) -> Vec<String> {
        let at = At::new(resources, Path::new("r"));
        requirements(&at, container_name, &["a"]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn requests_are_at_most_limits_and_of_known_resources() {
        assert!(
            check(&json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})).is_empty()
        );
        assert_eq!(
            check(&json!({"limits": {"cpu": "1"}, "requests": {"cpu": 2, "memory": "-1"}})),
            [
                "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                "r.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"
            ]
        );
        assert_eq!(
            check(&json!({"requests": {"gpu": "1", "example.com/gpu": "1500m"}})),
            [
                "r.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
                "r.limits: Required value: Limit must be set for non overcommitable resources",
                "r.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "r.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ]
        );
        assert_eq!(
            check(&json!({"limits": {"hugepages-2Mi": "3Mi"}})),
            [
                "r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "r: Forbidden: HugePages require cpu or memory"
            ]
        );
    }

    #[test]
    fn amounts_are_kept_in_thousandths() {
        let mut object = json!({"limits": {"cpu": "1500u", "memory": "1.5Gi", "storage": "100m"}});
        round_up(&mut object, "limits");
        assert_eq!(object["limits"], json!({"cpu": "2m", "memory": "1.5Gi", "storage": "100m"}));
    }

    #[test]
    fn claims_of_a_container_are_claims_of_the_pod() {
        assert_eq!(
            check(&json!({"claims": [{"name": "a"}, {"name": "a"}, {"name": "b"}]})),
            [
                "r.claims[1]: Duplicate value: \"a\"",
                "r.claims[2]: Not found: \"b\": must be one of the names in pod.spec.resourceClaims: a"
            ]
        );
    }
}
