//! Which objects are meant, by their labels or by their fields.
//!
//! Facts: apimachinery's `labels` and `fields` packages. A label selector's text: `a=b,c!=d,e in (f,g),h notin (i),j,!k,
//! l>1,m<2`; a field selector's: `metadata.name=a,spec.nodeName!=b`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::str::FromStr;

use serde::Deserialize;

use crate::fields::{objects, or_default};
use crate::names;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a selector: {problem}", names::quoted(.text))]
pub struct BadSelector {
    pub text: String,
    pub problem: String,
}

/// Requirements on labels, all of which must hold; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Requirement>);

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    pub key: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    Exists,
    DoesNotExist,
    In(BTreeSet<String>),
    /// Holds where the label is absent, too.
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// # Errors
    /// A key or a value that no label can have.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Result<Self, BadSelector> {
        let mut found: Vec<_> = requirements.into_iter().collect();
        found.sort();
        for requirement in &found {
            let failed = |error: names::BadName| BadSelector {
                text: requirement.to_string(),
                problem: error.to_string(),
            };
            names::qualified(&requirement.key).map_err(failed)?;
            if let Test::In(values) | Test::NotIn(values) = &requirement.test {
                values.iter().try_for_each(|value| names::label_value(value)).map_err(failed)?;
            }
        }
        Ok(Self(found))
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels.get(&requirement.key).map(String::as_str)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::GreaterThan(least) => number().is_some_and(|number| number > *least),
            Test::LessThan(most) => number().is_some_and(|number| number < *most),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, requirement) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_char(',')?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, list) = (&self.key, |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        });
        match &self.test {
            Test::Exists => f.write_str(key),
            Test::DoesNotExist => write!(f, "!{key}"),
            Test::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Test::In(values) => write!(f, "{key} in ({})", list(values)),
            Test::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Test::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Test::GreaterThan(least) => write!(f, "{key}>{least}"),
            Test::LessThan(most) => write!(f, "{key}<{most}"),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let failed = |problem: String| BadSelector { text: text.to_owned(), problem };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed = parts(text).map(requirement).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        Self::new(parsed).map_err(|error| failed(error.problem))
    }
}

/// Splits at commas outside of parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    let of = |key: &str, test: Test| Ok(Requirement { key: key.trim().to_owned(), test });
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    let number = |value: &str| {
        value.trim().parse().map_err(|_| format!("{} is not a whole number", names::quoted(value.trim())))
    };
    if text.is_empty() {
        return Err("there is nothing between two commas".to_owned());
    }
    if let Some(key) = text.strip_prefix('!') {
        return of(key, Test::DoesNotExist);
    }
    if let Some(inner) = text.strip_suffix(')') {
        let (head, values) = inner.split_once('(').ok_or("')' without '('")?;
        let values: BTreeSet<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head.trim().rsplit_once(char::is_whitespace).ok_or("want KEY in (...)")?;
        return match word {
            "in" => of(key, Test::In(values)),
            "notin" => of(key, Test::NotIn(values)),
            other => Err(format!("{} is not in or notin", names::quoted(other))),
        };
    }
    let at = text.find(['=', '!', '<', '>']);
    let Some(at) = at else { return of(text, Test::Exists) };
    let (key, rest) = text.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        of(key, Test::NotIn(one(value)))
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        of(key, Test::In(one(value)))
    } else if let Some(value) = rest.strip_prefix('>') {
        of(key, Test::GreaterThan(number(value)?))
    } else if let Some(value) = rest.strip_prefix('<') {
        of(key, Test::LessThan(number(value)?))
    } else {
        Err(format!("{} has no operator that is known", names::quoted(text)))
    }
}

/// A label selector as a field of an object (`metav1.LabelSelector`). An absent one selects nothing, an empty one
/// everything: absence is the holder's to know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(deserialize_with = "or_default")]
    match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "objects")]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default, deserialize_with = "or_default")]
    values: BTreeSet<String>,
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = crate::fields::Map::<Written>::deserialize(from)?.0;
        let labels = written.match_labels.into_iter();
        let mut all: Vec<_> =
            labels.map(|(key, value)| Requirement { key, test: Test::In(BTreeSet::from([value])) }).collect();
        for Expression { key, operator, values } in written.match_expressions {
            let test = match (operator.as_str(), values.is_empty()) {
                ("In", false) => Test::In(values),
                ("NotIn", false) => Test::NotIn(values),
                ("Exists", true) => Test::Exists,
                ("DoesNotExist", true) => Test::DoesNotExist,
                ("In" | "NotIn", true) => {
                    return Err(serde::de::Error::custom(format!("operator {operator} needs values")));
                }
                ("Exists" | "DoesNotExist", false) => {
                    return Err(serde::de::Error::custom(format!("operator {operator} takes no values")));
                }
                _ => {
                    let problem = format!(
                        "{} is not an operator (In, NotIn, Exists, DoesNotExist)",
                        names::quoted(&operator)
                    );
                    return Err(serde::de::Error::custom(problem));
                }
            };
            all.push(Requirement { key, test });
        }
        Self::new(all).map_err(serde::de::Error::custom)
    }
}

/// Requirements on fields, all of which must hold; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector(Vec<FieldRequirement>);

/// A field, whether it must have a value or must not, and the value. An absent field has the empty value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldRequirement {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

impl FieldSelector {
    /// `field` must be `value`.
    #[must_use]
    pub fn equal(mut self, field: &str, value: &str) -> Self {
        self.0.push(FieldRequirement { field: field.to_owned(), equal: true, value: value.to_owned() });
        self
    }

