//! What a definition must be, in the original's words and order.
//!
//! Facts: the original validates its internal form, in which what all versions have in common stands once, in the spec
//! itself; its messages name those places. See [`versions`] for those.

use serde_json::Value;

use super::versions;
use crate::at::{At, Errors};
use crate::conditions;
use crate::edit::at;
use crate::field::{FieldError, quote};
use crate::metadata::immutable_text;
use crate::names::{dns1035_label, dns1123_subdomain};

const APPROVAL: &str = "api-approved.kubernetes.io";

/// What is wrong with a new definition.
pub fn validate(definition: &Value) -> Errors {
    let root = At::object(definition);
    let spec = root.get("spec");
    let mut errors = Errors::new();
    let name = root.get("metadata").get("name");
    let wanted = format!("{}.{}", spec.get("names").get("plural").text(), spec.get("group").text());
    // Without any name that is all that is said of it, elsewhere.
    if !name.text().is_empty() && name.text() != wanted {
        errors.push(name.invalid_text("must be spec.names.plural+\".\"+spec.group"));
    }
    errors.extend(validate_spec(&spec, None));
    errors.extend(validate_rest(definition, None));
    errors
}

/// What is wrong with a definition that takes the place of `old`.
pub fn validate_update(definition: &Value, old: &Value) -> Errors {
    let spec = At::object(definition).get("spec");
    let before = |path: &[&str]| at(at(old, &["spec"]), path).clone();
    let mut errors = validate_spec(&spec, Some(at(old, &["spec", "versions"])));
    let names = spec.get("names");
    if conditions::is_true(at(old, &["status"]), "Established") {
        errors.extend(immutable_text(&spec.get("scope"), &before(&["scope"])));
        errors.extend(immutable_text(&names.get("kind"), &before(&["names", "kind"])));
    }
    errors.extend(immutable_text(&spec.get("group"), &before(&["group"])));
    errors.extend(immutable_text(&names.get("plural"), &before(&["names", "plural"])));
    errors.extend(validate_rest(definition, Some(old)));
    errors
}

/// What is wrong with the status of a definition.
pub fn validate_status(definition: &Value) -> Errors {
    validate_names(&At::object(definition).get("status").get("acceptedNames"))
}

/// What is not the spec's own: the status that follows from it, and what a definition may not be for.
fn validate_rest(definition: &Value, old: Option<&Value>) -> Errors {
    let root = At::object(definition);
    let mut errors = validate_status(definition);
    errors.extend(stored_versions(&root));
    errors.extend(approval(&root, old));
    let preserves = root.get("spec").get("preserveUnknownFields");
    let preserved = old.is_some_and(|old| at(old, &["spec", "preserveUnknownFields"]) == true);
    if preserves.is_true() && !preserved {
        let instead = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(preserves.invalid(instead));
    }
    errors
}

fn validate_spec(spec: &At<'_>, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    let (group, names) = (spec.get("group"), spec.get("names"));
    let problems = dns1123_subdomain(group.text());
    if group.text().is_empty() {
        errors.push(group.required(""));
    } else if !problems.is_empty() {
        errors.push(group.invalid_text(&problems.join(",")));
    } else if !group.text().contains('.') {
        errors.push(group.invalid_text("should be a domain with at least one dot"));
    }
    errors.extend(one_of(&spec.get("scope"), &["Cluster", "Namespaced"]));
    errors.extend(versions::validate(&spec.get("versions"), old));
    for field in ["plural", "singular", "kind", "listKind"] {
        if names.get(field).text().is_empty() {
            errors.push(names.get(field).required(""));
        }
    }
    errors.extend(validate_names(&names));
    errors.extend(versions::validate_common(spec, old));
    errors.extend(conversion(&spec.get("conversion")));
    errors
}

/// A word that must be there and be one of a few.
pub(super) fn one_of(word: &At<'_>, known: &[&str]) -> Option<FieldError> {
    match word.text() {
        "" => Some(word.required("")),
        text if known.contains(&text) => None,
        _ => Some(word.not_supported(known)),
    }
}

/// Names that are there.
fn validate_names(names: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut check = |name: At<'_>, word: &str, before: &str| {
        let problems = dns1035_label(word);
        if !word.is_empty() && !problems.is_empty() {
            errors.push(name.invalid_text(&format!("{before}{}", problems.join(","))));
        }
    };
    for field in ["plural", "singular"] {
        check(names.get(field), names.get(field).text(), "");
    }
    for field in ["kind", "listKind"] {
        let but = "may have mixed case, but should otherwise match: ";
        check(names.get(field), &names.get(field).text().to_lowercase(), but);
    }
    for name in names.get("shortNames").items() {
        errors.extend(each_name(&name));
    }
    let (kind, list) = (names.get("kind"), names.get("listKind"));
    if !kind.text().is_empty() && kind.text() == list.text() {
        errors.push(list.invalid_text("kind and listKind may not be the same"));
    }
    for category in names.get("categories").items() {
        errors.extend(each_name(&category));
    }
    errors
}

/// A name of a list, which may not be empty either.
fn each_name(name: &At<'_>) -> Option<FieldError> {
    let problems = dns1035_label(name.text());
    (!problems.is_empty()).then(|| name.invalid_text(&problems.join(",")))
}

