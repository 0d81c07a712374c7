//! Every golden object of Kubernetes goes through each encoding and comes back equal.
//!
//! Needs the folder that `WEFT_K8S_GOLDEN` names: one object a kind, as `GROUP.VERSION.KIND.json` and `.pb`, published with
//! k8s.io/api. It may be of a later version than the one we speak: kinds and fields that came since are taken out first,
//! from both files, without our decoders.

mod later;

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
    json: String,
    protobuf: Vec<u8>,
}

/// The objects whose kinds we know.
fn golden() -> Vec<Golden> {
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
        let decoded =
            json::decode(&schema, text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json = later::without(&text, &decoded.problems);
        let protobuf = later::known(&schema, &fs::read(path.with_extension("pb")).expect("protobuf"));
        found.push(Golden { name, api_version, kind, schema, json, protobuf });
    }
    println!("kinds of a later version: {unknown:?}");
    assert!(found.len() > 150, "only {} golden objects", found.len());
    found
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// What 1.36 writes and later versions leave out (`nodeAllocatableResourceClaimStatuses` of a pod's status).
const LEFT_OUT_SINCE: &str = ",\"resources\":null";

/// Shows where two texts part.
fn assert_same(found: &str, want: &str, name: &str) {
    let later = found.replace(LEFT_OUT_SINCE, "");
    if found != want && later != want {
        let at = found.bytes().zip(want.bytes()).take_while(|(found, want)| found == want).count();
        let show = |text: &str| text.chars().skip(at.saturating_sub(60)).take(160).collect::<String>();
        panic!("{name}: found {}\nwant {}", show(found), show(want));
    }
}

fn value(golden: &Golden) -> Value {
    let decoded = json::decode(&golden.schema, golden.json.as_bytes()).expect("JSON");
    assert!(decoded.problems.is_empty(), "{}: {:?}", golden.name, decoded.problems);
    decoded.value
}

#[test]
fn json_comes_back_in_equal_text() {
    for golden in golden() {
        assert_same(text(&json::encode(&golden.schema, &value(&golden))), &golden.json, &golden.name);
    }
}

#[test]
fn json_becomes_the_original_s_protobuf_byte_for_byte() {
    for golden in golden() {
        let found = protobuf::encode(&golden.schema, &golden.api_version, &golden.kind, &value(&golden));
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert!(found == golden.protobuf, "{}:\n{}\n{}", golden.name, show(&found), show(&golden.protobuf));
    }
}

#[test]
fn protobuf_becomes_the_original_s_json() {
    for golden in golden() {
        let found = protobuf::decode(&golden.schema, &golden.protobuf).expect("protobuf").value;
        assert_eq!(found, value(&golden), "{}", golden.name);
        assert_same(text(&json::encode(&golden.schema, &found)), &golden.json, &golden.name);
    }
}