    /// `field` must not be `value`.
    #[must_use]
    pub fn not_equal(mut self, field: &str, value: &str) -> Self {
        self.0.push(FieldRequirement { field: field.to_owned(), equal: false, value: value.to_owned() });
        self
    }

    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }

    /// `value_of` tells the value of a field; empty where there is none.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|wanted| (value_of(&wanted.field) == wanted.value) == wanted.equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, FieldRequirement { field, equal, value }) in self.0.iter().enumerate() {
            let (comma, operator) = (if nth > 0 { "," } else { "" }, if *equal { "=" } else { "!=" });
            write!(f, "{comma}{field}{operator}")?;
            for letter in value.chars() {
                if matches!(letter, '\\' | ',' | '=') {
                    f.write_char('\\')?;
                }
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl FromStr for FieldSelector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let failed = |problem: &str| BadSelector { text: text.to_owned(), problem: problem.to_owned() };
        let mut found = Self::default();
        for part in unescaped_parts(text).into_iter().filter(|part| !part.is_empty()) {
            let at = part.find(['=', '!']).ok_or_else(|| failed("want FIELD=VALUE or FIELD!=VALUE"))?;
            let (field, rest) = part.split_at(at);
            let (equal, value) = match rest {
                _ if rest.starts_with("!=") => (false, &rest[2..]),
                _ if rest.starts_with("==") => (true, &rest[2..]),
                _ if rest.starts_with('=') => (true, &rest[1..]),
                _ => return Err(failed("want FIELD=VALUE or FIELD!=VALUE")),
            };
            let value = unescape(value).ok_or_else(|| {
                failed("in a value '\\' stands before '\\', ',' or '=' only, and these after it only")
            })?;
            found.0.push(FieldRequirement { field: field.to_owned(), equal, value });
        }
        Ok(found)
    }
}

/// Splits at commas without a backslash before them.
fn unescaped_parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Option<String> {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => letters.next().filter(|next| matches!(next, '\\' | ',' | '='))?,
            ',' | '=' => return None,
            letter => letter,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn label_selectors_are_read_matched_and_printed() {
        let here = labels(&[("a", "b"), ("x/y", ""), ("n", "5")]);
        for (text, printed, matches) in [
            ("", "", true),
            ("a", "a", true),
            ("!a", "!a", false),
            (" a = b ", "a=b", true),
            ("a==c", "a=c", false),
            ("z!=b", "z!=b", true),
            ("a in (c, b)", "a in (b,c)", true),
            ("a in (b)", "a=b", true),
            ("z notin (b,c)", "z notin (b,c)", true),
            ("a notin (b)", "a!=b", false),
            ("x/y=", "x/y=", true),
            ("n>4,n<6", "n>4,n<6", true),
            ("n>5", "n>5", false),
            ("z>1", "z>1", false),
            ("a=b,!c,x/y in (,q)", "a=b,!c,x/y in (,q)", true),
        ] {
            let found: LabelSelector = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(found.to_string(), printed, "{text}");
            assert_eq!(found.matches(&here), matches, "{text}");
        }
        for bad in [
            ",",
            "a,,b",
            "a in b",
            "a in (b",
            "a b",
            "a=b=c",
            "a in (b) c",
            "a>x",
            "a!",
            "-a",
            "a=é",
            "a on (b)",
        ] {
            assert!(bad.parse::<LabelSelector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_selector_in_an_object_is_the_same() {
        let written = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
        let found: LabelSelector = serde_json::from_value(written).expect("a selector");
        assert_eq!(found.to_string(), "a=b,c in (d,e),!f");
        for bad in [
            json!({"matchExpressions": [{"key": "c", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "c", "operator": "Exists", "values": ["d"]}]}),
            json!({"matchExpressions": [{"key": "c", "operator": "Is"}]}),
            json!({"matchLabels": {"": "b"}}),
            json!([]),
        ] {
            assert!(serde_json::from_value::<LabelSelector>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_are_read_matched_and_printed() {
        let value_of = |field: &str| if field == "metadata.name" { "a" } else { "" };
        for (text, printed, matches) in [
            ("", "", true),
            ("metadata.name=a", "metadata.name=a", true),
            ("metadata.name==b,spec.nodeName!=x", "metadata.name=b,spec.nodeName!=x", false),
            ("spec.nodeName=", "spec.nodeName=", true),
            (r"x=a\,b\=c\\", r"x=a\,b\=c\\", false),
        ] {
            let found: FieldSelector = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((found.to_string().as_str(), found.matches(value_of)), (printed, matches), "{text}");
        }
        for bad in ["a", "a!b", r"a=b\c", "a=b=c"] {
            assert!(bad.parse::<FieldSelector>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "[a-c=!<>() ,in0-2./-]{0,24}") {
            if let Ok(found) = text.parse::<LabelSelector>() {
                prop_assert_eq!(found.to_string().parse::<LabelSelector>(), Ok(found));
            }
        }

        #[test]
        fn no_text_breaks_them(text in any::<String>(), value in any::<String>()) {
            let _ = text.parse::<LabelSelector>();
            if let Ok(found) = text.parse::<FieldSelector>() {
                prop_assert_eq!(found.to_string().parse::<FieldSelector>(), Ok(found));
            }
            let made = FieldSelector::default().equal("a.b", &value).not_equal("c", "d");
            prop_assert_eq!(made.to_string().parse::<FieldSelector>(), Ok(made));
        }
    }
}
