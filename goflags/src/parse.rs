//! The two flag syntaxes of Go.
//!
//! Package flag: `-x v`, `--x v`, `-x=v` and `--x=v` mean the same. pflag: `--x v` and `--x=v`; `-v2`, `-v=2` and `-v 2`
//! for a flag with a letter; empty arguments do not count. In both a switch takes a value only by `=`, because a
//! value apart could not be told from the next argument, and `--` ends the flags.

use crate::error::Error;
use crate::kind::Kind;
use crate::nearest;
use crate::table::{Flag, Program, Syntax};

/// The flags in the order in which they were written, and their texts.
pub type Given = Vec<(&'static Flag, String)>;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// `-h`, `-help` or `--help` (Go stops at it, whatever follows).
    Help,
    Given(Given),
}

/// One argument.
enum Word<'a> {
    Help,
    Flag(&'static Flag, Option<&'a str>),
    Nothing,
}

impl Program {
    /// Reads the arguments without the program's name.
    ///
    /// # Errors
    /// The first argument that cannot be meant.
    pub fn parse<A: AsRef<str>>(&self, args: &[A]) -> Result<Parsed, Error> {
        let mut given = Given::new();
        let mut rest = args.iter().map(AsRef::as_ref);
        let mut switch = None;
        while let Some(argument) = rest.next() {
            if argument == "--" {
                let blank = |argument: &&str| self.syntax == Syntax::Flag || !argument.is_empty();
                return match rest.find(blank) {
                    None => Ok(Parsed::Given(given)),
                    Some(extra) => Err(self.not_a_flag(extra, None)),
                };
            }
            let word = match self.syntax {
                Syntax::Flag => self.word(argument, switch)?,
                Syntax::Pflag => self.pflag_word(argument, switch)?,
            };
            let (flag, value) = match word {
                Word::Help => return Ok(Parsed::Help),
                Word::Nothing => continue,
                Word::Flag(flag, value) => (flag, value.map(str::to_owned)),
            };
            let stands_alone = flag.kind == Kind::Switch || flag.stands_alone;
            switch = (stands_alone && value.is_none()).then_some(flag.name);
            let value = match value {
                Some(value) => value,
                None if stands_alone => "true".to_owned(),
                None => rest.next().map(str::to_owned).ok_or_else(|| Error::NoValue {
                    origin: format!("{}{}", self.syntax.dashes(), flag.name),
                    metavar: flag.metavar,
                })?,
            };
            given.push((flag, value));
        }
        Ok(Parsed::Given(given))
    }

    fn word<'a>(&self, argument: &'a str, switch: Option<&'static str>) -> Result<Word<'a>, Error> {
        let Some(text) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(self.not_a_flag(argument, switch));
        };
        if text.is_empty() || text.starts_with(['-', '=']) {
            return Err(self.bad_syntax(argument));
        }
        let (name, value) = parted(text);
        match self.flag(name) {
            Some(flag) => Ok(Word::Flag(flag, value)),
            None if matches!(name, "h" | "help") => Ok(Word::Help),
            None => Err(self.unknown(name)),
        }
    }

    fn pflag_word<'a>(&self, argument: &'a str, switch: Option<&'static str>) -> Result<Word<'a>, Error> {
        if let Some(text) = argument.strip_prefix("--") {
            let (name, value) = parted(text);
            return match name {
                "help" => Ok(Word::Help),
                _ if name.is_empty() || name.starts_with('-') => Err(self.bad_syntax(argument)),
                _ => self.flag(name).map(|flag| Word::Flag(flag, value)).ok_or_else(|| self.unknown(name)),
            };
        }
        let Some(text) = argument.strip_prefix('-').filter(|text| !text.is_empty()) else {
            return if argument.is_empty() {
                Ok(Word::Nothing)
            } else {
                Err(self.not_a_flag(argument, switch))
            };
        };
        let mut letters = text.chars();
        let letter = letters.next().unwrap_or_default();
        if letter == 'h' {
            return Ok(Word::Help);
        }
        let Some(flag) = self.flags.iter().find(|flag| flag.letter == Some(letter)) else {
            let known: Vec<_> = self.flags.iter().filter_map(|flag| flag.letter).chain(['h']).collect();
            let known = known.iter().map(|letter| format!("-{letter}")).collect::<Vec<_>>().join(" and ");
            return Err(Error::UnknownLetter { letter, argument: argument.into(), known });
        };
        let value = Some(letters.as_str()).filter(|value| !value.is_empty());
        Ok(Word::Flag(flag, value.map(|value| value.strip_prefix('=').unwrap_or(value))))
    }

    fn unknown(&self, name: &str) -> Error {
        Error::Unknown {
            dashes: self.syntax.dashes(),
            command: self.command,
            name: name.into(),
            nearest: nearest(name, self.flags.iter().map(|flag| flag.name)),
        }
    }

    fn not_a_flag(&self, argument: &str, switch: Option<&'static str>) -> Error {
        Error::NotAFlag {
            dashes: self.syntax.dashes(),
            program: self.name,
            argument: argument.into(),
            switch,
        }
    }

    fn bad_syntax(&self, argument: &str) -> Error {
        Error::Syntax { dashes: self.syntax.dashes(), argument: argument.into() }
    }
}

fn parted(text: &str) -> (&str, Option<&str>) {
    text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)))
}
