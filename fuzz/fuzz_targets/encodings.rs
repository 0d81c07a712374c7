//! Objects as clients send them, in every encoding: no bytes break a reader, and what was read is written and read again.
#![no_main]

use control_schema::builtin;
use control_schema::codec::{json, protobuf, yaml};
use libfuzzer_sys::fuzz_target;

const KINDS: [(&str, &str); 6] = [
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "PersistentVolume"),
    ("apps/v1", "Deployment"),
    ("resource.k8s.io/v1", "ResourceSlice"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
];

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, encoding, bytes) = input;
    let (api_version, kind) = KINDS[usize::from(kind) % KINDS.len()];
    let schema = builtin::kind(api_version, kind).expect("a built-in kind");
    let found = match encoding % 3 {
        0 => json::decode(&schema, bytes),
        1 => yaml::decode(&schema, bytes),
        _ => protobuf::decode(&schema, &[protobuf::MAGIC, bytes].concat()),
    };
    if let Ok(found) = found {
        let text = json::encode(&schema, &found.value);
        let again = json::decode(&schema, &text).expect("our own text");
        assert_eq!(json::encode(&schema, &again.value), text);
        let bytes = protobuf::encode(&schema, api_version, kind, &found.value);
        protobuf::decode(&schema, &bytes).expect("our own bytes");
    }
});
