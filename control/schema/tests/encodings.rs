//! Laws of the encodings: what one writes, each reads, and no bytes break a reader.

use control_schema::builtin;
use control_schema::codec::{json, list, protobuf, watch, yaml};
use control_schema::library::{AnyForm, Library, Scalar, Schema, Shape, StructId, Type};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Kinds with every sort of field between them: inline structs, unions, maps of messages, bytes, all scalars.
const KINDS: [(&str, &str); 9] = [
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "PersistentVolume"),
    ("apps/v1", "DaemonSet"),
    ("authentication.k8s.io/v1", "TokenReview"),
    ("coordination.k8s.io/v1", "Lease"),
    ("resource.k8s.io/v1", "ResourceSlice"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("networking.k8s.io/v1", "Ingress"),
];

/// Makes an object of a schema from bytes, each of which decides something; after the last, nothing more is added.
struct Maker<'a> {
    library: &'a Library,
    bytes: std::slice::Iter<'a, u8>,
}

impl Maker<'_> {
    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn object(&mut self, id: StructId, depth: usize, map: &mut Map<String, Value>) {
        for field in &self.library.get(id).fields {
            if field.inline {
                if let Shape::Struct { id, .. } = field.of.shape {
                    self.object(id, depth, map);
                }
            } else if depth < 12 && self.next() % 3 == 1 && field.number != 0 {
                let value = self.value(&field.of, depth + 1);
                map.insert(field.name.to_string(), value);
            }
        }
    }

    fn value(&mut self, of: &Type, depth: usize) -> Value {
        let n = self.next();
        match &of.shape {
            Shape::Scalar(scalar) => match scalar {
                Scalar::Bool => Value::Bool(n % 2 == 1),
                Scalar::Int32 => [0, 1, -1, i32::MAX, i32::MIN][usize::from(n) % 5].into(),
                Scalar::Int64 => [0, 1, -1, i64::MAX, i64::MIN][usize::from(n) % 5].into(),
                Scalar::Float => [0.0, 1.5, -1e300, 1e-9][usize::from(n) % 4].into(),
                Scalar::String => ["", "a", "<&>\u{2028}\u{1}\"\\", "é😀", "null"][usize::from(n) % 5].into(),
                Scalar::Bytes => ["", "AA==", "AAE=", "AAEC"][usize::from(n) % 4].into(),
                Scalar::Time => ["2026-01-01T00:00:00Z", "1969-12-31T23:59:59Z"][usize::from(n) % 2].into(),
                Scalar::MicroTime => {
                    ["2026-01-01T00:00:00.000001Z", "1950-01-01T00:00:00.999999Z"][usize::from(n) % 2].into()
                }
                Scalar::Duration => ["0s", "1m30s", "-1.5s", "1µs"][usize::from(n) % 4].into(),
                Scalar::Quantity => ["0", "100m", "1Gi", "1e3", "-5"][usize::from(n) % 5].into(),
                Scalar::IntOrString => {
                    [json!(0), json!(-1), json!("25%"), json!("")][usize::from(n) % 4].clone()
                }
            },
            Shape::Struct { id, .. } => {
                let mut map = Map::new();
                self.object(*id, depth, &mut map);
                Value::Object(map)
            }
            // Not empty: protobuf cannot tell an empty list from none.
            Shape::List { items, .. } => (0..=n % 3).map(|_| self.value(items, depth)).collect(),
            Shape::Map { values, .. } => {
                (0..=n % 3).map(|n| (format!("k{n}"), self.value(values, depth))).collect()
            }
            Shape::Any(form) => match form {
                AnyForm::SchemaOrBool(id) if n % 2 == 1 => {
                    self.value(&Type::new(Shape::Struct { id: *id, atomic: false }), depth)
                }
                AnyForm::SchemaOrBool(_) => Value::Bool(n.is_multiple_of(4)),
                AnyForm::SchemaOrSchemas(id) if n % 2 == 1 => {
                    json!([self.value(&Type::new(Shape::Struct { id: *id, atomic: false }), depth)])
                }
                AnyForm::SchemaOrStrings(_) if n % 2 == 1 => json!(["a", ""]),
                AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id) => {
                    self.value(&Type::new(Shape::Struct { id: *id, atomic: false }), depth)
                }
                _ => [json!({}), json!({"a": [1, 1.5, null, "<"], "b": {"c": true}})][usize::from(n) % 2]
                    .clone(),
            },
        }
    }
}

