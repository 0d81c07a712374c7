//! Indexes of the pods of a job as texts have them: `1,3-5,7`.

use std::cmp::Ordering;

use crate::field::quote;

/// First and last index.
type Interval = (i64, i64);

/// How many indexes a text names, all below `completions` and in rising order.
///
/// # Errors
/// What is wrong, in the original's words.
pub fn count(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last = None;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn interval(text: &str, completions: i64) -> Result<Interval, String> {
    let parts: Vec<&str> = text.split('-').collect();
    if parts.len() > 2 {
        return Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            quote(text)
        ));
    }
    let number = |text: &str| -> Result<i64, String> {
        let wrong = || format!("cannot convert string to integer for index: {}", quote(text));
        let number: i64 = text.parse().map_err(|_| wrong())?;
        if number >= completions { Err(format!("too large index: {}", quote(text))) } else { Ok(number) }
    };
    let first = number(parts[0])?;
    let Some(last) = parts.get(1) else {
        return Ok((first, first));
    };
    let last = number(last)?;
    if first >= last {
        return Err(format!("non-increasing order, previous: {first}, current: {last}"));
    }
    Ok((first, last))
}

/// The first index that is in both texts. What cannot be read counts as absent.
pub fn overlap(a: &str, b: &str, completions: i64) -> Option<i64> {
    let parse = |text: &str| -> Vec<Interval> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (a, b) = (parse(a), parse(b));
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    while let (Some((a_first, a_last)), Some((b_first, b_last))) = (left.peek(), right.peek()) {
        if a_first <= b_last && b_first <= a_last {
            return Some(*a_first.max(b_first));
        }
        match a_first.cmp(b_first) {
            Ordering::Greater => right.next(),
            _ => left.next(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_rise_and_are_below_the_completions() {
        assert_eq!(count("", 5), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
        assert_eq!(count("2,1", 5), Err("non-increasing order, previous: 2, current: 1".to_owned()));
        assert_eq!(count("3-3", 5), Err("non-increasing order, previous: 3, current: 3".to_owned()));
        assert_eq!(count("5", 5), Err("too large index: \"5\"".to_owned()));
        assert_eq!(count("a", 5), Err("cannot convert string to integer for index: \"a\"".to_owned()));
    }

    #[test]
    fn the_first_index_in_both_is_found() {
        assert_eq!(overlap("0-2,5", "3,4-6", 9), Some(5));
        assert_eq!(overlap("0-2", "3", 9), None);
        assert_eq!(overlap("", "3", 9), None);
    }
}
