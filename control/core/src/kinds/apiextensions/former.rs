//! CustomResourceDefinitions as kube-apiserver keeps them in storage: in JSON, in version v1beta1, which it no longer
//! serves. There, what all versions have in common stands once, outside of them. Pure. Begin at [`revive`].
//!
//! Facts: apiextensions-apiserver's `v1beta1/types.go`, and the conversions of both versions.

use serde_json::{Value, json};

use crate::edit::{at, child, existing, items, list, remove, set, text};

/// The version of storage.
pub const VERSION: &str = "apiextensions.k8s.io/v1beta1";

/// Fields that stand in each version of v1, by their names there, and what they are called in v1beta1 outside of them.
const SHARED: [(&str, &str); 4] = [
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

/// A definition of version v1beta1 in version v1.
pub fn revive(mut definition: Value) -> Value {
    set(&mut definition, "apiVersion", "apiextensions.k8s.io/v1");
    let Some(spec) = existing(&mut definition, "spec") else { return definition };
    let only = text(spec, &["version"]).to_owned();
    if list(spec, &["versions"]).is_empty() && !only.is_empty() {
        set(spec, "versions", json!([{"name": only, "served": true, "storage": true}]));
    }
    remove(spec, "version");
    for (field, shared) in SHARED {
        let common = at(spec, &[shared]).clone();
        remove(spec, shared);
        if !common.is_null() {
            items(spec, "versions").for_each(|version| set(version, field, common.clone()));
        }
    }
    for version in items(spec, "versions") {
        for column in items(version, "additionalPrinterColumns") {
            let path = at(column, &["JSONPath"]).clone();
            if !path.is_null() {
                set(column, "jsonPath", path);
                remove(column, "JSONPath");
            }
        }
    }
    // Absent means that they are kept, as long as the version lived.
    if at(spec, &["preserveUnknownFields"]).is_null() {
        set(spec, "preserveUnknownFields", true);
    }
    if let Some(conversion) = existing(spec, "conversion") {
        for (own, former) in [
            ("clientConfig", "webhookClientConfig"),
            ("conversionReviewVersions", "conversionReviewVersions"),
        ] {
            let value = at(conversion, &[former]).clone();
            remove(conversion, former);
            if !value.is_null()
                && let Some(webhook) = child(conversion, "webhook")
            {
                set(webhook, own, value);
            }
        }
    }
    definition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revived(spec: Value) -> Value {
        revive(json!({"apiVersion": VERSION, "spec": spec}))["spec"].clone()
    }

    #[test]
    fn what_all_versions_have_in_common_goes_into_each() {
        let columns = json!([{"name": "Size", "type": "integer", "JSONPath": ".spec.size"}]);
        let found = revived(json!({
            "version": "v1", "validation": {"openAPIV3Schema": {"type": "object"}}, "subresources": {"status": {}},
            "additionalPrinterColumns": columns, "selectableFields": [{"jsonPath": ".spec.size"}],
            "versions": [{"name": "v1", "served": true, "storage": true}, {"name": "v2", "served": true}],
            "preserveUnknownFields": false,
        }));
        let version = |name: &str| {
            json!({
                "name": name, "served": true, "schema": {"openAPIV3Schema": {"type": "object"}},
                "subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".spec.size"}],
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            })
        };
        let mut first = version("v1");
        first["storage"] = json!(true);
        assert_eq!(found, json!({"versions": [first, version("v2")], "preserveUnknownFields": false}));
    }

    #[test]
    fn what_a_version_has_for_itself_stays_there() {
        let spec = json!({"versions": [
            {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}},
            {"name": "v2", "schema": {}, "additionalPrinterColumns": [{"name": "A", "JSONPath": ".a"}]},
        ]});
        let mut want = spec.clone();
        want["preserveUnknownFields"] = json!(true);
        want["versions"][1]["additionalPrinterColumns"] = json!([{"name": "A", "jsonPath": ".a"}]);
        assert_eq!(revived(spec), want);
    }

    #[test]
    fn a_conversion_by_webhook_and_the_one_version_of_old_are_understood() {
        let found = revived(json!({"version": "v1", "preserveUnknownFields": false, "conversion": {
            "strategy": "Webhook", "webhookClientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"],
        }}));
        let want = json!({
            "versions": [{"name": "v1", "served": true, "storage": true}], "preserveUnknownFields": false,
            "conversion": {"strategy": "Webhook", "webhook":
                {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]}},
        });
        assert_eq!(found, want);
    }

    #[test]
    fn nothing_of_it_needs_to_be_there() {
        for odd in
            [json!({}), json!({"spec": null}), json!({"spec": {"versions": 3, "conversion": []}}), json!([])]
        {
            revive(odd);
        }
    }
}
