//! The text of what a patch makes, as the original shows it in a refusal.
//!
//! Owns: the order of members in that text. The original's library opens the objects and lists that a patch goes through,
//! and writes their members in the order of their names; all else stays the text that it was. Begin at [`merged`] and
//! [`operated`]. Never: says whether a patch fits; [`super::merge`] and [`super::json`] do.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json::{index, split};
use crate::codec::json::{plain, string};

/// A part of a document.
#[derive(Clone)]
enum Node {
    Text(String),
    Members(BTreeMap<String, Node>),
    Items(Vec<Node>),
}

/// What a merge patch makes of an object, of which this is the text.
pub fn merged(object: &str, patch: &Value) -> String {
    let mut node = Node::Text(object.to_owned());
    match patch {
        Value::Object(members) => node.merge(members),
        other => node = Node::given(other),
    }
    node.text()
}

/// What the operations of a JSON patch make of an object, of which this is the text; `None` where one does not fit.
pub fn operated(object: &str, patch: &Value) -> Option<String> {
    let mut node = Node::Text(object.to_owned());
    for operation in patch.as_array()? {
        node.run(operation)?;
    }
    Some(node.text())
}

impl Node {
    /// A value of the patch.
    fn given(value: &Value) -> Self {
        let mut text = Vec::new();
        plain(value, &mut text);
        Self::Text(String::from_utf8_lossy(&text).into_owned())
    }

