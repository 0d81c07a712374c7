//! Rules that kube-apiserver 1.36.3 ran over one object: `../testdata/rules.json`.

use serde_json::json;

use super::*;

fn run(source: &str, schema: &Value, value: &Value) -> Result<Outcome, String> {
    let rule = Rule::new(&json!({"rule": source}))?;
    Ok(rule.run(schema, value, None, &mut Budget::default()))
}

#[test]
fn rules_answer_as_the_originals_do() {
    let seen: Value = serde_json::from_str(include_str!("../testdata/rules.json")).unwrap();
    let mut wrong = Vec::new();
    for case in seen["rules"].as_array().unwrap() {
        let source = case["rule"].as_str().unwrap();
        let want = match (case["answer"].as_bool(), case["error"].as_str()) {
            (Some(true), _) => Outcome::Holds,
            (Some(false), _) => Outcome::Fails(format!("failed rule: {source}")),
            (_, Some(error)) => {
                let error = error.trim_start_matches("Invalid value: \"object\": ");
                let error = error.trim_end_matches(" evaluating rule: RULE").trim_start_matches('\'');
                Outcome::Error(error.split("': call arguments").next().unwrap().to_owned())
            }
            // Refused for its types, which ours does not know before it runs.
            _ => continue,
        };
        let have = run(source, &seen["schema"], &seen["data"]);
        if have.as_ref() != Ok(&want) {
            wrong.push(format!("{source}: {have:?}, not {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_cannot_run_for_ever() {
    let list: Vec<u32> = (0..2000).collect();
    let schema = json!({"type": "array", "items": {"type": "integer"}});
    let endless = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
    assert_eq!(run(endless, &schema, &json!(list)), Ok(Outcome::TooCostly));
    let text = "x".repeat(100_000);
    let schema = json!({"type": "string"});
    let growing = "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, (self + self + self).replace('x', self) != ''))";
    assert_eq!(run(growing, &schema, &json!(text)), Ok(Outcome::TooCostly));
    let rule = Rule::new(&json!({"rule": "self.all(a, a >= 0)"})).unwrap();
    let mut budget = Budget(5_000);
    assert_eq!(rule.run(&json!({}), &json!(list), None, &mut budget), Outcome::NoBudget);
}

#[test]
fn a_rule_of_changes_runs_only_where_there_was_something() {
    let rule = |optional: bool, source: &str| {
        Rule::new(&json!({"rule": source, "optionalOldSelf": optional})).unwrap()
    };
    let run = |rule: &Rule, old: Option<&Value>| rule.run(&json!({}), &json!(1), old, &mut Budget::default());
    let immutable = rule(false, "self == oldSelf");
    assert_eq!(run(&immutable, None), Outcome::Holds);
    assert_eq!(run(&immutable, Some(&json!(1))), Outcome::Holds);
    assert_eq!(run(&immutable, Some(&json!(2))), Outcome::Fails("failed rule: self == oldSelf".to_owned()));
    let once = rule(true, "!oldSelf.hasValue() || oldSelf.value() == self");
    assert_eq!(run(&once, None), Outcome::Holds);
    assert!(matches!(run(&once, Some(&json!(2))), Outcome::Fails(_)));
}

#[test]
fn no_source_panics() {
    let place = Place::new(&json!({"type": "array", "items": {"type": "string"}}), false).unwrap();
    for source in [
        "",
        "(",
        "self.",
        "self[",
        "[1",
        "{1:",
        "self ? 1",
        "has(self)",
        "`a`",
        "'",
        "1 +",
        "-",
        "a.b.c()",
        "\u{0}",
    ] {
        let _ = Rule::new(&json!({"rule": source}));
        let _ = place.check(&json!({"rule": source}));
    }
    // However long a row or deep a nest is, the stack is not what ends it.
    for n in [16, 64, 256, 1024, 4000] {
        for source in [
            "1".to_owned() + &" + 1".repeat(n) + " > 0",
            "self".to_owned() + &".a".repeat(n),
            "(".repeat(n) + "true" + &")".repeat(n),
            "!".repeat(n) + "true",
            "true ? 1 : ".repeat(n) + "1",
            "true".to_owned() + &" && true".repeat(n),
            "true".to_owned() + &" == true".repeat(n),
            "[".repeat(n) + &"]".repeat(n),
            "size(".repeat(n) + "[]" + &")".repeat(n),
            "self".to_owned() + &".map(x, x)".repeat(n),
            "self.map(x, ".repeat(n) + "x" + &")".repeat(n),
            "[self]".to_owned() + &".map(x, {x: x})".repeat(n),
            "optional.of(self)".to_owned() + &".optMap(x, [x, x])".repeat(n),
            "(".repeat(n),
        ] {
            let _ = run(&source, &json!({}), &json!([]));
            let _ = place.check(&json!({"rule": source}));
        }
    }
}
