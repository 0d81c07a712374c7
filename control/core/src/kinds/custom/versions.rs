//! What the versions of a definition must be.
//!
//! What is the same in all versions stands once in the original's internal form, as `spec.validation`,
//! `spec.subresources` and `spec.additionalPrinterColumns`; the rest stays in its version. Errors name those places.

use control_schema::crd::structural;
use serde_json::Value;

use super::strategy;
use crate::at::{At, Errors};
use crate::edit::remove;
use crate::field::{FieldError, Path};
use crate::internal;
use crate::names::dns1035_label;

/// Parts of a version, and what the spec calls them where they are the same in all.
const PARTS: [(&str, &str); 4] = [
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// Whether a part is the same in all versions.
fn is_common(versions: &At<'_>, part: &str) -> bool {
    let first = versions.items().next();
    first.is_some_and(|first| versions.items().all(|one| one.get(part).value == first.get(part).value))
}

/// Everything but what is common to all versions. `old`: the versions before an update.
pub(super) fn validate(versions: &At<'_>, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    for version in versions.items() {
        let schema = version.get("schema").get("openAPIV3Schema");
        if schema.is_absent() {
            errors.push(schema.required(""));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    let own = |part: &str| !is_common(versions, part);
    for version in versions.items() {
        let name = version.get("name");
        let problems = dns1035_label(name.text());
        if !problems.is_empty() {
            errors.push(name.invalid_text(&problems.join(",")));
        }
        seen.push(name.text());
        errors.extend(deprecation(&version));
        if own("schema") {
            let of = &version.get("schema").get("openAPIV3Schema");
            errors.extend(schema(of, has_status(&version), had_schema(old, &version)));
        }
        if own("subresources") {
            errors.extend(subresources(&version.get("subresources")));
        }
        if own("additionalPrinterColumns") {
            errors.extend(columns(&version.get("additionalPrinterColumns")));
        }
        if own("selectableFields") {
            let schema = own("schema").then(|| version.get("schema").get("openAPIV3Schema").value);
            let without = "may only be set when `version.schema.openAPIV3Schema` is not included";
            errors.extend(selectable_fields(&version.get("selectableFields"), schema, without));
        }
    }
    seen.sort_unstable();
    let whole = |problem: &str| FieldError::invalid_shown(&versions.path, &shown_versions(versions), problem);
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.push(whole("must contain unique version names"));
    }
    let stored = versions.items().filter(|version| version.get("storage").is_true()).count();
    if stored != 1 {
        errors.push(whole("must have exactly one version marked as storage version"));
    }
    // The first version is the definition's own, as it was when there was one only.
    if let Some(first) = versions.items().next().map(|version| version.get("name"))
        && !first.text().is_empty()
    {
        let problems = dns1035_label(first.text());
        let at = Path::new("spec").child("version");
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&at, first.value, &problems.join(",")));
        }
    }
    errors
}

/// What is common to all versions. `old`: the versions before an update.
pub(super) fn validate_common(spec: &At<'_>, old: Option<&Value>) -> Errors {
    let versions = spec.get("versions");
    let Some(first) = versions.items().next() else { return Errors::new() };
    let mut errors = Errors::new();
    for (part, place) in PARTS.into_iter().filter(|(part, _)| is_common(&versions, part)) {
        let common = At::new(first.get(part).value, spec.path.child(place));
        match part {
            "schema" => {
                let status = versions.items().any(|version| has_status(&version));
                let of = common.get("openAPIV3Schema");
                errors.extend(schema(&of, status, had_schema(old, &first)));
            }
            "subresources" => errors.extend(subresources(&common)),
            "additionalPrinterColumns" => errors.extend(columns(&common)),
            "selectableFields" => {
                let schema = is_common(&versions, "schema");
                let schema = schema.then(|| first.get("schema").get("openAPIV3Schema").value);
                let without = "may only be set when validations.schema is included";
                errors.extend(selectable_fields(&common, schema, without));
            }
            _ => {}
        }
    }
    errors
}

fn has_status(version: &At<'_>) -> bool {
    version.get("subresources").has("status")
}

fn schema(schema: &At<'_>, status: bool, unchanged: bool) -> Errors {
    if schema.is_absent() {
        return Errors::new();
    }
    let causes = structural::check(&schema.path.to_string(), schema.value, status, unchanged);
    causes.iter().map(strategy::error).collect()
}

/// Whether the version had the same schema before.
fn had_schema(old: Option<&Value>, version: &At<'_>) -> bool {
    let mut old = old.and_then(Value::as_array).into_iter().flatten();
    let name = version.get("name");
    old.any(|old| {
        old.get("name") == Some(name.value) && old.get("schema") == Some(version.get("schema").value)
    })
}

