//! The layout of a help text, and of its table in Markdown.

use std::fmt::Write;

/// Columns of a terminal that everybody has.
const WIDTH: usize = 80;
const INDENT: usize = 8;

/// A flag's heading, and below it what it does, in lines that fit.
pub fn entry(out: &mut String, heading: &str, sentence: &str) {
    let _ = writeln!(out, "{heading}");
    for line in wrap(sentence, WIDTH - INDENT) {
        let _ = writeln!(out, "{:INDENT$}{line}", "");
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text as code in Markdown; nothing for nothing.
pub fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Text for a cell of a table in Markdown.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_a_long_word_stays_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a incomprehensibilities b", 7), ["a", "incomprehensibilities", "b"]);
        assert_eq!(wrap("", 7), [""; 0]);
    }
}
