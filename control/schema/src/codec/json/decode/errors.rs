//! What is wrong with an object, and where.

use std::borrow::Cow;
use std::fmt::Write;

use super::super::lexer::NotJson;
use super::{Fail, MOST_PROBLEMS, Reader};
use crate::codec::quote::quoted;
use crate::library::Type;

pub(super) enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

impl<'a> Reader<'a> {
    /// What JSON calls the next value.
    pub(super) fn name_of_next(&mut self) -> Result<&'static str, NotJson> {
        Ok(match self.lexer.peek()? {
            b'{' => "object",
            b'[' => "array",
            b'"' => "string",
            b't' | b'f' => "bool",
            _ => "number",
        })
    }

    /// Steps over a value that the type does not take.
    pub(super) fn mismatch(&mut self, of: &Type) -> Result<(), Fail> {
        let found = self.name_of_next()?;
        self.lexer.skip()?;
        self.save(found, of);
        Ok(())
    }

    /// Notes a value of a wrong type. Reading goes on.
    pub(super) fn save(&mut self, found: &str, of: &Type) {
        if self.saved.is_none() {
            self.saved = Some(self.cannot(found, &self.library.go_name(of)));
        }
        if let [name @ ("kind" | "apiVersion")] = self.fields[..]
            && self.wrong_meta.is_none()
        {
            self.wrong_meta =
                Some(format!("json: cannot unmarshal {found} into Go struct field .{name} of type string"));
        }
    }

    pub(super) fn cannot(&self, found: &str, of: &str) -> String {
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {of}");
        }
        let owner = self.owner.rsplit('.').next().unwrap_or_default();
        format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {of}",
            self.fields.join(".")
        )
    }

    pub(super) fn note(&mut self, what: &str, key: &str) {
        if !self.strict || self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let mut path = String::new();
        for step in self.path.iter().chain([&Step::Key(Cow::Borrowed(key))]) {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(n) => {
                    let _ = write!(path, "[{n}]");
                }
            }
        }
        let problem = format!("{what} {}", quoted(&path));
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
