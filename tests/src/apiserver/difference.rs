//! Where two values differ, and which differences are meant.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

/// One place where ours and the original's differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `body/metadata/name`.
    pub place: String,
    /// None: the place is not there.
    pub original: Option<Value>,
    pub ours: Option<Value>,
}

/// All places that differ, in order.
pub fn compare(original: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", Some(original), Some(ours), &mut found);
    found
}

fn walk(place: &str, original: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    if original == ours {
        return;
    }
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
    match (original, ours) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let more = b.keys().filter(|name| !a.contains_key(*name));
            for name in a.keys().chain(more) {
                walk(&below(name), a.get(name), b.get(name), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if named(a).is_some() && named(b).is_some() => {
            let (left, right) = (named(a).unwrap_or_default(), named(b).unwrap_or_default());
            // Each with its namesake, so that one that is missing does not shift all others.
            if left.keys().eq(right.keys()) {
                let order = |items: &[Value]| Value::from(items.iter().filter_map(name).collect::<Vec<_>>());
                walk(&below("(order)"), Some(&order(a)), Some(&order(b)), found);
            }
            let more = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(more) {
                walk(&below(name), left.get(name).copied(), right.get(name).copied(), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for nth in 0..a.len().max(b.len()) {
                walk(&below(&nth.to_string()), a.get(nth), b.get(nth), found);
            }
        }
        _ => found.push(Difference {
            place: place.to_owned(),
            original: original.cloned(),
            ours: ours.cloned(),
        }),
    }
}

/// What tells an item of a list from the others.
fn name(item: &Value) -> Option<String> {
    const FIELDS: [&str; 6] =
        ["/metadata/name", "/resource", "/subresource", "/groupVersion", "/version", "/name"];
    // Of a list of paths.
    if let Some(path) = item.as_str().filter(|text| text.starts_with('/')) {
        return Some(path.replace('/', " "));
    }
    let fields = FIELDS.iter().filter_map(|field| item.pointer(field)?.as_str());
    let named = |name: &str| name.replace('/', " ");
    fields.map(named).next()
}

/// A list by the names of its items; None where one has no name, or two have the same.
fn named(items: &[Value]) -> Option<BTreeMap<String, &Value>> {
    let by_name: BTreeMap<_, _> =
        items.iter().map(|item| Some((name(item)?, item))).collect::<Option<_>>()?;
    (by_name.len() == items.len() && items.len() > 1).then_some(by_name)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(nothing)".to_owned(), short);
        let (original, ours) = (shown(&self.original), shown(&self.ours));
        if original.len() + ours.len() < 90 {
            return write!(f, "{}: original {original}, ours {ours}", self.place);
        }
        write!(f, "{}:\n        original {original}\n        ours     {ours}", self.place)
    }
}

fn short(value: &Value) -> String {
    const MOST: usize = 400;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A difference that is meant.
#[derive(Debug)]
pub struct Meant {
    /// Theme and step: `ConfigMap: a watch ends`.
    step: Regex,
    place: Regex,
    /// Both texts are the same where what matches this is taken for one.
    apart_from: Option<Regex>,
    pub why: String,
    seen: Cell<bool>,
}

/// All that are meant, from the one file that lists them.
#[derive(Debug)]
pub struct Allowed(Vec<Meant>);

impl Allowed {
    /// Reads `tests/apiserver/differences.yaml`.
    ///
    /// # Panics
    /// It is not as it should be: with the entry.
    pub fn read() -> Self {
        Self::read_of("apiserver")
    }

    /// Reads `differences.yaml` of this folder of `tests`.
    ///
    /// # Panics
    /// As [`Allowed::read`].
    pub fn read_of(folder: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("differences.yaml");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
        let entries =
            documents.into_iter().flat_map(|document| document.as_array().cloned().unwrap_or_default());
        Self(entries.map(|entry| Meant::read(&entry)).collect())
    }

    /// Whether a difference is meant.
    pub fn holds(&self, step: &str, difference: &Difference) -> bool {
        let found = self.0.iter().find(|meant| {
            meant.step.is_match(step) && meant.place.is_match(&difference.place) && meant.is_all(difference)
        });
        if let Some(meant) = found {
            meant.seen.set(true);
        }
        found.is_some()
    }

    /// What is listed, and does not differ any more.
    pub fn unseen(&self) -> Vec<String> {
        let unseen = self.0.iter().filter(|meant| !meant.seen.get());
        unseen.map(|meant| format!("{} at {}: {}", meant.step, meant.place, meant.why)).collect()
    }
}

impl Meant {
    fn read(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().unwrap_or_else(|| panic!("no {name} in {entry}"));
        let regex = |name: &str| {
            Regex::new(&format!("^(?:{})$", text(name))).unwrap_or_else(|error| panic!("{error}"))
        };
        Self {
            step: regex("step"),
            place: regex("place"),
            apart_from: entry["apart_from"]
                .as_str()
                .map(|text| Regex::new(text).unwrap_or_else(|error| panic!("{error}"))),
            why: text("why").to_owned(),
            seen: Cell::new(false),
        }
    }

    /// Whether the values differ in nothing else than they may.
    fn is_all(&self, difference: &Difference) -> bool {
        let text =
            |value: &Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts = [text(&difference.original), text(&difference.ours)];
        let Some(regex) = &self.apart_from else { return true };
        let [original, ours] = texts.each_ref().map(|text| regex.replace_all(text, "~"));
        original == ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_meant_may_be_said_of_a_part_of_a_text() {
        let differs = |original: &str, ours: &str| Difference {
            place: "message".to_owned(),
            original: Some(original.into()),
            ours: Some(ours.into()),
        };
        let entry = |rest: Value| {
            let mut entry = json!({"step": ".*", "place": "message", "why": "so"});
            entry.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            Meant::read(&entry)
        };
        let empty = entry(json!({"apart_from": r"null|\{\}"}));
        assert!(empty.is_all(&differs("a: {}", "a: null")));
        assert!(!empty.is_all(&differs("a: {}", "b: null")));
        assert!(entry(json!({})).is_all(&differs("a", "b")));
    }

    #[test]
    fn each_place_that_differs_is_named_once() {
        let found = compare(
            &json!({"a": 1, "b": [1, 2], "c": {"d": "x"}}),
            &json!({"a": 1, "b": [1, 3, 4], "c": {"d": "y", "e": null}}),
        );
        let places: Vec<_> = found.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["b/1", "b/2", "c/d", "c/e"]);
        assert_eq!(found[0].to_string(), "b/1: original 2, ours 3");
        let found = compare(
            &json!([{"name": "a", "x": 1}, {"name": "b"}, {"name": "c"}]),
            &json!([{"name": "b"}, {"name": "a", "x": 2}]),
        );
        let places: Vec<_> = found.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["a/x", "c"]);
        let found = compare(&json!([{"name": "a"}, {"name": "b"}]), &json!([{"name": "b"}, {"name": "a"}]));
        assert_eq!(found[0].place, "(order)/0");
    }
}
