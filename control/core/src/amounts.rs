//! Numbers of pods that are given as such or as a part of all: `1`, `25%` (`IntOrString`).

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::metadata::not_negative;
use crate::names;

/// A number of at least 0, or a percentage.
pub fn positive(amount: &At<'_>) -> Errors {
    match amount.value.as_str() {
        Some(text) => amount.invalid_each(names::percent(text)).collect(),
        None => not_negative(amount).into_iter().collect(),
    }
}

/// No more than `100%`.
pub fn at_most_all(amount: &At<'_>) -> Option<FieldError> {
    percentage(amount)
        .is_some_and(|percent| percent > 100)
        .then(|| amount.invalid("must not be greater than 100%"))
}

/// The number, or that of the percentage; 0 for what is neither.
pub fn value(amount: &At<'_>) -> i64 {
    let text = || amount.text().parse().unwrap_or_default();
    percentage(amount).or_else(|| amount.int()).unwrap_or_else(text)
}

fn percentage(amount: &At<'_>) -> Option<i64> {
    let text = amount.value.as_str().filter(|text| names::percent(text).is_empty())?;
    Some(text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_numbers_or_percentages() {
        let check = |value| {
            let at = At::object(&value);
            (positive(&at).len(), at_most_all(&at).is_some(), super::value(&at))
        };
        assert_eq!(check(json!(3)), (0, false, 3));
        assert_eq!(check(json!(-3)), (1, false, -3));
        assert_eq!(check(json!("30%")), (0, false, 30));
        assert_eq!(check(json!("130%")), (0, true, 130));
        assert_eq!(check(json!("x")), (1, false, 0));
        assert_eq!(check(json!("7")), (1, false, 7));
        assert_eq!(check(json!("99999999999999999999%")), (0, true, i64::MAX));
    }
}
