//! ConfigMaps and Secrets: bags of data that pods read.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::cells;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{self, at, semantic_eq, text};
use crate::field::{FieldError, Path};
use crate::kind::{Context, NameRule, Strategy};
use crate::table::BuiltIn;
use crate::{metadata, names};

/// Bytes of all values together.
const MOST: usize = 1024 * 1024;

#[derive(Debug)]
pub struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let object = At::object(object);
        let (data, binary) = (object.get("data"), object.get("binaryData"));
        let mut errors = Errors::new();
        let mut size = 0;
        for (key, value) in data.entries() {
            errors.extend(key_errors(&value.path, key));
            if binary.has(key) {
                let detail = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(&value.path, &Value::from(key), detail));
            }
            size += value.text().len();
        }
        for (key, value) in binary.entries() {
            errors.extend(key_errors(&value.path, key));
            size += decoded_size(value.text());
        }
        if size > MOST {
            // The original's path of the whole object.
            errors.push(FieldError::too_long(&Path::new("[]"), MOST));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let mut errors = keeps_immutable(new, old, &["data", "binaryData"]);
        errors.extend(metadata::again(new, true, NameRule::Subdomain));
        errors.extend(self.validate_create(new, context));
        errors
    }
}

#[derive(Debug)]
pub struct Secret;

impl Strategy for Secret {
    /// What was written as text becomes data, and is never shown again.
    fn set_defaults(&self, object: &mut Value) {
        if let Some(texts) = object.as_object_mut().and_then(|fields| fields.remove("stringData"))
            && let Value::Object(texts) = texts
            && !texts.is_empty()
            && let Some(Value::Object(data)) = edit::child(object, "data")
        {
            for (key, value) in texts {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, STANDARD.encode(text).into());
            }
        }
        edit::default_text(object, "type", "Opaque");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        edit::default_text(new, "type", text(old, &["type"]));
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let object = At::object(object);
        let data = object.get("data");
        let mut errors = Errors::new();
        let mut size = 0;
        for (key, value) in data.entries() {
            errors.extend(key_errors(&value.path, key));
            size += decoded_size(value.text());
        }
        if size > MOST {
            errors.push(FieldError::too_long(&data.path, MOST));
        }
        errors.extend(typed(&object, &data));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let mut errors: Errors =
            metadata::immutable_text(&At::object(new).get("type"), at(old, &["type"])).into_iter().collect();
        errors.extend(keeps_immutable(new, old, &["data"]));
        errors.extend(metadata::again(new, true, NameRule::Subdomain));
        errors.extend(self.validate_create(new, context));
        errors
    }

    /// Only whether there is a certificate and a key at all: the original also reads them.
    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        if text(object, &["type"]) != "kubernetes.io/tls" {
            return Vec::new();
        }
        let pem = |key: &str| {
            let bytes = STANDARD.decode(text(object, &["data", key])).unwrap_or_default();
            bytes.windows(11).any(|window| window == b"-----BEGIN ")
        };
        match (pem("tls.crt"), pem("tls.key")) {
            (false, _) => vec!["tls: failed to find any PEM data in certificate input".to_owned()],
            (_, false) => vec!["tls: failed to find any PEM data in key input".to_owned()],
            _ => Vec::new(),
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn selected(&self, object: &Value, field: &str) -> String {
        text(object, &[field]).to_owned()
    }
}

/// What the type of a secret asks for.
fn typed(secret: &At<'_>, data: &At<'_>) -> Errors {
    let path = |key: &str| data.path.key(key);
    let missing = |key: &str| (!data.has(key)).then(|| FieldError::required(&path(key), ""));
    match secret.get("type").text() {
        "kubernetes.io/service-account-token" => {
            let annotations = secret.get("metadata").get("annotations");
            let name = "kubernetes.io/service-account.name";
            let absent = text(annotations.value, &[name]).is_empty();
            absent.then(|| FieldError::required(&annotations.path.key(name), "")).into_iter().collect()
        }
        "kubernetes.io/dockercfg" => json(data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json(data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            ["username", "password"].into_iter().filter_map(missing).collect()
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").text().is_empty() => {
            vec![FieldError::required(&path("ssh-privatekey"), "")]
        }
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter_map(missing).collect(),
        _ => Errors::new(),
    }
}

/// The value must be a JSON object. The message never shows it.
fn json(data: &At<'_>, key: &str) -> Errors {
    let path = data.path.key(key);
    if !data.has(key) {
        return vec![FieldError::required(&path, "")];
    }
    let bytes = STANDARD.decode(text(data.value, &[key])).unwrap_or_default();
    let detail = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return Errors::new(),
        Ok(other) => {
            let found = match other {
                Value::Array(_) => "array",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        }
        Err(error) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Err(error) => {
            let before = bytes.split(|byte| *byte == b'\n').take(error.line() - 1).map(|line| line.len() + 1);
            let place = before.sum::<usize>() + error.column().saturating_sub(1);
            let found = char::from(bytes.get(place).copied().unwrap_or_default());
            let where_it_is = match error.to_string().starts_with("trailing characters") {
                true => "after top-level value",
                false => "looking for beginning of value",
            };
            format!("invalid character {found:?} {where_it_is}")
        }
    };
    vec![FieldError::invalid(&path, &Value::from("<secret contents redacted>"), &detail)]
}

fn key_errors(path: &Path, key: &str) -> Errors {
    let of = |detail: String| FieldError::invalid(path, &Value::from(key), &detail);
    names::config_map_key(key).into_iter().map(of).collect()
}

/// Once `immutable`, always so, and with the same data.
fn keeps_immutable(new: &Value, old: &Value, fields: &[&str]) -> Errors {
    if at(old, &["immutable"]) != &Value::Bool(true) {
        return Errors::new();
    }
    let forbidden =
        |field: &str| FieldError::forbidden(&Path::new(field), "field is immutable when `immutable` is set");
    let mut errors = Errors::new();
    if at(new, &["immutable"]) != &Value::Bool(true) {
        errors.push(forbidden("immutable"));
    }
    let changed = fields.iter().filter(|field| !semantic_eq(at(new, &[field]), at(old, &[field])));
    errors.extend(changed.map(|field| forbidden(field)));
    errors
}

/// Bytes that a text in base64 stands for.
fn decoded_size(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|byte| *byte == b'=').count().min(2))
}

pub const CONFIG_MAP: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("Data", "string", "How many entries there are."), BuiltIn::age()];

pub fn config_map(object: &Value, now: SystemTime) -> Vec<Value> {
    let count = cells::count(at(object, &["data"])) + cells::count(at(object, &["binaryData"]));
    vec![cells::name(object), count.into(), ages::of(object, now).into()]
}

pub const SECRET: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Type", "string", "What programs may expect to find in the secret."),
    BuiltIn::new("Data", "string", "How many entries there are."),
    BuiltIn::age(),
];

pub fn secret(object: &Value, now: SystemTime) -> Vec<Value> {
    let count = cells::count(at(object, &["data"]));
    vec![cells::name(object), text(object, &["type"]).into(), count.into(), ages::of(object, now).into()]
}
