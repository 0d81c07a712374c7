//! ValidatingWebhookConfiguration and MutatingWebhookConfiguration.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::matching::{self, one_of};
use super::rules;
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, items, list, semantic_eq, set_generation, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::status;
use crate::{domains, names, selectors};

/// Versions of reviews that the original speaks.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

#[derive(Debug)]
pub struct Strategy {
    pub mutating: bool,
}

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, configuration: &mut Value) {
        for hook in items(configuration, "webhooks") {
            default(hook, "failurePolicy", "Fail");
            default(hook, "matchPolicy", "Equivalent");
            default(hook, "namespaceSelector", Map::new());
            default(hook, "objectSelector", Map::new());
            default(hook, "timeoutSeconds", 10);
            if self.mutating {
                default(hook, "reinvocationPolicy", "Never");
            }
            items(hook, "rules").for_each(rules::set_defaults);
            let service = existing(hook, "clientConfig").and_then(|config| existing(config, "service"));
            if let Some(service) = service {
                default(service, "port", 443);
            }
        }
    }

    fn prepare_create(&self, configuration: &mut Value, _: &Context<'_>) {
        set_generation(configuration, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        status::count_generation(new, old, &["webhooks"]);
    }

    fn validate_create(&self, configuration: &Value, _: &Context<'_>) -> Errors {
        self.validate(&At::object(configuration).get("webhooks"), &Kept::default())
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        self.validate(&At::object(new).get("webhooks"), &Kept::of(new, old))
    }
}

/// What was stored before and may stay, although it would be refused today.
#[derive(Debug, Default)]
struct Kept {
    conditions: bool,
    side_effects: bool,
    versions: bool,
    names: bool,
    selectors: bool,
}

impl Kept {
    fn of(new: &Value, old: &Value) -> Self {
        let (hooks, now) = (list(old, &["webhooks"]), list(new, &["webhooks"]));
        let field = |hook: &Value, name: &str| at(hook, &[name]).clone();
        let names: BTreeSet<&str> = hooks.iter().map(|hook| text(hook, &["name"])).collect();
        let unknown = |hook: &&Value| {
            let versions = list(hook, &["admissionReviewVersions"]);
            let known = |version: &Value| VERSIONS.iter().any(|own| version == own);
            !versions.is_empty() && !versions.iter().any(known)
        };
        let wrong = |hook: &Value| {
            let at = At::object(hook);
            let selectors = ["namespaceSelector", "objectSelector"].map(|name| at.get(name));
            selectors.iter().any(|selector| !selectors::validate(selector, false).is_empty())
        };
        Self {
            conditions: hooks.len() == now.len()
                && hooks.iter().zip(now).all(|(old, new)| {
                    semantic_eq(&field(old, "matchConditions"), &field(new, "matchConditions"))
                }),
            side_effects: hooks.iter().any(|hook| !SIDE_EFFECTS.contains(&text(hook, &["sideEffects"]))),
            versions: hooks.iter().any(|hook| unknown(&hook)),
            names: names.len() != hooks.len(),
            selectors: hooks.iter().any(wrong),
        }
    }
}

impl Strategy {
    fn validate(&self, hooks: &At<'_>, kept: &Kept) -> Errors {
        let mut errors = Errors::new();
        let mut seen = BTreeSet::new();
        for hook in hooks.items() {
            let name = hook.get("name");
            errors.extend(self.hook(&hook, kept));
            errors.extend(review_versions(&hook.get("admissionReviewVersions"), kept.versions));
            if !kept.names && !name.is_empty() && !seen.insert(name.text()) {
                errors.push(name.duplicate());
            }
        }
        errors
    }

