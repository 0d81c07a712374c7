//! Schemas of CustomResourceDefinitions and objects of their kinds: a schema that is accepted serves any object, with an
//! answer in bounded time.
#![no_main]

use control_schema::codec::json;
use control_schema::crd::{self, structural};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The schema, a line feed, and an object.
fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(schema), Some(object)) = (parts.next(), parts.next()) else { return };
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return };
    let refused = structural::check("spec", &schema, true);
    // What was refused is compiled too: it may have been stored by another server.
    let compiled = crd::compile("example.org", "v1", "Thing", &schema, refused.len() % 2 == 1);
    if let Ok(found) = json::decode(&compiled.schema, object) {
        let _ = compiled.validator.validate(&found.value, None);
        let _ = compiled.validator.validate(&found.value, Some(&found.value));
        let text = json::encode(&compiled.schema, &found.value);
        json::decode(&compiled.schema, &text).expect("our own text");
    }
});
