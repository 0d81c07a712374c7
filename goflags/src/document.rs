//! A configuration file as an already parsed value, read against the table of fields.
//!
//! Kubernetes' components read an unknown field twice: strictly, then, after a line in the log, as if it were not there.
//! Here that holds for the fields that a kind once had ([`Former`]); any other is an error: a misspelt field is a setting
//! that somebody believes in.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::nearest;
use crate::table::{Field, File, Former, Program};

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The fields that it sets, by path. Those it leaves out, or sets to null or to a zero that means the default, are
    /// not among them.
    pub set: BTreeMap<&'static str, Value>,
    /// One sentence for each field that there once was.
    pub former: Vec<String>,
}

/// Reads the one document of a file.
pub(crate) fn read(
    program: &Program,
    file: &File,
    path: &Path,
    documents: Vec<Value>,
) -> Result<Content, Error> {
    let wrong = |reason: String| Error::File { kind: file.kind, path: path.to_owned(), reason };
    let mut documents = documents.into_iter();
    let (Some(document), None) = (documents.next(), documents.next()) else {
        return Err(wrong("want exactly one document".into()));
    };
    let Value::Object(mut top) = document else {
        return Err(wrong("want a map of fields".into()));
    };
    for (field, want) in [("apiVersion", file.api_version), ("kind", file.kind)] {
        match top.remove(field) {
            Some(Value::String(found)) if found == want => {}
            Some(found) => return Err(wrong(format!("{field} is {found}, want {want}"))),
            None => return Err(wrong(format!("it has no {field}, want {want}"))),
        }
    }
    let mut reader = Reader { program, file, path, content: Content::default() };
    reader.section("", &top)?;
    Ok(reader.content)
}

struct Reader<'a> {
    program: &'a Program,
    file: &'a File,
    path: &'a Path,
    content: Content,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, fields: &Map<String, Value>) -> Result<(), Error> {
        for (name, value) in fields {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let origin = format!("{}: {path}", self.path.display());
            let refuse = |expected: &str| Error::Value {
                origin: origin.clone(),
                value: value.to_string(),
                expected: expected.to_owned(),
            };
            if let Some(field) = self.program.field(&path) {
                if value.is_null() {
                    continue;
                }
                let value = field.kind.from_file(value).ok_or_else(|| refuse(field.kind.expected()))?;
                if !(field.zero_is_default && value == field.kind.empty()) {
                    self.content.set.insert(field.path, value);
                }
            } else if self.program.is_section(&path) {
                match value {
                    Value::Null => {}
                    Value::Object(fields) => self.section(&path, fields)?,
                    _ => return Err(refuse("want a map of fields")),
                }
            } else if let Some(former) = self.file.former.iter().find(|former| former.path == path) {
                let Former { until, instead, .. } = former;
                let original = self.program.name;
                self.content
                    .former
                    .push(format!("{origin} has no effect: {original} had it until {until}; {instead}"));
            } else {
                let nearest = nearest_field(self.file.fields, prefix, name);
                return Err(Error::UnknownField { path: self.path.to_owned(), field: path, nearest });
            }
        }
        Ok(())
    }
}

/// A field of the same section first, then any field that ends like it.
fn nearest_field(fields: &'static [Field], prefix: &str, name: &str) -> Option<&'static str> {
    let last =
        |path: &'static str| path.rsplit_once('.').map_or(("", path), |(section, last)| (section, last));
    let here = fields.iter().map(|field| field.path).filter(|path| last(path).0 == prefix);
    let found = nearest(name, here.clone().map(|path| last(path).1));
    if let Some(found) = found {
        return here.clone().find(|path| last(path).1 == found);
    }
    let found = nearest(name, fields.iter().map(|field| last(field.path).1))?;
    fields.iter().map(|field| field.path).find(|path| last(path).1 == found)
}

/// The whole document from a value for each field, as the API's objects are written.
pub(crate) fn write(file: &File, value: impl Fn(&'static str) -> Value) -> Value {
    let mut top = json!({ "apiVersion": file.api_version, "kind": file.kind });
    for field in file.fields {
        let mut place = &mut top;
        for name in field.path.split('.') {
            // Indexing an object by a name that it lacks makes the place, and turns null into an object.
            place = &mut place[name];
        }
        *place = value(field.path);
    }
    top
}
