//! The configuration file: KubeProxyConfiguration v1alpha1 in YAML or JSON, read against the table of fields.
//!
//! kube-proxy reads an unknown field twice: strictly, then, after a line in the log, as if it were not there. Here that
//! holds for the fields that kube-proxy once had ([`fields::FORMER`]); any other is an error: a misspelt field is a
//! setting that somebody believes in.

use std::collections::BTreeMap;
use std::path::Path;

use goflags::nearest;
use serde_json::{Map, Value, json};

use super::error::OptionsError;
use super::fields::{self, API_VERSION, FIELDS, KIND};
use apiclient_core::yaml;

/// What a file says.
#[derive(Debug, Default)]
pub struct Content {
    /// The fields that it sets, by path. Those it leaves out, or sets to null or to a zero that means the default, are
    /// not among them.
    pub set: BTreeMap<&'static str, Value>,
    /// One sentence for each field that kube-proxy once had.
    pub former: Vec<String>,
}

pub fn read(path: &Path, text: &str) -> Result<Content, OptionsError> {
    let wrong = |reason: String| OptionsError::File { path: path.to_owned(), reason };
    let mut documents = yaml::values(text).map_err(|error| wrong(error.to_string()))?.into_iter();
    let (Some(document), None) = (documents.next(), documents.next()) else {
        return Err(wrong("want exactly one document".into()));
    };
    let Value::Object(mut top) = document else {
        return Err(wrong("want a map of fields".into()));
    };
    for (field, want) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match top.remove(field) {
            Some(Value::String(found)) if found == want => {}
            Some(found) => return Err(wrong(format!("{field} is {found}, want {want}"))),
            None => return Err(wrong(format!("it has no {field}, want {want}"))),
        }
    }
    let mut found = Content::default();
    section(path, "", &top, &mut found)?;
    Ok(found)
}

fn section(
    file: &Path,
    prefix: &str,
    fields: &Map<String, Value>,
    found: &mut Content,
) -> Result<(), OptionsError> {
    for (name, value) in fields {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let origin = || format!("{}: {path}", file.display());
        let refuse = |expected: &str| OptionsError::Value {
            origin: origin(),
            value: value.to_string(),
            expected: expected.to_owned(),
        };
        if let Some(field) = fields::find(&path) {
            if value.is_null() {
                continue;
            }
            let value = field.kind.from_file(value).ok_or_else(|| refuse(field.kind.expected()))?;
            if !(field.zero_is_default && value == field.kind.empty()) {
                found.set.insert(field.path, value);
            }
        } else if fields::is_section(&path) {
            match value {
                Value::Null => {}
                Value::Object(fields) => section(file, &path, fields, found)?,
                _ => return Err(refuse("want a map of fields")),
            }
        } else if let Some(former) = fields::FORMER.iter().find(|former| former.path == path) {
            found.former.push(format!(
                "{} has no effect: kube-proxy had it until {}; {}",
                origin(),
                former.until,
                former.instead
            ));
        } else {
            let nearest = nearest_field(prefix, name);
            return Err(OptionsError::UnknownField { path: file.to_owned(), field: path, nearest });
        }
    }
    Ok(())
}

/// A field of the same section first, then any field that ends like it.
fn nearest_field(prefix: &str, name: &str) -> Option<&'static str> {
    let last =
        |path: &'static str| path.rsplit_once('.').map_or(("", path), |(section, last)| (section, last));
    let here = FIELDS.iter().map(|field| field.path).filter(|path| last(path).0 == prefix);
    let found = nearest(name, here.clone().map(|path| last(path).1));
    if let Some(found) = found {
        return here.clone().find(|path| last(path).1 == found);
    }
    let found = nearest(name, FIELDS.iter().map(|field| last(field.path).1))?;
    FIELDS.iter().map(|field| field.path).find(|path| last(path).1 == found)
}

