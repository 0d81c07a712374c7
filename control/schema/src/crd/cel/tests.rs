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

/// Values that kube-apiserver 1.36.3 gave: `../testdata/values.json`. Null: it gave none.
#[test]
fn functions_give_what_they_give_in_the_original() {
    let seen: Value = serde_json::from_str(include_str!("../testdata/values.json")).unwrap();
    let mut wrong = Vec::new();
    for case in seen["values"].as_array().unwrap() {
        let source = case[0].as_str().unwrap();
        let have = shown(source, &seen["schema"], &seen["data"]);
        if have.as_deref() != case[1].as_str() {
            wrong.push(format!("{source}: {have:?}, not {}", case[1]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A value as a message has it.
fn shown(source: &str, schema: &Value, value: &Value) -> Option<String> {
    let message = format!("'is %s'.format([{source}])");
    let rule = Rule::new(&json!({"rule": "false", "messageExpression": message})).unwrap();
    match rule.run(schema, value, None, &mut Budget::default()) {
        // Spaces at its ends are none of a message's.
        Outcome::Fails(text) if text == "is" => Some(String::new()),
        Outcome::Fails(text) => text.strip_prefix("is ").map(str::to_owned),
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn texts_cost_what_they_take_before_they_are_made() {
    let text = json!("x".repeat(100_000));
    let schema = json!({"type": "string"});
    for source in [
        "'%.900000000f'.format([1.5]) == ''",
        "'%.900000000e'.format([1.5]) == ''",
        "lists.range(2000000000).size() == 0",
        "lists.range(1000).map(x, self).sort().size() == 0",
        "'%s'.format([lists.range(1000).map(x, self)]) == ''",
        "'%x'.format([lists.range(1000).map(x, self).join('')]) == ''",
        "[[1]].map(a, [a, a]).map(a, [a, a, a, a]).map(a, lists.range(9999).map(x, lists.range(9999).map(y, a))).flatten(9) == []",
        "[lists.range(700).map(x, self)].all(l, sets.equivalent(l, l) && sets.equivalent(l, l))",
        "[lists.range(700).map(x, self)].all(l, l.distinct() == l)",
        "lists.range(900).all(n, lists.range(900).map(x, self).max() == self)",
        "lists.range(1000).map(x, lists.range(1000).transformMap(i, v, v)).size() == 0",
    ] {
        assert_eq!(run(source, &schema, &text), Ok(Outcome::TooCostly), "{source}");
    }
    // In each list stands twice the one before: whole, it would be 2^60 items.
    let doubled = "[self]".to_owned() + &".map(a, [a, a])".repeat(60);
    for end in [" == [[]]", "[0].distinct().size() == 1", ".flatten(99) == []"] {
        let source = format!("{doubled}{end}");
        assert_eq!(run(&source, &schema, &text), Ok(Outcome::TooCostly), "{end}");
    }
    let source = format!("'%s'.format([{doubled}]) == ''");
    assert_eq!(run(&source, &schema, &text), Ok(Outcome::TooCostly));
}

#[test]
fn no_text_breaks_a_function() {
    let odd = [
        "",
        "%",
        "%.",
        "%.f",
        "%.99999999999999999999f",
        "%é",
        "é",
        "a\u{e4}-",
        ":",
        "+:",
        "-:-",
        "[",
        "[]",
        "[]:",
        "http://[",
        "http://[]",
        "http://@",
        "%é%",
        "1.2",
        "v",
        "v.",
        "..",
        "+",
        "-",
        "1.2.3-",
        "1.2.3+",
        ".",
        "e",
        "1e",
        "1e99999999999",
        "99999999999999999999Ei",
        "0001-01-01T00:00:00+24:00",
        "9999-12-31T23:59:59-24:00",
        "-.s",
        "1h-1h",
        "9223372036854775807ns",
        "-9223372036854775808ns",
        "99999999999999999999h",
        "2147483647:2147483647",
        "Etc/GMT-99",
    ];
    for text in odd {
        for source in [
            "self.format([1, self, 1.5]) == ''",
            "url(self).getHost() + url(self).getPort() + url(self).getEscapedPath() + url(self).getHostname() == ''",
            "url('/?' + self).getQuery() == {}",
            "semver(self, true).major() == 1 || semver(self).minor() == 1",
            "quantity(self).add(quantity(self)).sub(1).isInteger() || isQuantity(self)",
            "string(timestamp(self)) == '' || timestamp(self) + duration('9000h') > timestamp(0)",
            "string(duration(self)) == '' || duration(self) - duration('-1h') > duration('1s')",
            "timestamp('9999-12-31T23:59:59Z').getHours(self) + timestamp('0001-01-01T00:00:00Z').getDayOfYear(self) == 1",
            "self.split('', 1) == self.split(self, 0) && self.split('') == self.split(self, -1)",
            "self.lastIndexOf('é', 1) + 'ééé'.lastIndexOf(self, 9) + self.indexOf(self, 9) + 'ééé'.indexOf(self, 1) == 1",
            "self.substring(1) + self.substring(0, 1) + self.charAt(1) + self.replace('', self, 3) == ''",
            "['dns1123LabelPrefix', 'dns1123Subdomain', 'qualifiedName', 'labelValue', 'uri', 'uuid', 'byte', 'date', 'datetime'].all(f, format.named(f).value().validate(self).hasValue())",
            "isCIDR(self) || isCIDR(self + '/0') || isIP(self)",
            "strings.quote(self) == string(bytes(self)) || [self].sortBy(x, x).first().value().size() == 9",
        ] {
            assert!(run(source, &json!({"type": "string"}), &json!(text)).is_ok(), "{source}");
        }
    }
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
