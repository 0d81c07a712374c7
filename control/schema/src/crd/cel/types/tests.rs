//! Expressions and the errors, types and costs that kube-apiserver 1.36.3 found.

use serde_json::Value;

use super::*;

fn scope(schema: &Value) -> (Scope, Declared) {
    let root = Declared::of_schema(schema, false, "selfType1").unwrap();
    (Scope::new([("self", root.clone()), ("oldSelf", root.clone())]), root)
}

fn refusal(source: &str, schema: &Value) -> String {
    match compile(source, &scope(schema).0) {
        Ok(checked) => match checked.never_runs() {
            Some(why) => format!("program instantiation failed: {why}"),
            None => checked.of().to_string(),
        },
        Err(error) => format!("compilation failed: {error}"),
    }
}

#[test]
fn rules_are_refused_with_the_words_of_the_original() {
    let seen: Value = serde_json::from_str(include_str!("../../testdata/rules.json")).unwrap();
    let mut wrong = Vec::new();
    for case in seen["rules"].as_array().unwrap() {
        let source = case["rule"].as_str().unwrap();
        let have = refusal(source, &seen["schema"]);
        match case["compile"][0].as_str() {
            Some(want) => {
                let want = want.split_once("null}: ").unwrap().1.replace("selfType985247687", "selfType1");
                if have != want {
                    wrong.push(format!("{have}\nbut the original\n{want}"));
                }
            }
            None if have == "bool" => {}
            None => wrong.push(format!("{source}: {have}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
