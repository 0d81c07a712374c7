//! Numbers as texts show them.

/// As Go's `%g`: the digits that it takes, with an exponent where that is shorter.
pub(super) fn general(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..GENERAL).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => number.to_string(),
    }
}

/// From this power of ten on, numbers of the form `%g` have an exponent.
const GENERAL: i32 = 6;

/// More digits than these behind the point are zero in each number, and more than the standard library formats.
const MOST: usize = 1100;

/// So many digits behind the point, and commas between thousands.
pub(super) fn fixed(number: f64, precision: usize) -> String {
    if let Some(text) = unusual(number) {
        return text.to_owned();
    }
    let text = format!("{:.*}", precision.min(MOST), number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::with_capacity(text.len() + text.len() / 3 + precision.saturating_sub(MOST));
    if number.is_sign_negative() {
        out.push('-');
    }
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if precision > 0 {
        out.push('.');
        out.push_str(fraction);
        out.extend(std::iter::repeat_n('0', precision.saturating_sub(MOST)));
    }
    out
}

/// `1.500000×10⁰³`, with spaces before it where it is shorter than `width`.
pub(super) fn scientific(number: f64, width: usize) -> String {
    let text = unusual(number).map_or_else(|| power_of_ten(number), str::to_owned);
    format!("{}{text}", " ".repeat(width.saturating_sub(text.chars().count())))
}

fn power_of_ten(number: f64) -> String {
    let text = format!("{number:.6e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ("⁻", exponent),
        None => ("", exponent),
    };
    let raised = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digit = |c: char| c.to_digit(10).and_then(|n| raised.get(usize::try_from(n).ok()?)).copied();
    let exponent: String = format!("{exponent:0>2}").chars().filter_map(digit).collect();
    format!("{digits}×10{sign}{exponent}")
}

fn unusual(number: f64) -> Option<&'static str> {
    match number {
        _ if number.is_nan() => Some("NaN"),
        f64::INFINITY => Some("∞"),
        f64::NEG_INFINITY => Some("-∞"),
        _ => None,
    }
}
