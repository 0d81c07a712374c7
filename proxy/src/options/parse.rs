//! pflag's syntax, as far as kube-proxy's flags need it.
//!
//! `--x v` and `--x=v` mean the same; a switch takes a value only by `=`; `-v2`, `-v=2` and `-v 2` for the one flag
//! with a letter; `--` ends the flags; `_` in a name counts as `-`.

use goflags::nearest;

use super::error::OptionsError;
use super::flags::{self, Flag};
use super::kind::Kind;

/// One flag as it was given, and its text.
pub type Given = Vec<(&'static Flag, String)>;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// `-h` or `--help`, whatever follows.
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
            return match rest.find(|argument| !argument.is_empty()) {
                None => Ok(Parsed::Given(given)),
                Some(extra) => Err(OptionsError::NotAFlag { argument: extra.into(), switch: None }),
            };
        }
        let (flag, value) = if let Some(text) = argument.strip_prefix("--") {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            if name.is_empty() || name.starts_with('-') {
                return Err(OptionsError::Syntax { argument: argument.into() });
            }
            if name == "help" {
                return Ok(Parsed::Help);
            }
            (long(name)?, value)
        } else if let Some(text) = argument.strip_prefix('-').filter(|text| !text.is_empty()) {
            let mut letters = text.chars();
            let letter = letters.next().unwrap_or_default();
            if letter == 'h' {
                return Ok(Parsed::Help);
            }
            let flag = flags::by_letter(letter)
                .ok_or_else(|| OptionsError::UnknownLetter { letter, argument: argument.into() })?;
            let value = Some(letters.as_str()).filter(|value| !value.is_empty());
            (flag, value.map(|value| value.strip_prefix('=').unwrap_or(value).to_owned()))
        } else if argument.is_empty() {
            continue;
        } else {
            return Err(OptionsError::NotAFlag { argument: argument.into(), switch });
        };
        // pflag lets --version stand alone, although it takes raw as a value.
        let stands_alone = flag.kind == Kind::Switch || flag.name == "version";
        switch = (stands_alone && value.is_none()).then_some(flag.name);
        let value = match value {
            Some(value) => value,
            None if stands_alone => "true".to_owned(),
            None => rest.next().map(str::to_owned).ok_or_else(|| OptionsError::NoValue {
                origin: format!("--{}", flag.name),
                metavar: flag.metavar,
            })?,
        };
        given.push((flag, value));
    }
    Ok(Parsed::Given(given))
}

fn long(name: &str) -> Result<&'static Flag, OptionsError> {
    flags::find(name).ok_or_else(|| OptionsError::Unknown {
        name: name.into(),
        nearest: nearest(name, flags::FLAGS.iter().map(|flag| flag.name)),
    })
}
