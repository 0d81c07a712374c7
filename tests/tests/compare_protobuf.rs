//! Every kind in protobuf, from both servers: created, read, listed and watched. The bytes of both are those that the one
//! encoder makes of what is in them, and what is in them is the same.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::time::Duration;

use control_schema::builtin;
use control_schema::codec::protobuf;
use serde_json::{Value, json};
use tests::apiserver::difference::{Allowed, compare};
use tests::apiserver::generated::{self, Sample};
use tests::apiserver::{Pair, Side, authorization, normal};
use tests::wait::until_true;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What is in an object's bytes, which are exactly what it makes.
fn opened(what: &str, bytes: &[u8]) -> Value {
    let envelope = protobuf::open(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (version, kind) = (envelope.api_version, envelope.kind);
    let schema = builtin::kind(version, kind).unwrap_or_else(|| panic!("{what}: a {version} {kind}"));
    let value = protobuf::decode(&schema, bytes).unwrap_or_else(|error| panic!("{what}: {error}")).value;
    assert_eq!(protobuf::encode(&schema, version, kind, &value), bytes, "{what}: other bytes");
    value
}

/// The events of a stream: each has its length before it.
fn events(what: &str, mut bytes: &[u8]) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (event, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        // A string and a message of bytes: type, and the object in its envelope.
        let mut parts = Vec::new();
        let mut left = event;
        while let [tag, ..] = left {
            let (length, used) = varint(&left[1..]);
            let (part, after) = left[1 + used..].split_at(length);
            parts.push((*tag >> 3, part));
            left = after;
        }
        let [(1, kind), (2, extension)] = parts[..] else { panic!("{what}: {} parts", parts.len()) };
        let (length, used) = varint(&extension[1..]);
        let object = &extension[1 + used..][..length];
        all.push(json!({"type": String::from_utf8_lossy(kind), "object": opened(what, object)}));
        bytes = rest;
    }
    all
}

/// A number, and how many bytes it takes.
fn varint(bytes: &[u8]) -> (usize, usize) {
    let used = bytes.iter().position(|byte| byte & 0x80 == 0).expect("an end") + 1;
    let number = bytes[..used].iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    (number, used)
}

/// All that one server says of a sample.
fn asked(side: &Side, sample: &Sample) -> Vec<(&'static str, Value)> {
    let object = &sample.object;
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let schema = builtin::kind(&version, &kind).expect("a built-in kind");
    let mut headers = authorization("admin");
    headers.push(("Accept".to_owned(), PROTOBUF.to_owned()));
    headers.push(("Content-Type".to_owned(), PROTOBUF.to_owned()));
    let read = protobuf::encode(&schema, &version, &kind, object);
    let mut client = side.client();
    let mut ask = |act: &'static str, method: &str, path: &str, body: &[u8]| {
        let what = format!("{:?}: {act} of {version} {kind}", side.which);
        let reply =
            client.ask(method, path, &headers, body).unwrap_or_else(|error| panic!("{what}: {error}"));
        let shown = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.header("content-type").starts_with(PROTOBUF), "{what}: {}: {shown}", reply.status);
        let value = opened(&what, &reply.body);
        (act, json!({"status": reply.status, "body": normal::value(value, side.address)}))
    };
    let one = format!("{}/{name}", sample.collection);
    let named = format!("{}?fieldSelector=metadata.name%3D{name}", sample.collection);
    let mut all = vec![ask("create", "POST", &sample.collection, &read)];
    // What only answers is nowhere to be read.
    if all[0].1["status"] != 201 || all[0].1["body"]["kind"] == "Status" || name.is_empty() {
        return all;
    }
    // The server itself says something of these, a little later.
    if ["FlowSchema", "CustomResourceDefinition"].contains(&kind.as_str()) {
        until_true(&format!("{:?} to say something of a {kind}", side.which), || {
            let read = side.must("GET", &one, "application/json", &Value::Null);
            let conditions = read["status"]["conditions"].as_array();
            // The original says of a definition first that it is being installed.
            conditions
                .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["reason"] != "Installing"))
        });
    }
    all.push(ask("get", "GET", &one, &[]));
    if all[1].1["status"] != 200 {
        return all;
    }
    all.push(ask("list", "GET", &named, &[]));
    let accept = format!("{PROTOBUF};stream=watch");
    headers.retain(|(name, _)| name != "Accept");
    headers.push(("Accept".to_owned(), accept.clone()));
    let what = format!("{:?}: watch of {version} {kind}", side.which);
    let path = format!("{named}&watch=true&resourceVersion=0");
    let watched = side.client().follow(&path, &headers, Duration::from_secs(10), |bytes| {
        bytes
            .split_first_chunk::<4>()
            .is_some_and(|(length, rest)| rest.len() >= u32::from_be_bytes(*length) as usize)
    });
    let watched = watched.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(watched.header("content-type"), accept, "{what}");
    let told = events(&what, &watched.body).into_iter().map(|event| normal::value(event, side.address));
    all.push(("watch", told.collect()));
    all
}

#[test]
fn every_kind_is_the_originals_in_protobuf_too() {
    let pair = Pair::up(&[]);
    let allowed = Allowed::read();
    let mut found = Vec::new();
    for sample in generated::samples() {
        let known = |at: &str| sample.object.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (known("/apiVersion").to_owned(), known("/kind").to_owned());
        if builtin::kind(&version, &kind).is_none() {
            continue;
        }
        let (original, ours) = (asked(&pair.original, &sample), asked(&pair.ours, &sample));
        assert_eq!(original.len(), ours.len(), "{version} {kind}: {original:?} and {ours:?}");
        for ((act, original), (_, ours)) in original.iter().zip(&ours) {
            let title = format!("{version} {kind}: {act} in protobuf");
            let differences = compare(original, ours);
            found.extend(
                differences
                    .iter()
                    .filter(|one| !allowed.holds(&title, one))
                    .map(|one| format!("{title}: {one:?}")),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
