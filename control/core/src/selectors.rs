//! Label selectors as objects hold them (`LabelSelector` of apimachinery): what they must be, what they select, how tables
//! show them.
//!
//! Begin at [`validate`] and [`Selector::of`].

use serde_json::Value;

use crate::at::{At, Errors};
use crate::{metadata, names};

/// What a selector must be; an absent one is right. `lenient` leaves the values of expressions alone: for objects that
/// were stored with wrong ones.
pub fn validate(selector: &At<'_>, lenient: bool) -> Errors {
    let mut errors = metadata::labels(&selector.get("matchLabels"));
    for expression in selector.get("matchExpressions").items() {
        errors.extend(requirement(&expression, lenient, false));
    }
    errors
}

/// One expression of a selector. `any_operator` leaves unknown operators to whom they are for (access reviews).
pub fn requirement(expression: &At<'_>, lenient: bool, any_operator: bool) -> Errors {
    let mut errors = Errors::new();
    let (operator, values) = (expression.get("operator"), expression.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "Exists" | "DoesNotExist" => {}
        _ if any_operator => {}
        _ => errors.push(operator.invalid_text("not a valid selector operator")),
    }
    errors.extend(metadata::label_name(&expression.get("key")));
    if !lenient {
        for value in values.items() {
            errors.extend(value.invalid_each(names::label_value(value.text())));
        }
    }
    errors
}

/// A selector that can be evaluated: its requirements in the order of their keys, or `None`, which selects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector<'a>(Option<Vec<Requirement<'a>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement<'a> {
    key: &'a str,
    test: Test<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test<'a> {
    Equals(&'a str),
    In(Vec<&'a str>),
    NotIn(Vec<&'a str>),
    Exists,
    DoesNotExist,
}

impl<'a> Selector<'a> {
    /// Absent, it selects nothing; empty, everything. `None` where it is invalid.
    pub fn of(selector: &'a Value) -> Option<Self> {
        if selector.is_null() {
            return Some(Self(None));
        }
        let at = At::object(selector);
        if !validate(&at, false).is_empty() {
            return None;
        }
        let equals = |(key, value): (&'a str, At<'a>)| Requirement { key, test: Test::Equals(value.text()) };
        let mut requirements: Vec<Requirement<'a>> = at.get("matchLabels").entries().map(equals).collect();
        for expression in at.get("matchExpressions").items() {
            let mut values: Vec<&'a str> =
                expression.get("values").items().map(|value| value.text()).collect();
            values.sort_unstable();
            let test = match expression.get("operator").text() {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::DoesNotExist,
            };
            requirements.push(Requirement { key: expression.get("key").text(), test });
        }
        requirements.sort_by_key(|requirement| requirement.key);
        Some(Self(Some(requirements)))
    }

    /// It has no requirements, or selects nothing.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }

    /// `labels` is a map of texts, or `null`.
    pub fn matches(&self, labels: &Value) -> bool {
        self.0.as_ref().is_some_and(|all| all.iter().all(|one| one.holds(labels)))
    }
}

impl Requirement<'_> {
    fn holds(&self, labels: &Value) -> bool {
        let value = labels.get(self.key).map(|value| value.as_str().unwrap_or_default());
        match &self.test {
            Test::Equals(wanted) => value == Some(wanted),
            Test::In(wanted) => value.is_some_and(|value| wanted.contains(&value)),
            Test::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(&value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

impl std::fmt::Display for Selector<'_> {
    /// `a=b,c in (d,e),!f`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, Requirement { key, test }) in self.0.iter().flatten().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match test {
                Test::Equals(value) => write!(f, "{comma}{key}={value}")?,
                Test::In(values) => write!(f, "{comma}{key} in ({})", values.join(","))?,
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(","))?,
                Test::Exists => write!(f, "{comma}{key}")?,
                Test::DoesNotExist => write!(f, "{comma}!{key}")?,
            }
        }
        Ok(())
    }
}

/// As tables show it: `<none>` for one without requirements, `<error>` for an invalid one.
pub fn shown(selector: &Value) -> String {
    match Selector::of(selector) {
        None => "<error>".to_owned(),
        Some(selector) if selector.is_empty() => "<none>".to_owned(),
        Some(selector) => selector.to_string(),
    }
}

fn requirement_json(requirement: &Value) -> String {
    let requirement = At::object(requirement);
    let text = |name: &str| crate::shown::text(&requirement.get(name));
    let mut members = vec![("key", text("key")), ("operator", text("operator"))];
    if !requirement.get("values").is_empty() {
        members.push(("values", requirement.get("values").value.to_string()));
    }
    crate::shown::fields(&members)
}

/// A selector as JSON with its fields in the original's order: `{"matchLabels":{"a":"b"},"matchExpressions":[...]}`.
pub fn json(selector: &Value) -> String {
    let member = |name: &str| {
        let value = selector.get(name).filter(|value| !At::object(value).is_empty())?;
        match value.as_array() {
            // What a requirement always has is shown also where it is empty.
            Some(requirements) => {
                let shown: Vec<String> = requirements.iter().map(requirement_json).collect();
                Some(format!("\"{name}\":[{}]", shown.join(",")))
            }
            None => Some(format!("\"{name}\":{value}")),
        }
    };
    match selector {
        Value::Null => "null".to_owned(),
        _ => {
            let members: Vec<String> =
                ["matchLabels", "matchExpressions"].into_iter().filter_map(member).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        let (absent, empty) = (json!(null), json!({}));
        assert!(!Selector::of(&absent).expect("valid").matches(&json!({"a": "b"})));
        assert!(Selector::of(&empty).expect("valid").matches(&json!(null)));
        assert_eq!((shown(&absent), shown(&empty)), ("<none>".to_owned(), "<none>".to_owned()));
    }

    #[test]
    fn every_requirement_must_hold() {
        let selector = json!({"matchLabels": {"d": "e"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["2", "1"]}, {"key": "b", "operator": "NotIn", "values": ["x"]},
            {"key": "a", "operator": "Exists"}, {"key": "e", "operator": "DoesNotExist"}]});
        let of = Selector::of(&selector).expect("valid");
        assert!(of.matches(&json!({"a": "", "c": "1", "d": "e"})));
        for wrong in [
            json!({"c": "1", "d": "e"}),
            json!({"a": "", "b": "x", "c": "1", "d": "e"}),
            json!({"a": "", "c": "3", "d": "e"}),
            json!({"a": "", "c": "1", "d": "f"}),
            json!({"a": "", "c": "1", "d": "e", "e": ""}),
        ] {
            assert!(!of.matches(&wrong), "{wrong}");
        }
        assert_eq!(shown(&selector), "a,b notin (x),c in (1,2),d=e,!e");
        let (labels, expressions) = (&selector["matchLabels"], &selector["matchExpressions"]);
        assert_eq!(
            json(&selector),
            format!("{{\"matchLabels\":{labels},\"matchExpressions\":{expressions}}}")
        );
    }

    #[test]
    fn an_invalid_selector_is_named_with_its_fields() {
        let selector = json!({"matchExpressions": [{"key": "", "operator": "X"}]});
        let errors = validate(&At::object(&selector), false);
        assert_eq!(
            errors[0].to_string(),
            "matchExpressions[0].operator: Invalid value: \"X\": not a valid selector operator"
        );
        assert_eq!(Selector::of(&selector), None);
        assert_eq!(shown(&selector), "<error>");
    }
}
