//! Bodies and answers: schemas by the types of their contents.

use serde_json::{Map, Value, json};

pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(super) fn content(types: &[&str], schema: &Value) -> Value {
    Value::Object(types.iter().map(|of| ((*of).to_owned(), json!({"schema": schema}))).collect())
}

pub(super) fn objects(schema: &Value) -> Value {
    content(&[JSON, PROTOBUF, "application/yaml"], schema)
}

pub(super) fn streams(schema: &Value) -> Value {
    let watches = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
    content(&[JSON, PROTOBUF, "application/yaml", watches[0], watches[1]], schema)
}

pub(super) fn responses(codes: &[&str], content: &Value) -> Value {
    let mut all: Map<String, Value> =
        codes.iter().map(|code| ((*code).to_owned(), json!({"content": content}))).collect();
    all.insert("401".to_owned(), json!({}));
    Value::Object(all)
}
