//! Rules in CEL as definitions have them: each is refused or runs to an end within its budget.
#![no_main]

use control_schema::crd;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|rule: &str| {
    let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
        "text": {"type": "string"}, "number": {"type": "integer"}, "real": {"type": "number"},
        "list": {"type": "array", "items": {"type": "string"}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "when": {"type": "string", "format": "date-time"},
        "any": {"x-kubernetes-int-or-string": true}}});
    let validator = crd::compile("example.org", "v1", "Thing", &schema, false).validator;
    let object = json!({"text": "a.b/c", "number": 7, "real": 1.5, "list": ["x", "y", "x"],
        "map": {"one": 1, "two": 2}, "when": "2026-01-02T03:04:05Z", "any": "50%"});
    let _ = validator.validate(&object, None);
    let _ = validator.validate(&object, Some(&object));
});
