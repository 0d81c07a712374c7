//! What one file says.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use proxy_core::names::ObjectName;
use proxy_core::objects::{Kind, Object};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::object::{Decoded, Recognised, recognise};
use apiclient_core::names::{printable, quoted};
use apiclient_core::yaml::{self, YamlError};

/// Which object it is.
pub type Key = (Kind, ObjectName);

/// Everything in a file that a proxy reads.
#[derive(Debug, Default)]
pub struct Content {
    /// In the order of the file; the number tells whether the text of an object changed.
    pub objects: Vec<(Key, u64, Object)>,
    /// Objects and parts of objects that are left out.
    pub problems: Vec<String>,
    /// Kinds that a proxy has no use for, as `apps/v1 Deployment`.
    pub passed_over: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow, default)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

impl Content {
    /// Reads the documents of a file; lists are taken apart, kinds that a proxy does not read are passed over.
    ///
    /// # Errors
    /// A document that is neither YAML nor JSON: then nothing of the file counts, since it may be half written.
    pub fn read(text: &str) -> Result<Self, YamlError> {
        let mut content = Self::default();
        for (line, text) in yaml::documents(text) {
            let json: Cow<'_, str> = match text.trim_start().starts_with('{') && is_json(text) {
                true => Cow::Borrowed(text),
                false => Cow::Owned(yaml::value(line, text)?.to_string()),
            };
            match serde_json::from_str::<Document<'_>>(&json) {
                Ok(document) => content.document(line, &document, &json, None),
                Err(error) => content.problems.push(format!("line {line}: this is no object: {error}")),
            }
        }
        Ok(content)
    }

    fn document(&mut self, line: usize, document: &Document<'_>, json: &str, list: Option<(&str, &str)>) {
        let kind = document.kind.as_deref().or(list.map(|(kind, _)| kind)).unwrap_or_default();
        let api_version =
            document.api_version.as_deref().or(list.map(|(_, version)| version)).unwrap_or_default();
        if let (Some(of), Some(items)) = (kind.strip_suffix("List"), &document.items) {
            for item in items {
                match serde_json::from_str::<Document<'_>>(item.get()) {
                    Ok(inner) => self.document(line, &inner, item.get(), Some((of, api_version))),
                    Err(error) => {
                        self.problems.push(format!("line {line}: an item of this list is no object: {error}"))
                    }
                }
            }
            return;
        }
        match recognise(kind, api_version) {
            Recognised::Ours(kind) => self.object(kind, json),
            Recognised::Other => {
                _ = self.passed_over.insert(format!("{} {}", shown(api_version), shown(kind)))
            }
            Recognised::Mistaken(problem) => {
                self.problems.push(format!("line {line}: {}left out: {problem}", named(json)));
            }
        }
    }

    fn object(&mut self, kind: Kind, json: &str) {
        let mut found = Decoded::from(kind.decode(json.as_bytes()));
        let named = matches!(kind, Kind::Service | Kind::EndpointSlice);
        if named && found.object.is_none() && is_without_namespace(json) {
            // kubectl would have put it there.
            found = Decoded::from(kind.decode(in_default_namespace(json).as_bytes()));
        }
        self.problems.append(&mut found.problems);
        if let Some(object) = found.object {
            let mut hasher = DefaultHasher::new();
            json.hash(&mut hasher);
            self.objects.push(((kind, object.name()), hasher.finish(), object));
        }
    }
}

/// As a message may hold it, and not empty.
fn shown(word: &str) -> String {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte)) && !word.is_empty() {
        word.to_owned()
    } else {
        quoted(word)
    }
}

/// The name of whatever object, for a message.
fn named(json: &str) -> String {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    match value["metadata"]["name"].as_str() {
        Some(name) => format!("{}: ", printable(name)),
        None => String::new(),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn is_without_namespace(json: &str) -> bool {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    value["metadata"].is_object() && value["metadata"]["namespace"].is_null()
}

fn in_default_namespace(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap_or_default();
    if value["metadata"].is_object() {
        value["metadata"]["namespace"] = Value::from("default");
    }
    value.to_string()
}
