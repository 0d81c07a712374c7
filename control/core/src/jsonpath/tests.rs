use serde_json::{Value, json};

use super::*;

fn object() -> Value {
    json!({
        "spec": {"replicas": 3, "a.b": "dotted", "ports": [80, 443, 8080], "empty": []},
        "status": {"conditions": [
            {"type": "Synced", "status": "False", "n": 1},
            {"type": "Ready", "status": "True", "n": 2, "more": {"deep": "x"}},
        ]},
    })
}

fn all(path: &str) -> Option<Vec<Value>> {
    let object = object();
    let path = JsonPath::parse(path).expect(path);
    let found = path.find(vec![Cow::Borrowed(&object)]).ok()?;
    Some(found.into_iter().map(Cow::into_owned).collect())
}

#[test]
fn a_path_finds_what_the_originals_finds() {
    for (path, found) in [
        (".spec.replicas", json!([3])),
        (".spec.none.deeper", json!([])),
        (".spec['replicas']", json!([3])),
        (".spec.a\\.b", json!(["dotted"])),
        (".spec.ports[0]", json!([80])),
        (".spec.ports[-1]", json!([8080])),
        (".spec.ports[*]", json!([80, 443, 8080])),
        (".spec.ports[0:2]", json!([80, 443])),
        (".spec.ports[::2]", json!([80, 8080])),
        (".spec.ports[1:1]", json!([])),
        (".spec.ports[0,2]", json!([80, 8080])),
        (".spec.empty[*]", json!([])),
        (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
        (".status.conditions[?(@.type=='Ready')].status", json!(["True"])),
        (".status.conditions[?(@.n>1)].type", json!(["Ready"])),
        (".status.conditions[?(@.n!=2)].type", json!(["Synced"])),
        (".status.conditions[?(@.more)].type", json!(["Ready"])),
        (".status.conditions[?(@.more.deep=='x')].type", json!(["Ready"])),
        (".status.conditions[?(@.type==\"a)b\")].type", json!([])),
        (".status.conditions[*].type", json!(["Synced", "Ready"])),
        (".status.conditions.*.n", json!([1, 2])),
        ("..deep", json!(["x"])),
        (".status..type", json!(["Synced", "Ready"])),
        (".spec.replicas.*", json!([])),
    ] {
        assert_eq!(all(path).map(Value::from), Some(found), "{path}");
    }
}

#[test]
fn what_does_not_fit_finds_nothing() {
    for path in [
        ".spec.ports[3]",
        ".spec.ports[2:1]",
        ".spec.replicas[0]",
        ".spec[?(@.a)]",
        ".status.conditions[?(@.n=='1')].type",
        ".status.conditions[?(@.n>1.5)].type",
        ".spec.ports[::-1]",
    ] {
        assert_eq!(all(path), None, "{path}");
        assert_eq!(JsonPath::parse(path).expect(path).first(&object()), None, "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for text in [
        ".a[",
        ".a[x]",
        ".a[?(@.b==",
        ".a[?(@.b)",
        ".a[1:2:3:4]",
        ".a{",
        "..  ..",
        "range",
        "'x",
        ".a[?(@.b=~1)]",
    ] {
        assert!(JsonPath::parse(text).is_err(), "{text}");
    }
    let deep = format!(".a{}", "[?(@.a".repeat(50));
    assert!(JsonPath::parse(&deep).is_err());
}

#[test]
fn recursion_into_recursion_has_an_end() {
    let mut wide = json!(1);
    for _ in 0..100 {
        wide = json!({"a": wide, "b": [1, 2, 3]});
    }
    let path = JsonPath::parse(&"..a".repeat(6)).expect("a path");
    let _ = path.first(&wide);
}