fn objects() -> impl Strategy<Value = (&'static str, &'static str, Schema, Value)> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..600);
    (proptest::sample::select(&KINDS[..]), bytes).prop_map(|((api_version, kind), bytes)| {
        let schema = builtin::kind(api_version, kind).expect("a built-in kind");
        let mut map =
            Map::from_iter([("apiVersion".to_owned(), api_version.into()), ("kind".to_owned(), kind.into())]);
        Maker { library: &schema.library, bytes: bytes.iter() }.object(schema.root, 0, &mut map);
        (api_version, kind, schema, Value::Object(map))
    })
}

proptest! {
    #[test]
    fn what_one_encoding_writes_each_reads((api_version, kind, schema, object) in objects()) {
        let text = json::encode(&schema, &object);
        let read = json::decode(&schema, &text).expect("our own text");
        prop_assert!(read.problems.is_empty(), "{:?}", read.problems);
        prop_assert_eq!(String::from_utf8(json::encode(&schema, &read.value)), String::from_utf8(text.clone()));
        let bytes = protobuf::encode(&schema, api_version, kind, &read.value);
        prop_assert_eq!(&protobuf::encode(&schema, api_version, kind, &object), &bytes);
        prop_assert_eq!(&protobuf::decode(&schema, &bytes).expect("our own bytes").value, &read.value);
        let yaml = yaml::encode(&schema, &read.value);
        prop_assert_eq!(&yaml::decode(&schema, &yaml).expect("our own YAML").value, &read.value);
        prop_assert_eq!(&yaml::decode(&schema, &text).expect("JSON is YAML").value, &read.value);
    }

    #[test]
    fn damaged_objects_break_no_reader(
        (api_version, kind, schema, object) in objects(),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
        cut in any::<u16>(),
    ) {
        let encoded = [json::encode(&schema, &object), protobuf::encode(&schema, api_version, kind, &object)];
        for (nth, mut bytes) in encoded.into_iter().enumerate() {
            for (at, byte) in &damage {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *byte;
            }
            bytes.truncate(bytes.len() - usize::from(cut) % 16 % bytes.len());
            let found = if nth == 0 { json::decode(&schema, &bytes) } else { protobuf::decode(&schema, &bytes) };
            if let Ok(found) = found {
                // What was read can be written, whatever it is.
                let text = json::encode(&schema, &found.value);
                prop_assert!(json::decode(&schema, &text).is_ok(), "{}", String::from_utf8_lossy(&text));
                protobuf::encode(&schema, api_version, kind, &found.value);
            }
        }
    }

    #[test]
    fn no_bytes_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\":,a0-9\\\\ue. tn]{0,60}") {
        let schema = builtin::kind("apps/v1", "Deployment").expect("Deployment");
        let _ = (json::decode(&schema, &bytes), json::decode_any(text.as_bytes()), json::decode(&schema, text.as_bytes()));
        let _ = (yaml::decode(&schema, &bytes), yaml::decode(&schema, text.as_bytes()));
        let _ = (protobuf::decode(&schema, &bytes), protobuf::decode_raw(&schema, &bytes), protobuf::open(&bytes));
        let _ = (protobuf::decode(&schema, &[b"k8s\0", &*bytes].concat()), list::protobuf("v1", "PodList", &list::Meta::default(), [&*bytes]));
        // Go and serde agree on what is JSON, but for the depth.
        let ours = json::decode_any(text.as_bytes()).is_ok();
        prop_assert_eq!(ours, serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn an_encoder_takes_any_value(text in "[\\[\\]{}\":,a0-9. ]{0,40}", (api_version, kind, schema, mut object) in objects()) {
        // A value of a wrong type anywhere: code that made it is at fault, but the server goes on.
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            object["spec"] = value.clone();
            object["metadata"] = json!({"labels": value, "generation": "x", "creationTimestamp": 5});
        }
        let _ = (json::encode(&schema, &object), protobuf::encode(&schema, api_version, kind, &object));
    }
}

