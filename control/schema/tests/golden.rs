//! Every golden object of Kubernetes goes through each encoding and comes back equal.
//!
//! Needs the folder that `WEFT_K8S_GOLDEN` names: one object a kind, as `GROUP.VERSION.KIND.json` and `.pb`, published with
//! k8s.io/api. It may be of a later version than the one we speak: kinds and fields that came since are told apart.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use control_schema::builtin;
use control_schema::codec::{json, protobuf};
use control_schema::library::Schema;
use serde_json::Value;

struct Golden {
    name: String,
    api_version: String,
    kind: String,
    schema: Schema,
    /// As our encoder writes it: without blanks.
    json: Vec<u8>,
    protobuf: Vec<u8>,
}

/// The objects, and the names of those whose kinds we do not know.
fn golden() -> (Vec<Golden>, BTreeSet<String>) {
    let folder =
        std::env::var_os("WEFT_K8S_GOLDEN").expect("WEFT_K8S_GOLDEN names the folder of golden objects");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    let mut unknown = BTreeSet::new();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("JSON");
        let head: Value = serde_json::from_str(&text).expect("JSON");
        let word = |name: &str| head[name].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (word("apiVersion"), word("kind"));
        let Some(schema) = builtin::kind(&api_version, &kind) else {
            unknown.insert(name);
            continue;
        };
        let protobuf = fs::read(path.with_extension("pb")).expect("protobuf");
        found.push(Golden { name, api_version, kind, schema, json: compact(&text), protobuf });
    }
    assert!(found.len() > 150, "only {} golden objects", found.len());
    (found, unknown)
}

/// The text without the blanks between its tokens.
fn compact(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        quoted = if quoted { escaped || byte != b'"' } else { byte == b'"' };
        escaped = quoted && byte == b'\\' && !escaped;
    }
    out
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Goes through all objects without fields that came after our version, and through the others after these are gone.
fn each(check: impl Fn(&Golden, &Value)) {
    let (all, unknown) = golden();
    let mut newer = BTreeSet::new();
    for golden in &all {
        let decoded = json::decode(&golden.schema, &golden.json)
            .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        if decoded.problems.is_empty() {
            check(golden, &decoded.value);
        } else {
            newer.extend(decoded.problems.iter().map(|problem| format!("{}: {problem}", golden.name)));
        }
    }
    println!("kinds of a later version: {unknown:#?}\nobjects with fields of a later version: {newer:#?}");
    assert!(unknown.len() < 20 && newer.len() < 60, "{unknown:#?} {newer:#?}");
}

#[test]
fn json_comes_back_in_equal_text() {
    each(|golden, value| {
        let again = json::encode(&golden.schema, value);
        assert_eq!(text(&again), text(&golden.json), "{}", golden.name);
    });
}

#[test]
fn json_becomes_the_original_s_protobuf_byte_for_byte() {
    each(|golden, value| {
        let found = protobuf::encode(&golden.schema, &golden.api_version, &golden.kind, value);
        assert!(
            found == golden.protobuf,
            "{}: {:?}\n{:?}",
            golden.name,
            text_of(&found),
            text_of(&golden.protobuf)
        );
    });
}

fn text_of(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn protobuf_becomes_the_original_s_json() {
    each(|golden, value| {
        let found = protobuf::decode(&golden.schema, &golden.protobuf).expect("protobuf");
        assert_eq!(found.value, *value, "{}", golden.name);
        assert_eq!(text(&json::encode(&golden.schema, &found.value)), text(&golden.json), "{}", golden.name);
    });
}
