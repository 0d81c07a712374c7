//! Go's flag syntax (package flag).
//!
//! `-x v`, `--x v`, `-x=v` and `--x=v` mean the same; a switch takes a value only by `=`, because a value apart
//! could not be told from the next argument; `--` ends the flags.

use goflags::nearest;

use super::error::OptionsError;
use super::table::{self, Kind};

/// One flag as it was given: its name in the table, and its value.
pub type Given = Vec<(&'static str, String)>;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// `-h` or `-help` (Go stops at it, whatever follows).
    Help,
    /// The flags in the order in which they were written.
    Given(Given),
}

/// Reads the arguments without the program's name.
pub fn command_line<A: AsRef<str>>(args: &[A]) -> Result<Parsed, OptionsError> {
    let mut given = Given::new();
    let mut rest = args.iter().map(AsRef::as_ref);
    let mut switch = None;
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return match rest.next() {
                None => Ok(Parsed::Given(given)),
                Some(extra) => Err(OptionsError::NotAFlag { argument: extra.into(), switch: None }),
            };
        }
        let Some(text) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(OptionsError::NotAFlag { argument: argument.into(), switch });
        };
        if text.is_empty() || text.starts_with(['-', '=']) {
            return Err(OptionsError::Syntax { argument: argument.into() });
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(flag) = table::find(name) else {
            if matches!(name, "h" | "help") {
                return Ok(Parsed::Help);
            }
            let nearest = nearest(name, table::FLAGS.iter().map(|flag| flag.name));
            return Err(OptionsError::Unknown { name: name.into(), nearest });
        };
        switch = (flag.kind == Kind::Switch && value.is_none()).then_some(flag.name);
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => rest.next().map(str::to_owned).ok_or_else(|| OptionsError::NoValue {
                origin: format!("-{}", flag.name),
                metavar: flag.metavar,
            })?,
        };
        given.push((flag.name, value));
    }
    Ok(Parsed::Given(given))
}