    /// An object or a list is seen as its members or items from now on.
    fn open(&mut self) {
        let Self::Text(text) = self else { return };
        let part = |raw: Box<RawValue>| Self::Text(raw.get().to_owned());
        if let Ok(members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text) {
            *self = Self::Members(members.into_iter().map(|(name, raw)| (name, part(raw))).collect());
        } else if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
            *self = Self::Items(items.into_iter().map(part).collect());
        }
    }

    /// As [`Node::open`], with all that is in it.
    fn open_all(&mut self) {
        self.open();
        match self {
            Self::Text(_) => {}
            Self::Members(members) => members.values_mut().for_each(Self::open_all),
            Self::Items(items) => items.iter_mut().for_each(Self::open_all),
        }
    }

    fn merge(&mut self, patch: &Map<String, Value>) {
        self.open();
        let Self::Members(members) = self else {
            *self = Self::given(&super::merge::without_nulls(&Value::Object(patch.clone())));
            return;
        };
        for (name, value) in patch {
            match (members.get_mut(name), value) {
                (_, Value::Null) => {
                    members.remove(name);
                }
                (Some(have), Value::Object(want)) => have.merge(want),
                (Some(have), want) => {
                    have.open();
                    let kept = matches!(have, Self::Members(_));
                    *have = Self::given(&if kept { want.clone() } else { super::merge::without_nulls(want) });
                }
                (None, want) => {
                    members.insert(name.clone(), Self::given(&super::merge::without_nulls(want)));
                }
            }
        }
    }

    fn run(&mut self, operation: &Value) -> Option<()> {
        let path = |name: &str| operation.get(name)?.as_str();
        let value = || Self::given(operation.get("value").unwrap_or(&Value::Null));
        match operation.get("op")?.as_str()? {
            "add" => self.put(path("path")?, value(), true),
            "replace" if path("path")?.is_empty() => {
                *self = value();
                Some(())
            }
            "replace" => self.put(path("path")?, value(), false),
            "remove" => self.take(path("path")?).map(drop),
            "move" => {
                let moved = self.take(path("from")?)?;
                self.put(path("path")?, moved, true)
            }
            "copy" => {
                let copied = self.at(path("from")?)?.map_or_else(|| "null".to_owned(), |node| node.text());
                self.put(path("path")?, Self::Text(copied), true)
            }
            "test" if path("path")?.is_empty() => {
                self.open_all();
                Some(())
            }
            "test" => {
                if let Some(node) = self.at(path("path")?)? {
                    node.open_all();
                }
                Some(())
            }
            _ => None,
        }
    }

    /// The object or list in which a path ends, opened as all on the way to it.
    fn container(&mut self, names: &[String]) -> Option<&mut Self> {
        self.open();
        let Some((name, rest)) = names.split_first() else { return Some(self) };
        self.part(name)?.container(rest)
    }

    fn part(&mut self, name: &str) -> Option<&mut Self> {
        match self {
            Self::Text(_) => None,
            Self::Members(members) => members.get_mut(name),
            Self::Items(items) => index(name, items.len()).and_then(|n| items.get_mut(n)),
        }
    }

    /// The inner `None`: its container has none of that name.
    fn at(&mut self, path: &str) -> Option<Option<&mut Self>> {
        let (names, last) = split(path).ok()?;
        Some(self.container(&names)?.part(&last))
    }

    fn put(&mut self, path: &str, node: Self, inserted: bool) -> Option<()> {
        let (names, last) = split(path).ok()?;
        match self.container(&names)? {
            Self::Text(_) => return None,
            Self::Members(members) => {
                members.insert(last, node);
            }
            Self::Items(items) if inserted && last == "-" => items.push(node),
            Self::Items(items) if inserted => items.insert(index(&last, items.len() + 1)?, node),
            Self::Items(items) => {
                let n = index(&last, items.len())?;
                items[n] = node;
            }
        }
        Some(())
    }

    fn take(&mut self, path: &str) -> Option<Self> {
        let (names, last) = split(path).ok()?;
        match self.container(&names)? {
            Self::Text(_) => None,
            Self::Members(members) => members.remove(&last),
            Self::Items(items) => {
                let n = index(&last, items.len())?;
                Some(items.remove(n))
            }
        }
    }

    fn text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Members(members) => {
                out.push(b'{');
                for (nth, (name, node)) in members.iter().enumerate() {
                    if nth > 0 {
                        out.push(b',');
                    }
                    string(name, out);
                    out.push(b':');
                    node.write(out);
                }
                out.push(b'}');
            }
            Self::Items(items) => {
                out.push(b'[');
                for (nth, node) in items.iter().enumerate() {
                    if nth > 0 {
                        out.push(b',');
                    }
                    node.write(out);
                }
                out.push(b']');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::json::tests::values;
    use super::*;

    /// Members in an order of their own.
    const OBJECT: &str = r#"{"z":{"y":1,"x":{}},"m":{"b":{"d":1,"c":2},"a":[{"q":1,"p":2}]},"a":null}"#;

    #[test]
    fn a_merge_orders_what_it_goes_through() {
        let patch = json!({"m": {"b": 1, "n": {"o": null}}});
        let want = r#"{"a":null,"m":{"a":[{"q":1,"p":2}],"b":1,"n":{}},"z":{"y":1,"x":{}}}"#;
        assert_eq!(merged(OBJECT, &patch), want);
    }

    #[test]
    fn operations_order_what_they_go_through() {
        for (patch, want) in [
            (
                json!([{"op": "add", "path": "/m/a/0/n", "value": "<"}]),
                r#"{"a":null,"m":{"a":[{"n":"\u003c","p":2,"q":1}],"b":{"d":1,"c":2}},"z":{"y":1,"x":{}}}"#,
            ),
            (
                json!([{"op": "move", "from": "/z", "path": "/m/a/-"}, {"op": "remove", "path": "/m/b"}]),
                r#"{"a":null,"m":{"a":[{"q":1,"p":2},{"y":1,"x":{}}]}}"#,
            ),
            (
                json!([{"op": "test", "path": "/m", "value": {}}, {"op": "copy", "from": "/z", "path": "/m"}]),
                r#"{"a":null,"m":{"y":1,"x":{}},"z":{"y":1,"x":{}}}"#,
            ),
            (
                json!([{"op": "test", "path": "/z", "value": {}}, {"op": "replace", "path": "/m/a/-1", "value": 1}]),
                r#"{"a":null,"m":{"a":[1],"b":{"d":1,"c":2}},"z":{"x":{},"y":1}}"#,
            ),
        ] {
            assert_eq!(operated(OBJECT, &patch).as_deref(), Some(want), "{patch}");
        }
        assert_eq!(operated(OBJECT, &json!([{"op": "remove", "path": "/none/x"}])), None);
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// Itself, or with it as a member.
    fn as_object(value: Value) -> Value {
        if value.is_object() { value } else { json!({"a": value}) }
    }

    proptest! {
        #[test]
        fn a_merge_shows_what_it_makes(object in values(), patch in values()) {
            let (object, patch) = (as_object(object), as_object(patch));
            let shown = merged(&object.to_string(), &patch);
            prop_assert_eq!(read(&shown), super::super::merge::apply(object, &patch).unwrap());
        }

        #[test]
        fn operations_show_what_they_make(object in values(), one in values(), at in "/[ab]/[ab0]") {
            let object = as_object(object);
            for op in ["add", "remove", "replace"] {
                let patch = json!([{"op": op, "path": at, "value": one}]);
                if let Ok(made) = super::super::json::apply(object.clone(), &patch) {
                    prop_assert_eq!(operated(&object.to_string(), &patch).map(|text| read(&text)), Some(made));
                }
            }
        }
    }
}
