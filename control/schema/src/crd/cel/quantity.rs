//! Amounts of resources (`quantity('1.5Gi')`).
//!
//! The original holds most of them as a whole number and a power of ten, which it does not reduce: `1000m` is no whole
//! number to it, though it equals `1`.

use apiclient_core::quantity::Quantity;

use super::eval::{Answer, error, no_overload};
use super::value::Value;

/// An amount, and the original's form of it: `1500m` is 1500 and -3. `None`: one with more digits than fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub value: Quantity,
    form: Option<(i64, i32)>,
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let value = text.parse().ok()?;
        Some(Self { value, form: form(text) })
    }

    fn whole(number: i64) -> Self {
        Self { value: number.into(), form: Some((number, 0)) }
    }

    fn as_integer(self) -> Option<i64> {
        match self.form? {
            (number, power @ 0..) => scaled(number, power),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an approximation is what is asked for")]
    fn as_float(self) -> f64 {
        match self.form {
            Some((number, 0)) => number as f64,
            Some((number, power)) => number as f64 * format!("1e{power}").parse::<f64>().unwrap_or_default(),
            None => self.value.milli_value() as f64 / 1000.0,
        }
    }

    fn plus(self, other: Self) -> Self {
        let sum = |(a, of_a): (i64, i32), (b, of_b): (i64, i32)| match (a, b) {
            (_, 0) => Some((a, of_a)),
            (0, _) => Some((b, of_b)),
            _ => {
                let power = of_a.min(of_b);
                Some((scaled(a, of_a - power)?.checked_add(scaled(b, of_b - power)?)?, power))
            }
        };
        let form = self.form.zip(other.form).and_then(|(a, b)| sum(a, b));
        Self { value: self.value.plus(other.value), form }
    }

    fn minus(self, other: Self) -> Self {
        let negative = other.form.and_then(|(number, power)| Some((number.checked_neg()?, power)));
        let Self { form, .. } = self.plus(Self { form: negative, ..other });
        Self { value: self.value.minus(other.value), form }
    }
}

fn scaled(number: i64, power: i32) -> Option<i64> {
    number.checked_mul(10_i64.checked_pow(u32::try_from(power).ok()?)?)
}

/// The original's form of a text that is an amount.
fn form(text: &str) -> Option<(i64, i32)> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let size = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = body.split_at(size);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let digits = whole.len() + fraction.len();
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let place = |known: &[&str]| {
        known.iter().position(|known| *known == suffix).and_then(|nth| i32::try_from(nth).ok())
    };
    let (power, factor) = if let Some(nth) = place(&binary) {
        let power = (nth + 1) * 10;
        // Roughly the digits that such a power of two has.
        let left = 15 - i32::try_from(whole.len()).ok()? - power * 3 / 10 - 1;
        if left < 0 || !fraction.is_empty() {
            return None;
        }
        (0, 1_i64 << power)
    } else {
        let exponent = match place(&decimal) {
            Some(nth) => nth * 3 - 9,
            None => suffix.strip_prefix(['e', 'E'])?.parse().ok()?,
        };
        let power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        if digits > 18 || power < -9 {
            return None;
        }
        (power, 1)
    };
    let number = format!("{whole}{fraction}").parse::<i64>().ok()?.checked_mul(factor)?;
    Some((if text.starts_with('-') { -number } else { number }, power))
}

/// `None`: no function of amounts.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    // A whole number stands for a quantity in arithmetic.
    let amount = |value: &Value<'a>| match value {
        Value::Quantity(amount) => Some(*amount),
        Value::Int(n) => Some(Amount::whole(*n)),
        _ => None,
    };
    Some(match (name, args) {
        ("quantity", [Value::Text(text)]) => match Amount::parse(text.get()) {
            Some(amount) => Ok(Value::Quantity(amount)),
            None => error(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        },
        ("isQuantity", [Value::Text(text)]) => Ok(Value::Bool(Amount::parse(text.get()).is_some())),
        ("add", [Value::Quantity(a), b]) => {
            amount(b).map_or_else(no_overload, |b| Ok(Value::Quantity(a.plus(b))))
        }
        ("sub", [Value::Quantity(a), b]) => {
            amount(b).map_or_else(no_overload, |b| Ok(Value::Quantity(a.minus(b))))
        }
        ("isLessThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a.value < b.value)),
        ("isGreaterThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a.value > b.value)),
        ("compareTo", [Value::Quantity(a), Value::Quantity(b)]) => {
            Ok(Value::Int(a.value.cmp(&b.value) as i64))
        }
        ("sign", [Value::Quantity(a)]) => Ok(Value::Int(a.value.milli_value().signum())),
        ("isInteger", [Value::Quantity(a)]) => Ok(Value::Bool(a.as_integer().is_some())),
        ("asInteger", [Value::Quantity(a)]) => match a.as_integer() {
            Some(number) => Ok(Value::Int(number)),
            None => error("cannot convert value to integer"),
        },
        ("asApproximateFloat", [Value::Quantity(a)]) => Ok(Value::Double(a.as_float())),
        _ => return None,
    })
}