/// The whole document from a value for each field, as the API's objects are written.
pub fn document(value: impl Fn(&'static str) -> Value) -> Value {
    let mut top = json!({ "apiVersion": API_VERSION, "kind": KIND });
    for field in FIELDS {
        let mut place = &mut top;
        for name in field.path.split('.') {
            // Indexing an object by a name that it lacks makes the place, and turns null into an object.
            place = &mut place[name];
        }
        *place = value(field.path);
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(text: &str) -> Result<Content, OptionsError> {
        read(Path::new("/c.yaml"), &format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{text}"))
    }

    fn parse(text: &str) -> Result<BTreeMap<&'static str, Value>, OptionsError> {
        parse_all(text).map(|content| content.set)
    }

    #[test]
    fn a_field_that_kube_proxy_once_had_is_said_and_costs_nothing_else() {
        let text = "udpIdleTimeout: 250ms\nconntrack:\n  max: 5\n  min: 7\nlogging:\n  sanitization: true\nmode: iptables";
        let found = parse_all(text).expect("legal");
        assert_eq!(found.set.keys().copied().collect::<Vec<_>>(), ["conntrack.min", "mode"]);
        let mut said = found.former;
        said.sort();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].starts_with("/c.yaml: conntrack.max has no effect: kube-proxy had it until "),
            "{said:?}"
        );
        let error = parse("udpIdleTimeouts: 1s").expect_err("never a field").to_string();
        assert!(error.contains("unknown field udpIdleTimeouts"), "{error}");
    }

    #[test]
    fn reads_every_field_of_what_it_writes() {
        let document = document(|path| {
            fields::find(path)
                .map_or(Value::Null, |field| field.kind.from_text(field.default).unwrap_or_default())
        });
        for text in [document.to_string(), yaml::write(&document).expect("YAML")] {
            let found = read(Path::new("/c"), &text).expect("our own document").set;
            assert_eq!(found.len() + skipped(), FIELDS.len(), "{text}");
        }
    }

    /// Fields whose default is the zero that means the default.
    fn skipped() -> usize {
        let zero = |field: &&fields::Field| {
            field.zero_is_default && field.kind.from_text(field.default) == Some(field.kind.empty())
        };
        FIELDS.iter().filter(zero).count()
    }

    #[test]
    fn names_what_it_does_not_know() {
        for (text, message) in [
            ("mod: iptables", "/c.yaml: unknown field mod; did you mean mode?"),
            (
                "iptables:\n  syncperiod: 1s",
                "/c.yaml: unknown field iptables.syncperiod; did you mean iptables.syncPeriod?",
            ),
            (
                "masqueradeBit: 3",
                "/c.yaml: unknown field masqueradeBit; did you mean iptables.masqueradeBit?",
            ),
            ("frobnicate: 3", "/c.yaml: unknown field frobnicate"),
            ("mode: 3", "/c.yaml: mode=\"3\": want text"),
            ("iptables: 3", "/c.yaml: iptables=\"3\": want a map of fields"),
            ("iptables:\n  syncPeriod: 30", "want a duration such as 30s"),
            ("conntrack:\n  udpTimeout: -1s", "not negative"),
            ("mode: a\nmode: b", "duplicate"),
            ("mode: [", "/c.yaml is no KubeProxyConfiguration"),
            ("---\nmode: a", "want exactly one document"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
        let error =
            read(Path::new("/c"), "kind: KubeProxyConfiguration").expect_err("no version").to_string();
        assert!(error.contains("it has no apiVersion, want kubeproxy.config.k8s.io/v1alpha1"), "{error}");
    }

    #[test]
    fn zero_and_null_mean_the_default_where_they_do_in_the_original() {
        let found =
            parse("iptables:\n  syncPeriod: 0s\n  masqueradeBit: 0\nconntrack:\n  min: null\nmode: ''")
                .expect("legal");
        assert_eq!(found.get("iptables.masqueradeBit"), Some(&json!(0)));
        assert_eq!(found.get("mode"), Some(&json!("")));
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