fn deprecation(version: &At<'_>) -> Errors {
    let warning = version.get("deprecationWarning");
    let mut errors = Errors::new();
    if warning.is_absent() {
        return errors;
    }
    if !version.get("deprecated").is_true() {
        return vec![warning.invalid("can only be set for deprecated versions")];
    }
    if warning.text().len() > 256 {
        errors.push(warning.invalid("must be <= 256 characters long"));
    }
    if warning.text().is_empty() {
        errors.push(warning.invalid("must not be an empty string"));
    }
    if let Some((place, _)) = warning.text().char_indices().find(|(_, letter)| letter.is_control()) {
        let problem = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {place}"
        );
        errors.push(warning.invalid(&problem));
    }
    errors
}

fn columns(columns: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for column in columns.items() {
        let (name, of, format) = (column.get("name"), column.get("type"), column.get("format"));
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        match of.text() {
            "" => errors.push(of.required(&types)),
            text if COLUMN_TYPES.contains(&text) => {}
            _ => errors.push(of.invalid_text(&types)),
        }
        if !format.text().is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
            errors.push(format.invalid_text(&format!("must be one of {}", COLUMN_FORMATS.join(","))));
        }
        let path = At::new(column.get("jsonPath").value, column.path.child("JSONPath"));
        match path.text() {
            "" => errors.push(path.required("")),
            _ => errors.extend(simple_path(&path)),
        }
    }
    errors
}

/// How many fields may be selected by.
const MOST_FIELDS: usize = 8;

/// The fields stand where the original has them, and their schema must stand there too: `without` says that it does not.
fn selectable_fields(fields: &At<'_>, schema: Option<&Value>, without: &str) -> Errors {
    let mut errors = Errors::new();
    if fields.items().next().is_none() {
        return errors;
    }
    let Some(schema) = schema else {
        return vec![FieldError::invalid(&fields.path, &"".into(), without)];
    };
    let mut seen: Vec<&str> = Vec::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if path.text().is_empty() {
            errors.push(path.required(""));
            continue;
        }
        let found = match path.text().strip_prefix('.') {
            Some(names) => names.split('.').try_fold(schema, |schema, name| {
                schema
                    .get("properties")
                    .and_then(|all| all.get(name))
                    .ok_or("does not refer to a valid field")
            }),
            None => Err("expected [ or ."),
        };
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                errors.push(path.invalid_text(&format!("is an invalid path: {why}")));
                continue;
            }
        };
        if path.text().starts_with(".metadata.") || path.text() == ".metadata" {
            errors.push(path.invalid_text("must not point to fields in metadata"));
        }
        if !matches!(found.get("type").and_then(Value::as_str), Some("string" | "boolean" | "integer")) {
            errors.push(path.invalid_text(
                "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                 formats are allowed.",
            ));
        }
        match seen.contains(&path.text()) {
            true => errors.push(FieldError::duplicate(&path.path, path.value)),
            false => seen.push(path.text()),
        }
    }
    if seen.len() > MOST_FIELDS {
        errors.push(FieldError::too_many(&fields.path, seen.len(), MOST_FIELDS));
    }
    errors
}

fn simple_path(path: &At<'_>) -> Option<FieldError> {
    (!path.text().starts_with('.')).then(|| path.invalid_text("must be a simple json path starting with ."))
}

fn subresources(subresources: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let scale = subresources.get("scale");
    if scale.is_absent() {
        return errors;
    }
    for (field, below) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let path = scale.get(field);
        if path.text().is_empty() {
            errors.push(path.required(""));
        } else if let Some(error) = simple_path(&path) {
            errors.push(error);
        } else if !path.text().starts_with(&format!("{below}.")) {
            errors.push(path.invalid_text(&format!("should be a json path under {below}")));
        }
    }
    let selector = scale.get("labelSelectorPath");
    if !selector.text().is_empty() {
        let is_below = [".spec.", ".status."].iter().any(|below| selector.text().starts_with(below));
        if let Some(error) = simple_path(&selector) {
            errors.push(error);
        } else if !is_below {
            errors.push(selector.invalid_text("should be a json path under either .spec or .status"));
        }
    }
    errors
}

/// The versions as the original's internal structs show them: without what they have in common.
fn shown_versions(versions: &At<'_>) -> String {
    let mut own = versions.value.clone();
    for part in ["schema", "subresources", "additionalPrinterColumns", "selectableFields"] {
        if is_common(versions, part) {
            own.as_array_mut().into_iter().flatten().for_each(|version| remove(version, part));
        }
    }
    internal::compact_list("apiextensions.CustomResourceDefinitionVersion", &own)
}