fn conversion(conversion: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if conversion.is_absent() {
        return errors;
    }
    let strategy = conversion.get("strategy");
    errors.extend(one_of(&strategy, &["None", "Webhook"]));
    // Fields of the internal form, which has them one level higher.
    let config = At::new(
        conversion.get("webhook").get("clientConfig").value,
        conversion.path.child("webhookClientConfig"),
    );
    let reviews = At::new(
        conversion.get("webhook").get("conversionReviewVersions").value,
        conversion.path.child("conversionReviewVersions"),
    );
    if strategy.text() != "Webhook" {
        let misplaced = "should not be set when strategy is not set to Webhook";
        errors.extend((!config.is_absent()).then(|| config.forbidden(misplaced)));
        errors.extend((!reviews.is_empty()).then(|| reviews.forbidden(misplaced)));
        return errors;
    }
    if config.is_absent() {
        errors.push(config.required("required when strategy is set to Webhook"));
    } else if config.has("url") == config.has("service") {
        errors.push(config.required("exactly one of url or service is required"));
    }
    if reviews.is_empty() {
        errors.push(reviews.required(""));
    } else if !reviews.items().any(|version| matches!(version.text(), "v1" | "v1beta1")) {
        errors.push(reviews.invalid("must include at least one of v1, v1beta1"));
    }
    errors
}

/// Every version that objects were ever stored in is still there.
fn stored_versions(root: &At<'_>) -> Errors {
    let stored = root.get("status").get("storedVersions");
    if stored.is_empty() {
        return vec![FieldError::invalid(
            &stored.path,
            &Value::Null,
            "must have at least one stored version",
        )];
    }
    let versions: Vec<At<'_>> = root.get("spec").get("versions").items().collect();
    let is_stored = |name: &str| stored.items().any(|one| one.text() == name);
    let mut errors = Errors::new();
    for version in versions.iter().filter(|version| version.get("storage").is_true()) {
        let name = version.get("name").text();
        if !is_stored(name) {
            errors.push(stored.invalid(&format!("must have the storage version {name}")));
        }
    }
    for one in stored.items() {
        let name = one.text();
        if !versions.iter().any(|version| version.get("name").text() == name) {
            errors.push(one.invalid(&format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            )));
        }
    }
    errors
}

/// Groups of the Kubernetes project need the word that the project agreed.
fn approval(root: &At<'_>, old: Option<&Value>) -> Option<FieldError> {
    let group = root.get("spec").get("group").text();
    let is_protected =
        |domain: &str| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !is_protected("k8s.io") && !is_protected("kubernetes.io") {
        return None;
    }
    let of = |object: &Value| {
        Approval::of(at(object, &["metadata", "annotations", APPROVAL]).as_str().unwrap_or_default())
    };
    let state = of(root.value);
    if old.is_some_and(|old| of(old) == state) {
        return None;
    }
    let said = At::new(
        root.get("metadata").get("annotations").get(APPROVAL).value,
        root.get("metadata").get("annotations").path.key(APPROVAL),
    );
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let must = format!("protected groups must have approval annotation {}", quote(APPROVAL));
    match state {
        Approval::Given => None,
        Approval::Missing => Some(said.required(&format!("{must}, {see}"))),
        Approval::Invalid => {
            Some(said.invalid(&format!(
                "{must} with either a URL or a reason starting with \"unapproved\", {see}"
            )))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Approval {
    Missing,
    Given,
    Invalid,
}

impl Approval {
    fn of(text: &str) -> Self {
        let has_host = text
            .split_once("://")
            .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'));
        match text {
            "" => Self::Missing,
            text if text.starts_with("unapproved") || has_host => Self::Given,
            _ => Self::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Value {
        json!({
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
            "status": {"storedVersions": ["v1"]},
        })
    }

    fn faults(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut changed = definition();
        change(&mut changed);
        validate(&changed).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_definition_that_makes_no_sense_is_refused_with_every_fault() {
        assert_eq!(faults(|_| {}), [""; 0]);
        assert_eq!(
            faults(|definition| definition["spec"]["scope"] = json!("Galaxy")),
            ["spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\""]
        );
        assert_eq!(
            faults(|definition| definition["spec"]["names"] =
                json!({"plural": "things", "kind": "Thing", "listKind": "Thing"})),
            [
                "spec.names.singular: Required value",
                "spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same"
            ]
        );
        assert_eq!(
            faults(|definition| definition["status"]["storedVersions"] = json!(["v0", "v1"]))[0]
                .split("; ")
                .next(),
            Some("status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions")
        );
    }

    #[test]
    fn a_group_of_the_project_needs_its_word() {
        let of = |said: Option<&str>| {
            faults(|definition| {
                definition["metadata"]["name"] = json!("things.x.k8s.io");
                definition["spec"]["group"] = json!("x.k8s.io");
                if let Some(said) = said {
                    definition["metadata"]["annotations"] = json!({APPROVAL: said});
                }
            })
        };
        assert!(of(None)[0].starts_with(
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups"
        ));
        assert!(of(Some("yes"))[0].contains("with either a URL"));
        assert!(of(Some("https://example.com/1")).is_empty() && of(Some("unapproved, a test")).is_empty());
    }

    #[test]
    fn names_of_a_served_definition_stay() {
        let mut old = definition();
        old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["group"] = json!("example.org");
        let faults: Vec<String> = validate_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "spec.scope: Invalid value: \"Cluster\": field is immutable",
                "spec.group: Invalid value: \"example.org\": field is immutable"
            ]
        );
    }
}
