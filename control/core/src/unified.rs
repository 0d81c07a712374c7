//! Unified differences of texts, as the original shows what an update may not change.
//!
//! Owns: which lines are called the same. Begin at [`difference`].
//!
//! Facts: Python's difflib, whose choice of matching lines the original's library has: the longest block of equal lines, the
//! earliest of several, and again on both sides of it. In texts of 200 lines or more, a line that makes up more than a
//! hundredth of them begins no block.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Equal lines around a change.
const CONTEXT: usize = 3;

/// From how many lines on frequent ones begin no block.
const LONG: usize = 200;

/// Lines `a` of the old text that are lines `b` of the new one; of a change, the one or the other may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    a: Range<usize>,
    b: Range<usize>,
    equal: bool,
}

/// What makes `b` of `a`: hunks with three lines of context, without a header. Empty where they are the same.
pub fn difference(a: &[String], b: &[String]) -> String {
    let mut text = String::new();
    for hunk in hunks(&parts(a, b)) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "@@ -{} +{} @@",
            place(first.a.start..last.a.end),
            place(first.b.start..last.b.end)
        );
        for part in &hunk {
            let mut add = |sign: char, lines: &[String]| {
                for line in lines {
                    let _ = writeln!(text, "{sign}{line}");
                }
            };
            if part.equal {
                add(' ', &a[part.a.clone()]);
            } else {
                add('-', &a[part.a.clone()]);
                add('+', &b[part.b.clone()]);
            }
        }
    }
    text
}

/// `FIRST,NUMBER`, counted from 1; one line has no number, and none comes behind a line.
fn place(lines: Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => (lines.start + 1).to_string(),
        number => format!("{},{number}", lines.start + 1),
    }
}

fn parts(a: &[String], b: &[String]) -> Vec<Part> {
    let mut blocks = Vec::new();
    matching(a, b, &places(b), 0..a.len(), 0..b.len(), &mut blocks);
    blocks.push((a.len(), b.len(), 0));
    let mut parts: Vec<Part> = Vec::new();
    let (mut at_a, mut at_b) = (0, 0);
    for (in_a, in_b, size) in blocks {
        if at_a < in_a || at_b < in_b {
            parts.push(Part { a: at_a..in_a, b: at_b..in_b, equal: false });
        }
        (at_a, at_b) = (in_a + size, in_b + size);
        match parts.last_mut() {
            _ if size == 0 => {}
            // Blocks that touch are one.
            Some(last) if last.equal => (last.a.end, last.b.end) = (at_a, at_b),
            _ => parts.push(Part { a: in_a..at_a, b: in_b..at_b, equal: true }),
        }
    }
    parts
}

/// Where each line of a text is that may begin a block.
fn places(b: &[String]) -> HashMap<&str, Vec<usize>> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (nth, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(nth);
    }
    if b.len() >= LONG {
        places.retain(|_, at| at.len() <= b.len() / 100 + 1);
    }
    places
}

/// Adds the blocks of equal lines within two ranges, in order. Not by recursion: a text may be long.
fn matching(
    a: &[String],
    b: &[String],
    places: &HashMap<&str, Vec<usize>>,
    in_a: Range<usize>,
    in_b: Range<usize>,
    blocks: &mut Vec<(usize, usize, usize)>,
) {
    let mut open = vec![(in_a, in_b)];
    while let Some((in_a, in_b)) = open.pop() {
        let (at_a, at_b, size) = longest(a, b, places, &in_a, &in_b);
        if size == 0 {
            continue;
        }
        blocks.push((at_a, at_b, size));
        open.push((in_a.start..at_a, in_b.start..at_b));
        open.push((at_a + size..in_a.end, at_b + size..in_b.end));
    }
    blocks.sort_unstable();
}