#[test]
fn depth_is_bounded_in_every_encoding() {
    let schema = builtin::kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .expect("CustomResourceDefinition");
    let levels = 100_000;
    for (open, inner, close) in [("[", "", "]"), ("{\"a\":", "1", "}"), ("{\"spec\":{\"x\":", "1", "}}")] {
        let text = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
        assert!(json::decode_any(text.as_bytes()).is_err_and(|error| error.0.contains("exceeded max depth")));
        assert!(yaml::decode(&schema, text.as_bytes()).is_err());
    }
    // A schema in a schema, down and down.
    let props =
        builtin::schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSONSchemaProps");
    let props = props.expect("JSONSchemaProps");
    let number = u8::try_from(props.root().field("not").expect("not").number).expect("small");
    let mut raw: Vec<u8> = Vec::new();
    for _ in 0..2_000 {
        let mut outer =
            vec![(u32::from(number) << 3 | 2) as u8 & 0x7f | 0x80, (u32::from(number) >> 4) as u8];
        let mut length = raw.len();
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(raw);
        raw = outer;
    }
    assert!(protobuf::decode_raw(&props, &raw).is_err_and(|error| error.0.contains("too deep")));
}

#[test]
fn lists_are_made_of_objects_as_they_are_encoded() {
    let schema = builtin::kind("v1", "ConfigMap").expect("ConfigMap");
    let of_list = builtin::kind("v1", "ConfigMapList").expect("ConfigMapList");
    let objects: Vec<Value> = ["a", "b"]
        .map(|name| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}))
        .into();
    let meta = list::Meta { resource_version: "7", next: "token", remaining: Some(3) };
    let want = json!({"apiVersion": "v1", "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "7", "continue": "token", "remainingItemCount": 3},
        "items": [{"metadata": {"name": "a"}, "data": {"k": "v"}}, {"metadata": {"name": "b"}, "data": {"k": "v"}}]});
    let texts: Vec<Vec<u8>> = objects.iter().map(|object| json::encode(&schema, object)).collect();
    let text = list::json("v1", "ConfigMapList", &meta, texts.iter().map(Vec::as_slice));
    assert_eq!(
        String::from_utf8(text),
        String::from_utf8([json::encode(&of_list, &want), b"\n".to_vec()].concat())
    );
    let bodies: Vec<Vec<u8>> =
        objects.iter().map(|object| protobuf::encode(&schema, "v1", "ConfigMap", object)).collect();
    let body = list::protobuf("v1", "ConfigMapList", &meta, bodies.iter().map(Vec::as_slice));
    assert_eq!(body, protobuf::encode(&of_list, "v1", "ConfigMapList", &want));
    let sorted = list::json_sorted(
        "example.com/v1",
        "ThingList",
        &list::Meta { remaining: None, ..meta },
        [&b"{}\n"[..]],
    );
    let want = r#"{"apiVersion":"example.com/v1","items":[{}],"kind":"ThingList","metadata":{"continue":"token","resourceVersion":"7"}}"#;
    assert_eq!(String::from_utf8(sorted), Ok(format!("{want}\n")));
}

#[test]
fn frames_of_watches_hold_objects_as_they_are_encoded() {
    let schema = builtin::kind("v1", "ConfigMap").expect("ConfigMap");
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let text = watch::json("ADDED", &json::encode(&schema, &object));
    let want = r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}}"#;
    assert_eq!(String::from_utf8(text), Ok(format!("{want}\n")));
    let body = protobuf::encode(&schema, "v1", "ConfigMap", &object);
    let frame = watch::protobuf("ADDED", &body);
    let (length, event) = frame.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, event.len());
    // type = 1, object = 2 { raw = 1 }
    let size = u8::try_from(body.len()).expect("a small object");
    let mut want = b"\x0a\x05ADDED\x12".to_vec();
    want.extend([size + 2, 0x0a, size]);
    want.extend(&body);
    assert_eq!(event, want);
}
