//! The help text of a program, and its tables in Markdown for the documentation.

use std::fmt::Write;

use crate::kind::Kind;
use crate::table::{Flag, Program};

/// Columns of a terminal that everybody has.
const WIDTH: usize = 80;
const INDENT: usize = 8;

impl Program {
    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut out = self.synopsis.to_owned();
        for group in self.groups {
            let _ = write!(out, "\n{group}:\n");
            for flag in self.flags.iter().filter(|flag| flag.group == *group) {
                entry(&mut out, &heading(flag), &self.sentences(flag));
            }
        }
        out.push('\n');
        out.push_str(self.examples);
        out
    }

    /// All flags as a table in Markdown.
    pub fn markdown_flags(&self) -> String {
        let with_variables = self.env_prefix.is_some();
        let mut out = match with_variables {
            true => "| flag | default | variable | meaning |\n|---|---|---|---|\n".to_owned(),
            false => "| flag | default | meaning |\n|---|---|---|\n".to_owned(),
        };
        for flag in self.flags {
            let mark = if flag.ours { " (ours)" } else { "" };
            let _ = write!(out, "| `--{}`{mark} | {} |", flag.name, code(self.default_of(flag)));
            if with_variables {
                let _ = write!(out, " {} |", code(&self.variable(flag).unwrap_or_default()));
            }
            let _ = writeln!(out, " {} |", cell(&self.meaning(flag)));
        }
        out
    }

    /// All fields of the configuration file as a table in Markdown.
    pub fn markdown_fields(&self) -> String {
        let mut out = String::from("| field | default | effect |\n|---|---|---|\n");
        for field in self.file.map_or(&[][..], |file| file.fields) {
            let effect = match field.idle {
                None => format!("as in {}", self.name),
                Some(reason) => format!("none: {reason}"),
            };
            let _ = writeln!(out, "| `{}` | {} | {} |", field.path, code(field.default), cell(&effect));
        }
        out
    }

    fn meaning(&self, flag: &Flag) -> String {
        match self.idle(flag) {
            Some(reason) if flag.help.is_empty() => {
                let mut letters = reason.chars();
                let first =
                    letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
                format!("{first}{}.", letters.as_str())
            }
            _ => flag.help.to_owned(),
        }
    }

    fn sentences(&self, flag: &Flag) -> String {
        let mut text = self.meaning(flag);
        if self.idle_group == Some(flag.group) {
            return text;
        }
        if self.idle(flag).is_some() {
            text.push_str(" Accepted, without effect.");
        }
        let default = self.default_of(flag);
        let tells = match flag.kind {
            Kind::Switch => default == "true",
            _ => !default.is_empty() && default != "false",
        };
        if tells {
            let _ = write!(text, " Default: {default}.");
        }
        text
    }
}

fn heading(flag: &Flag) -> String {
    let mark = if flag.ours { "+" } else { " " };
    let letter = flag.letter.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let more = if flag.kind == Kind::Repeated { " ..." } else { "" };
    match flag.kind {
        Kind::Switch => format!("  {mark} {letter}--{}", flag.name),
        _ => format!("  {mark} {letter}--{} {}{more}", flag.name, flag.metavar),
    }
}

/// A flag's heading, and below it what it does, in lines that fit.
fn entry(out: &mut String, heading: &str, sentence: &str) {
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
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Text for a cell of a table in Markdown.
fn cell(text: &str) -> String {
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