/// The longest block of equal lines within two ranges: where it begins in both, and how long it is.
fn longest(
    a: &[String],
    b: &[String],
    places: &HashMap<&str, Vec<usize>>,
    in_a: &Range<usize>,
    in_b: &Range<usize>,
) -> (usize, usize, usize) {
    let (mut at_a, mut at_b, mut size) = (in_a.start, in_b.start, 0);
    // How long the block is that ends with the last line of a and a line of b.
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for i in in_a.clone() {
        let mut next = HashMap::new();
        let there = places.get(a[i].as_str()).map_or(&[] as &[usize], Vec::as_slice);
        for &j in there.iter().filter(|j| in_b.contains(j)) {
            let before = j.checked_sub(1).and_then(|j| ending.get(&j));
            let length = before.copied().unwrap_or_default() + 1;
            next.insert(j, length);
            if length > size {
                (at_a, at_b, size) = (i + 1 - length, j + 1 - length, length);
            }
        }
        ending = next;
    }
    // Frequent lines begin no block, but belong to one that they touch.
    while at_a > in_a.start && at_b > in_b.start && a[at_a - 1] == b[at_b - 1] {
        (at_a, at_b, size) = (at_a - 1, at_b - 1, size + 1);
    }
    while at_a + size < in_a.end && at_b + size < in_b.end && a[at_a + size] == b[at_b + size] {
        size += 1;
    }
    (at_a, at_b, size)
}

/// The changes with their context, apart where more than two contexts lie between them.
fn hunks(parts: &[Part]) -> Vec<Vec<Part>> {
    let mut hunks = Vec::new();
    let mut hunk: Vec<Part> = Vec::new();
    for (nth, part) in parts.iter().enumerate() {
        if !part.equal {
            hunk.push(part.clone());
            continue;
        }
        let (first, last) = (nth == 0, nth + 1 == parts.len());
        let head = part.a.len().min(CONTEXT);
        let tail = part.a.len().saturating_sub(CONTEXT);
        let until =
            Part { a: part.a.start..part.a.start + head, b: part.b.start..part.b.start + head, equal: true };
        let from =
            Part { a: part.a.start + tail..part.a.end, b: part.b.start + tail..part.b.end, equal: true };
        if first && last {
            break;
        } else if first {
            hunk.push(from);
        } else if last {
            hunk.push(until);
        } else if part.a.len() > 2 * CONTEXT {
            hunk.push(until);
            hunks.push(std::mem::replace(&mut hunk, vec![from]));
        } else {
            hunk.push(part.clone());
        }
    }
    if hunk.iter().any(|part| !part.equal) {
        hunks.push(hunk);
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn of(a: &str, b: &str) -> String {
        difference(&lines(a), &lines(b))
    }

    #[test]
    fn a_change_has_three_lines_of_context_and_far_changes_stand_apart() {
        assert_eq!(of("a b c d e f", "a b c x e f"), "@@ -1,6 +1,6 @@\n a\n b\n c\n-d\n+x\n e\n f\n");
        assert_eq!(
            of("1 a b c d e f g 2", "a b c d e f g 3"),
            "@@ -1,4 +1,3 @@\n-1\n a\n b\n c\n@@ -6,4 +5,4 @@\n e\n f\n g\n-2\n+3\n"
        );
        assert_eq!(of("a b", "a b"), "");
        assert_eq!(of("", "a"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(of("1 a b c d e f 2", "3 a b c d e f 4").matches("@@ -").count(), 1);
    }

    #[test]
    fn the_longest_block_is_the_same_and_the_earliest_of_several() {
        assert_eq!(of("a b", "a c a b"), "@@ -1,2 +1,4 @@\n+a\n+c\n a\n b\n");
        assert_eq!(of("x a x", "a x a"), "@@ -1,3 +1,3 @@\n+a\n x\n a\n-x\n");
    }

    #[test]
    fn a_frequent_line_of_a_long_text_begins_no_block() {
        let long = |first: &str| [vec![first.to_owned()], vec!["x".to_owned(); 220]].concat();
        let text = difference(&long("y"), &long("y")[1..]);
        assert!(text.starts_with("@@ -1,221 +1,220 @@\n-y\n-x\n"), "{}", &text[..40]);
        assert!(difference(&long("y"), &long("y")).is_empty());
    }
}
