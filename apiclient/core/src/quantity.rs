//! Amounts of resources, as Kubernetes writes them: `100m`, `1.5`, `64Mi`, `2e3`.
//!
//! Facts: apimachinery's `api/resource/quantity.go`: what is finer than a billionth is rounded up (away from zero), what
//! is larger than 2^63-1 becomes that.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
const MOST: i128 = i64::MAX as i128 * NANO;

/// An amount. Equal and ordered by its value, whatever the notation; [`fmt::Display`] is the canonical text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Notation {
    /// `m`, `k`, `M`, ...
    #[default]
    Decimal,
    /// `Ki`, `Mi`, ...
    Binary,
    /// `e3`.
    Exponent,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a quantity: want a number with one of the suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent", crate::names::quoted(.0))]
pub struct BadQuantity(pub String);

impl Quantity {
    pub fn of_nano(billionths: i64) -> Self {
        Self { nanos: i128::from(billionths), notation: Notation::Decimal }
    }

    pub fn of_milli(thousandths: i64) -> Self {
        Self {
            nanos: (i128::from(thousandths) * (NANO / 1000)).clamp(-MOST, MOST),
            notation: Notation::Decimal,
        }
    }

    /// The same amount, written with `Ki`, `Mi` and so on.
    #[must_use]
    pub fn binary(self) -> Self {
        Self { notation: Notation::Binary, ..self }
    }

    /// The value, rounded up.
    pub fn value(self) -> i64 {
        self.scaled(NANO)
    }

    /// The value in thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(self, unit: i128) -> i64 {
        i64::try_from(ceil(self.nanos, unit)).unwrap_or(if self.nanos < 0 { i64::MIN } else { i64::MAX })
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// The sum in the notation of the first, at most 2^63-1.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { nanos: (self.nanos + other.nanos).clamp(-MOST, MOST), ..self }
    }

    /// The difference in the notation of the first.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, ..other })
    }
}

impl From<i64> for Quantity {
    fn from(whole: i64) -> Self {
        Self { nanos: (i128::from(whole) * NANO).max(-MOST), notation: Notation::Decimal }
    }
}

/// Division that rounds away from zero.
fn ceil(value: i128, by: i128) -> i128 {
    value / by + (value % by).signum()
}

impl FromStr for Quantity {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || BadQuantity(text.to_owned());
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let size = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = body.split_at(size);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(bad());
        }
        let (notation, base, power) = unit(suffix).ok_or_else(bad)?;
        let nanos = nanos(whole, fraction, base, power);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, notation })
    }
}

/// Notation, base and power of a suffix.
fn unit(suffix: &str) -> Option<(Notation, u32, i32)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(nth) = decimal.iter().position(|known| *known == suffix) {
        return Some((Notation::Decimal, 10, i32::try_from(nth).ok()? * 3 - 9));
    }
    if let Some(nth) = binary.iter().position(|known| *known == suffix) {
        return Some((Notation::Binary, 2, (i32::try_from(nth).ok()? + 1) * 10));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Anything beyond these is nothing or too much anyway.
    let power = exponent.parse::<i32>().unwrap_or(if exponent.starts_with('-') { -1000 } else { 1000 });
    Some((Notation::Exponent, 10, power.clamp(-1000, 1000)))
}

