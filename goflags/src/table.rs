//! What a program has: its flags and the fields of its configuration file, as data.
//!
//! The parser, `--help`, the documentation, the reader of the file and the log at start derive from it.

use crate::kind::Kind;

/// How a program's flags are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Go's package flag: `-x` and `--x` mean the same.
    Flag,
    /// pflag: `--name`, and `-v` for flags with a letter; `_` in a name counts as `-`.
    Pflag,
}

impl Syntax {
    pub(crate) fn dashes(self) -> &'static str {
        match self {
            Self::Flag => "-",
            Self::Pflag => "--",
        }
    }
}

/// A program's own words. All that it says of itself and all that it reads.
#[derive(Debug)]
pub struct Program {
    /// The original's name, as in "NAME takes no other arguments".
    pub name: &'static str,
    /// What is typed before `--help`.
    pub command: &'static str,
    pub syntax: Syntax,
    /// `PREFIX_NAME` is the variable of a flag; None: no variable is read.
    pub env_prefix: Option<&'static str>,
    pub flags: &'static [Flag],
    /// The headings of the help, in its order. Each flag stands below one of them.
    pub groups: &'static [&'static str],
    /// The heading of flags without effect, where they have one of their own.
    pub idle_group: Option<&'static str>,
    pub file: Option<&'static File>,
    pub refused: &'static [Refused],
    /// What the help begins and ends with.
    pub synopsis: &'static str,
    pub examples: &'static str,
}

/// A kind of configuration file.
#[derive(Debug)]
pub struct File {
    pub api_version: &'static str,
    pub kind: &'static str,
    /// The flag that names the file.
    pub flag: &'static str,
    pub fields: &'static [Field],
    pub former: &'static [Former],
}

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// `-v`.
    pub letter: Option<char>,
    pub kind: Kind,
    /// As it would be written on the command line; "" for none. Not used where the flag sets a field.
    pub default: &'static str,
    /// The fields of the file that it sets, all of the same kind; none where the file has no such field.
    pub sets: &'static [&'static str],
    /// What stands for the value in the help.
    pub metavar: &'static str,
    pub group: &'static str,
    /// The original does not have it.
    pub ours: bool,
    /// Does nothing, although no field says so: why. Begins small and has no full stop.
    pub idle: Option<&'static str>,
    /// Never printed.
    pub secret: bool,
    /// Asks for one act and then an exit; has no variable.
    pub command: bool,
    /// Needs no value, although it takes one: `--version` and `--version=raw`.
    pub stands_alone: bool,
    /// In force even where a file is given.
    pub with_file: bool,
    /// Sentences, with legal values and units. May be empty where a reason for having no effect says enough.
    pub help: &'static str,
}

/// The flags of `first`, then those of `second`: a table that several programs have in common stands in one place.
pub const fn joined<const A: usize, const B: usize, const ALL: usize>(
    first: [Flag; A],
    second: [Flag; B],
) -> [Flag; ALL] {
    assert!(A + B == ALL);
    let mut all = [first[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    all
}

impl Flag {
    /// A flag of the original's.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, group: &'static str) -> Self {
        Self {
            name,
            letter: None,
            kind,
            default,
            sets: &[],
            metavar: kind.metavar(),
            group,
            ours: false,
            idle: None,
            secret: false,
            command: false,
            stands_alone: false,
            with_file: false,
            help: "",
        }
    }

    pub const fn sets(self, sets: &'static [&'static str]) -> Self {
        Self { sets, ..self }
    }

    pub const fn letter(self, letter: char) -> Self {
        Self { letter: Some(letter), ..self }
    }

    pub const fn metavar(self, metavar: &'static str) -> Self {
        Self { metavar, ..self }
    }

    pub const fn ours(self) -> Self {
        Self { ours: true, ..self }
    }

    pub const fn idle(self, why: &'static str) -> Self {
        Self { idle: Some(why), ..self }
    }

    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub const fn command(self) -> Self {
        Self { command: true, ..self }
    }

    pub const fn stands_alone(self) -> Self {
        Self { stands_alone: true, ..self }
    }

    pub const fn with_file(self) -> Self {
        Self { with_file: true, ..self }
    }

    pub const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

/// One field of a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Names from the top, with points between.
    pub path: &'static str,
    pub kind: Kind,
    /// As it would be written in a flag.
    pub default: &'static str,
    /// A zero or empty value in the file means the default (Go cannot tell the two apart).
    pub zero_is_default: bool,
    /// Accepted, and does nothing: why.
    pub idle: Option<&'static str>,
}

