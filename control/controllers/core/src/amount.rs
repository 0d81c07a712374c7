//! Numbers that may be percentages (`IntOrString`).

use serde_json::Value;

/// Which way a part of a pod is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// The number that `amount` is of `total`; `None` where it is neither a number nor a percentage.
pub fn scaled(amount: &Value, total: i64, round: Round) -> Option<i64> {
    if let Some(number) = amount.as_i64() {
        return Some(number);
    }
    let percent: i64 = amount.as_str()?.strip_suffix('%')?.parse().ok()?;
    let hundredths = total.checked_mul(percent)?;
    Some(match round {
        Round::Up => hundredths.div_euclid(100) + i64::from(hundredths.rem_euclid(100) > 0),
        Round::Down => hundredths.div_euclid(100),
    })
}

/// How many pods a roll-out may have beyond `total`, and how many may be missing: with neither it could not go on.
pub fn surge_and_unavailable(surge: &Value, unavailable: &Value, total: i64) -> (i64, i64) {
    let surge = scaled(surge, total, Round::Up).unwrap_or_default();
    let unavailable = scaled(unavailable, total, Round::Down).unwrap_or_default();
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        assert_eq!(scaled(&json!(3), 10, Round::Up), Some(3));
        assert_eq!(scaled(&json!("25%"), 10, Round::Up), Some(3));
        assert_eq!(scaled(&json!("25%"), 10, Round::Down), Some(2));
        assert_eq!(scaled(&json!("100%"), 7, Round::Up), Some(7));
        assert_eq!(scaled(&json!("a quarter"), 10, Round::Up), None);
        assert_eq!(scaled(&Value::Null, 10, Round::Up), None);
        assert_eq!(surge_and_unavailable(&json!("25%"), &json!("25%"), 1), (1, 0));
        assert_eq!(surge_and_unavailable(&json!(0), &json!("1%"), 2), (0, 1));
    }
}
