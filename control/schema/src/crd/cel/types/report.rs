//! Errors in a source, with the line and the place in it.

use super::super::syntax;
use super::tree::{PAST, Wrong};

/// Longer lines are not shown.
const MAX_LINE: usize = 16 << 10;

/// What is wrong, in the order of the source, as CEL shows it.
pub(super) fn show(source: &str, wrong: Vec<Wrong>) -> String {
    let places = syntax::places(source);
    let mut wrong: Vec<((usize, usize), String)> = wrong
        .into_iter()
        .map(|(place, what)| {
            let mut at = places(place & !PAST).unwrap_or_default();
            if place & PAST != 0 {
                at += source.get(at..).and_then(|rest| rest.find(['(', '{'])).unwrap_or(0);
            }
            (line_and_column(source, at), what)
        })
        .collect();
    wrong.sort_by_key(|(at, _)| *at);
    let lines: Vec<&str> = source.split('\n').collect();
    let shown = wrong.iter().map(|((line, column), what)| {
        let text = lines.get(*line).copied().unwrap_or_default();
        one(*line, *column, text, what)
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// From 0 each.
fn line_and_column(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    (before.matches('\n').count(), before.rsplit('\n').next().unwrap_or_default().chars().count())
}

/// One error, and the line that it is in with a mark below.
pub(in super::super) fn one(line: usize, column: usize, text: &str, what: &str) -> String {
    let head = format!("ERROR: <input>:{}:{}: {what}", line + 1, column + 1);
    if text.len() > MAX_LINE {
        return head;
    }
    let text = text.replace('\t', " ");
    // Letters of several bytes are wide ones.
    let mut letters = text.chars();
    let dots: String =
        letters.by_ref().take(column).map(|c| if c.is_ascii() { '.' } else { '\u{ff0e}' }).collect();
    let mark = if letters.next().is_some_and(|c| !c.is_ascii()) { '\u{ff3e}' } else { '^' };
    format!("{head}\n | {text}\n | {dots}{mark}")
}