impl Field {
    pub const fn new(path: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { path, kind, default, zero_is_default: false, idle: None }
    }

    pub const fn zero_is_default(self) -> Self {
        Self { zero_is_default: true, ..self }
    }

    pub const fn idle(self, why: &'static str) -> Self {
        Self { idle: Some(why), ..self }
    }
}

/// A field that a kind of file once had. Files of those days still run, as with the original.
#[derive(Debug)]
pub struct Former {
    pub path: &'static str,
    /// The first release without it.
    pub until: &'static str,
    /// What does its work now.
    pub instead: &'static str,
}

/// Something of the original's that this release does not have, and that would change what happens.
#[derive(Debug)]
pub struct Refused {
    /// Name of a flag, or path of a field.
    pub name: &'static str,
    /// The value that cannot be honoured; None: every one but the default, which unit files may spell out.
    pub value: Option<&'static str>,
    pub reason: &'static str,
    pub instead: &'static str,
}

impl Program {
    /// The flag of that name.
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        let same = |flag: &&Flag| match self.syntax {
            Syntax::Flag => flag.name == name,
            Syntax::Pflag => flag.name == name.replace('_', "-"),
        };
        self.flags.iter().find(same)
    }

    /// The field of that path.
    pub fn field(&self, path: &str) -> Option<&'static Field> {
        self.file?.fields.iter().find(|field| field.path == path)
    }

    /// The variable of a flag.
    pub fn variable(&self, flag: &Flag) -> Option<String> {
        let prefix = self.env_prefix.filter(|_| !flag.command)?;
        Some(format!("{prefix}_{}", flag.name.to_ascii_uppercase().replace('-', "_")))
    }

    /// What holds when nobody says anything, as it would be written in a flag.
    pub fn default_of(&self, flag: &Flag) -> &'static str {
        flag.sets.first().and_then(|path| self.field(path)).map_or(flag.default, |field| field.default)
    }

    /// Why a flag does nothing here, where it does nothing.
    pub fn idle(&self, flag: &Flag) -> Option<&'static str> {
        flag.sets.first().and_then(|path| self.field(path)).and_then(|field| field.idle).or(flag.idle)
    }

    /// What is wrong with the tables: for a test of each program. Empty where all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, text: String| {
            if wrong {
                faults.push(text);
            }
        };
        for (nth, flag) in self.flags.iter().enumerate() {
            let name = flag.name;
            fault(
                self.flags[..nth].iter().any(|other| other.name == name),
                format!("--{name} is there twice"),
            );
            fault(
                !self.groups.contains(&flag.group),
                format!("--{name} stands below no heading of the help"),
            );
            let says =
                if flag.help.is_empty() { self.idle(flag).is_some() } else { flag.help.ends_with('.') };
            fault(!says, format!("--{name} has no help of whole sentences"));
            let apart = self.idle_group.is_some_and(|group| group == flag.group);
            let strays = self.idle_group.is_some() && apart != self.idle(flag).is_some();
            fault(strays, format!("--{name} is not where flags without effect stand, or is there with one"));
            let default = self.default_of(flag);
            fault(flag.kind.from_text(default).is_none(), format!("--{name}: {default:?} is no default"));
            for path in flag.sets {
                let agrees =
                    self.field(path).is_some_and(|field| field.kind == flag.kind && field.default == default);
                fault(!agrees, format!("--{name} and the field {path} do not agree"));
            }
        }
        let fields = self.file.map_or(&[][..], |file| file.fields);
        for (nth, field) in fields.iter().enumerate() {
            let path = field.path;
            fault(fields[..nth].iter().any(|other| other.path == path), format!("{path} is there twice"));
            fault(self.is_section(path), format!("{path} is a field and a section"));
            let value = field.kind.from_text(field.default).and_then(|value| field.kind.from_file(&value));
            fault(value.is_none(), format!("{path}: {:?} is no default", field.default));
        }
        for refused in self.refused {
            let known = self.flag(refused.name).is_some() || self.field(refused.name).is_some();
            fault(!known, format!("{} is refused and not there", refused.name));
        }
        faults
    }

    /// Whether some field lies below that path.
    pub(crate) fn is_section(&self, path: &str) -> bool {
        let below = |field: &Field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.file.is_some_and(|file| file.fields.iter().any(below))
    }
}
