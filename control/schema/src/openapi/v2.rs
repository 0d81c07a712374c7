//! OpenAPI v2 (Swagger): one document for everything, made of those of v3.

use serde_json::{Map, Value, json};

/// The document of all versions of all groups, made of their v3 documents.
pub fn document<'a>(v3: impl IntoIterator<Item = &'a Value>, version: &str) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in v3 {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            paths.insert(path.clone(), path_item(item));
        }
        // Only documents of built-in kinds say how clients show who they are.
        let defined = document["components"]["securitySchemes"].is_null();
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let mut schema = if defined { converted(&of_defined_kind(schema)) } else { converted(schema) };
            if let Some(before) = definitions.get(name) {
                merge_kinds(before, &mut schema);
            }
            definitions.insert(name.clone(), schema);
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

const KINDS: &str = "x-kubernetes-group-version-kind";
const SELECTABLE: &str = "x-kubernetes-selectable-fields";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// A schema that several groups share is of the kinds of all of them.
fn merge_kinds(before: &Value, schema: &mut Value) {
    let (Some(Value::Array(before)), Some(now)) =
        (before.get(KINDS), schema.get(KINDS).and_then(Value::as_array))
    else {
        return;
    };
    let mut all = before.clone();
    all.extend(now.iter().filter(|kind| !before.contains(kind)).cloned());
    all.sort_by_key(Value::to_string);
    schema[KINDS] = Value::Array(all);
}

/// A schema of a defined kind without what kubectl cannot take in v2 (facts: apiextensions' `controller/openapi/v2`).
fn of_defined_kind(schema: &Value) -> Value {
    if schema[PRESERVE] == true {
        // With any field beside it, kubectl refuses those that are not named.
        let mut all = json!({"type": "object"});
        for name in [KINDS, SELECTABLE] {
            if let Some(said) = schema.get(name) {
                all[name] = said.clone();
            }
        }
        return all;
    }
    let mut schema = schema.clone();
    simplify(&mut schema);
    schema
}

fn simplify(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    let is_nullable = |of: &Value| of["nullable"] == true;
    let refers = members.get("allOf").is_some_and(|all| all[0].get("$ref").is_some());
    for junctor in ["allOf", "oneOf", "anyOf", "not"] {
        if junctor != "allOf" || !refers {
            members.remove(junctor);
        }
    }
    let nullable = members.remove("nullable") == Some(Value::Bool(true));
    let open = members.get(PRESERVE) == Some(&Value::Bool(true));
    if nullable || open {
        members.remove("items");
        members.remove("properties");
    }
    let of = members.get("type").and_then(Value::as_str).unwrap_or_default();
    if nullable || of == "array" && !members.contains_key("items") || open && of == "object" {
        members.remove("type");
    }
    let properties = members.get("properties").and_then(Value::as_object);
    let nullables: Vec<String> = properties
        .into_iter()
        .flatten()
        .filter(|(_, own)| is_nullable(own))
        .map(|(name, _)| name.clone())
        .collect();
    let no_required = members.get("additionalProperties").is_some_and(is_nullable);
    if let Some(Value::Array(required)) = members.get_mut("required") {
        required.retain(|name| !no_required && !nullables.iter().any(|own| name == own));
        if required.is_empty() {
            members.remove("required");
        }
    }
    for name in ["items", "additionalProperties"] {
        members.get_mut(name).into_iter().for_each(simplify);
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
}

/// A schema in the words of v2.
fn converted(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            // A reference stands alone.
            let reference = members.get("$ref").or_else(|| members.get("allOf")?.get(0)?.get("$ref"));
            let mut out = Map::new();
            for (name, value) in members {
                match name.as_str() {
                    "$ref" | "allOf" if reference.is_some() => {}
                    "default" | "enum" if name == "default" && reference.is_some() => {}
                    "oneOf" => {
                        out.insert("type".to_owned(), json!("string"));
                    }
                    "nullable" => {}
                    _ => {
                        out.insert(name.clone(), converted(value));
                    }
                }
            }
            if let Some(reference) = reference.and_then(Value::as_str) {
                out.insert(
                    "$ref".to_owned(),
                    reference.replace("#/components/schemas/", "#/definitions/").into(),
                );
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(converted).collect()),
        other => other.clone(),
    }
}