    fn hook(&self, hook: &At<'_>, kept: &Kept) -> Errors {
        let mut errors = domains::three_parts(&hook.get("name"));
        errors.extend(hook.get("rules").items().flat_map(|rule| rules::validate(&rule)));
        errors.extend(one_of(&hook.get("failurePolicy"), &["Fail", "Ignore"]));
        errors.extend(one_of(&hook.get("matchPolicy"), &["Equivalent", "Exact"]));
        let effects = hook.get("sideEffects");
        let allowed: &[&str] =
            if kept.side_effects { &["None", "NoneOnDryRun", "Some", "Unknown"] } else { &SIDE_EFFECTS };
        if effects.is_absent() {
            errors.push(effects.required(&format!("must specify one of {}", allowed.join(", "))));
        }
        errors.extend(one_of(&effects, allowed));
        let timeout = hook.get("timeoutSeconds");
        if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
            errors.push(timeout.invalid("the timeout value must be between 1 and 30 seconds"));
        }
        for field in ["namespaceSelector", "objectSelector"] {
            errors.extend(selectors::validate(&hook.get(field), kept.selectors));
        }
        if self.mutating {
            errors.extend(one_of(&hook.get("reinvocationPolicy"), &["IfNeeded", "Never"]));
        }
        errors.extend(client(&hook.get("clientConfig")));
        if !kept.conditions {
            errors.extend(matching::conditions(&hook.get("matchConditions"), false));
        }
        errors
    }
}

fn client(config: &At<'_>) -> Errors {
    match (config.has("url"), config.has("service")) {
        (true, false) => url(&config.get("url")),
        (false, true) => service(&config.get("service")),
        _ => vec![config.required("exactly one of url or service is required")],
    }
}

/// `https://host/path` and nothing more.
fn url(url: &At<'_>) -> Errors {
    const FORM: &str = "; desired format: https://host[/path]";
    let about = |part: &str, problem: &str| FieldError::invalid(&url.path, &Value::from(part), problem);
    let mut errors = Errors::new();
    let (scheme, rest) = url.text().split_once(':').unwrap_or(("", url.text()));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let authority = authority.split('/').next().unwrap_or_default();
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if scheme != "https" {
        errors.push(about(scheme, &format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if host.is_empty() {
        errors.push(about(host, &format!("host must be specified{FORM}")));
    }
    if let Some(user) = user {
        errors.push(about(user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(about(fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(about(query, "query parameters are not permitted in the URL"));
    }
    errors
}

fn service(service: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    // The original hands name and namespace over in the wrong order.
    for (field, shown) in [("namespace", "name"), ("name", "namespace")] {
        if service.get(field).is_empty() {
            errors.push(FieldError::required(&service.path.child(shown), ""));
        }
    }
    let (port, path) = (service.get("port"), service.get("path"));
    let problems = names::port_number(port.int().unwrap_or_default());
    if !problems.is_empty() {
        errors.push(port.invalid_int(&format!("port is not valid: {}", problems.join(", "))));
    }
    match path.text() {
        "" | "/" => {}
        "//" => errors.push(path.invalid("segment[0] may not be empty")),
        text => {
            if !text.starts_with('/') {
                errors.push(path.invalid("must start with a '/'"));
            }
            let mut rest = text.chars();
            rest.next();
            let rest = rest.as_str();
            for (nth, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
                if step.is_empty() {
                    errors.push(path.invalid(&format!("segment[{nth}] may not be empty")));
                    continue;
                }
                let problems = names::dns1123_subdomain(step).into_iter();
                errors.extend(problems.map(|problem| path.invalid(&format!("segment[{nth}]: {problem}"))));
            }
        }
    }
    errors
}

fn review_versions(versions: &At<'_>, kept: bool) -> Errors {
    if versions.is_empty() {
        return vec![versions.required(&format!("must specify one of {}", VERSIONS.join(", ")))];
    }
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for version in versions.items() {
        if !seen.insert(version.text()) {
            errors.push(version.invalid("duplicate version"));
            continue;
        }
        errors.extend(version.invalid_each(names::dns1035_label(version.text())));
    }
    if !kept && !VERSIONS.iter().any(|version| seen.contains(version)) {
        errors.push(versions.invalid(&format!("must include at least one of {}", VERSIONS.join(", "))));
    }
    errors
}