/// The value in billionths, rounded up and capped.
fn nanos(whole: &str, fraction: &str, base: u32, power: i32) -> i128 {
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    // Place of the decimal point, in digits from the left, for a value in billionths.
    let mut point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(9);
    let mut factor = 1_i128;
    if base == 10 {
        point += i64::from(power);
    } else {
        factor = 1 << power;
    }
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..zeros);
    point -= i64::try_from(zeros).unwrap_or(i64::MAX);
    if digits.is_empty() {
        return 0;
    }
    if point > 30 {
        return MOST;
    }
    // Twenty digits behind the point are more than 2^60 can make matter.
    let (mut value, mut exact) = (0_i128, true);
    let kept = if factor == 1 { point } else { point + 9 };
    for place in 0..kept.max(0) {
        let digit = usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
        value = value.saturating_mul(10).saturating_add(i128::from(digit));
    }
    let rest = usize::try_from(kept.max(0)).unwrap_or(usize::MAX);
    exact &= digits.iter().skip(rest).all(|digit| *digit == 0);
    if factor == 1 {
        return value.saturating_add(i128::from(!exact)).min(MOST);
    }
    let product = value.saturating_mul(factor);
    ceil(product, 1_000_000_000).saturating_add(i128::from(!exact && product % 1_000_000_000 == 0)).min(MOST)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.notation == Notation::Binary && whole && self.nanos.abs() >= 1024 * NANO {
            let (mut value, mut nth) = (self.nanos / NANO, 0);
            while value % 1024 == 0 && nth < 6 {
                value /= 1024;
                nth += 1;
            }
            return write!(f, "{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][nth]);
        }
        let (mut value, mut power) = (self.nanos, -9);
        while value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        match (self.notation, power) {
            (_, 0) => write!(f, "{value}"),
            (Notation::Exponent, power) => write!(f, "{value}e{power}"),
            (_, power) => {
                let nth = usize::try_from((power + 9) / 3).unwrap_or_default();
                write!(f, "{value}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][nth])
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A text, or a bare number, as YAML has it.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, for instance 100m or 64Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(number.into())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
        }

        from.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|error| error.to_string(), |found| found.to_string())
    }

    #[test]
    fn the_canonical_text_is_kubernetes() {
        for (text, want) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("-1.50", "-1500m"),
            ("0.1", "100m"),
            (".5", "500m"),
            ("5.", "5"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("12000000", "12M"),
            ("1500", "1500"),
            ("1024Ki", "1Mi"),
            ("1023", "1023"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("512Ki", "512Ki"),
            ("1.5Gi", "1536Mi"),
            ("0.0001Mi", "104857600u"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("100e1", "1e3"),
            ("1e-3", "1e-3"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("100E", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("0.1n", "1n"),
            ("0.0000000001", "1n"),
            ("1.1n", "2n"),
            ("-1.1n", "-2n"),
            ("1e-400", "1e-9"),
            ("9e400", "9223372036854775807"),
            ("00012", "12"),
            ("1000000000000000000000n", "1T"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
        for bad in [
            "", ".", "-", "1.2.3", "1K", "1ki", "1kk", "1e", "1e+", "1 ", " 1", "1Mi5", "0x1", "1mm", "é",
            "1é",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_compared_added_and_rounded_up() {
        let of = |text: &str| text.parse::<Quantity>().expect("a quantity");
        assert!(of("1") == of("1000m") && of("1Ki") == of("1024") && of("1k") < of("1Ki"));
        assert_eq!((of("1500m").value(), of("-1500m").value(), of("0.1m").milli_value()), (2, -2, 1));
        assert_eq!(of("1Gi").plus(of("1Mi")).to_string(), "1025Mi");
        assert_eq!(of("1").minus(of("100m")).to_string(), "900m");
        assert_eq!(of("9E").plus(of("9E")).value(), i64::MAX);
        let read: Vec<Quantity> =
            serde_json::from_str(r#"["64Mi", 2, 0.5, 18446744073709551615]"#).expect("quantities");
        assert_eq!(
            serde_json::to_string(&read).expect("JSON"),
            r#"["64Mi","2","500m","9223372036854775807"]"#
        );
    }

    proptest! {
        #[test]
        fn the_canonical_text_keeps_the_value_and_is_its_own(
            text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[+-]?[0-9]{1,2})?"
        ) {
            if let Ok(found) = text.parse::<Quantity>() {
                let again: Quantity = found.to_string().parse().expect("its own text");
                prop_assert_eq!(again, found);
                prop_assert_eq!(again.to_string(), found.to_string());
            }
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>()) {
            let _ = text.parse::<Quantity>();
        }
    }
}