fn parameter(of: &Value) -> Value {
    let mut out = of.clone();
    if let Some(out) = out.as_object_mut()
        && let Some(Value::Object(schema)) = out.remove("schema")
    {
        out.extend(schema);
    }
    out
}

fn parameters(of: &Value) -> Vec<Value> {
    of.as_array().into_iter().flatten().map(parameter).collect()
}

fn path_item(item: &Value) -> Value {
    let mut out = Map::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        let value = if name == "parameters" { Value::Array(parameters(value)) } else { operation(value) };
        out.insert(name.clone(), value);
    }
    Value::Object(out)
}

fn types(content: &Value) -> Vec<Value> {
    content.as_object().into_iter().flat_map(Map::keys).map(|name| name.as_str().into()).collect()
}

fn schema_of(content: &Value) -> Option<Value> {
    let (_, of) = content.as_object()?.iter().next()?;
    Some(converted(&of["schema"]))
}

fn operation(of: &Value) -> Value {
    let mut out = of.clone();
    let Some(members) = out.as_object_mut() else { return out };
    let mut all = parameters(&of["parameters"]);
    members.insert("consumes".to_owned(), json!(["*/*"]));
    if let Some(body) = members.remove("requestBody") {
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema_of(&body["content"])});
        if body["required"] == true {
            parameter["required"] = json!(true);
        }
        all.insert(0, parameter);
        if body["content"].get("*/*").is_none() {
            members.insert("consumes".to_owned(), Value::Array(types(&body["content"])));
        }
    }
    if !all.is_empty() {
        members.insert("parameters".to_owned(), Value::Array(all));
    }
    members.insert("schemes".to_owned(), json!(["https"]));
    let mut responses = Map::new();
    for (code, response) in of["responses"].as_object().into_iter().flatten() {
        let mut one = json!({"description": if code == "401" { "Unauthorized" } else { "OK" }});
        if let Some(schema) = schema_of(&response["content"]) {
            one["schema"] = schema;
            members.entry("produces").or_insert_with(|| Value::Array(types(&response["content"])));
        }
        responses.insert(code.clone(), one);
    }
    members.insert("responses".to_owned(), Value::Object(responses));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defined_kind_has_in_v2_what_kubectl_can_take() {
        let kinds = json!([{"group": "example.com", "version": "v1", "kind": "Thing"}]);
        let open = json!({
            "type": "object", "description": "d", "properties": {"a": {"type": "string"}}, KINDS: kinds, PRESERVE: true,
        });
        let spec = json!({
            "type": "object",
            "required": ["name", "none"],
            "properties": {
                "name": {"type": "string", "anyOf": [{"pattern": "a"}], "not": {"enum": ["b"]}},
                "none": {"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}},
                "any": {"type": "object", PRESERVE: true, "properties": {"a": {"type": "string"}}},
                "list": {"type": "array", "nullable": true, "items": {"type": "string"}},
                "free": {"type": "array", PRESERVE: true, "items": {"type": "string"}},
                "map": {"type": "object", "additionalProperties": {"type": "array", "items": {"oneOf": [{}]}}},
            },
        });
        let v3 = json!({"components": {"schemas": {
            "open": open,
            "closed": {"type": "object", "properties": {"metadata": {"allOf": [{"$ref": "#/components/schemas/M"}]}, "spec": spec}},
        }}});
        let v2 = document([&v3], "1.36");
        assert_eq!(v2["definitions"]["open"], json!({"type": "object", KINDS: kinds}));
        let want = json!({"metadata": {"$ref": "#/definitions/M"}, "spec": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "none": {},
                "any": {PRESERVE: true},
                "list": {},
                "free": {PRESERVE: true},
                "map": {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
            },
        }});
        assert_eq!(v2["definitions"]["closed"]["properties"], want);
    }
}
