//! Patches of all types, as clients send them: each makes an object that is written and read again, or is refused.
#![no_main]

use std::time::SystemTime;

use control_schema::apply::{self, Set, Write};
use control_schema::codec::json;
use control_schema::{builtin, patch};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const KINDS: [(&str, &str); 4] =
    [("v1", "Pod"), ("v1", "Service"), ("apps/v1", "Deployment"), ("v1", "ConfigMap")];

// The object, a line feed, and the patch.
fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, form, bytes) = input;
    let (api_version, kind) = KINDS[usize::from(kind) % KINDS.len()];
    let schema = builtin::kind(api_version, kind).expect("a built-in kind");
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(object), Some(change)) = (parts.next(), parts.next()) else { return };
    let (Ok(object), Ok(change)) = (json::decode(&schema, object), serde_json::from_slice::<Value>(change))
    else {
        return;
    };
    let object = object.value;
    let made = match form % 5 {
        0 => patch::json::apply(object, &change).ok(),
        1 => patch::merge::apply(object, &change).ok(),
        2 => patch::strategic::apply(&schema, object, change).ok(),
        form => {
            let reset = Set::default();
            let write = Write {
                schema: &schema,
                api_version,
                kind,
                subresource: "",
                manager: "fuzz",
                reset: &reset,
                now: SystemTime::UNIX_EPOCH,
                convert: &apply::one_version,
            };
            match form {
                3 => apply::apply(&write, &object, &change, true).ok().map(|applied| applied.object),
                _ => {
                    let Ok(new) = json::decode(&schema, change.to_string().as_bytes()) else { return };
                    Some(apply::update(&write, &object, new.value))
                }
            }
        }
    };
    if let Some(made) = made
        && let Ok(found) = json::decode(&schema, made.to_string().as_bytes())
    {
        let text = json::encode(&schema, &found.value);
        json::decode(&schema, &text).expect("our own text");
    }
});
