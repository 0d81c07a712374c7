//! Which text each flag got, and from where: the command line, the environment or its default.

use std::collections::BTreeMap;
use std::fmt;

use goflags::words;

use super::env::Env;
use super::error::OptionsError;
use super::parse::Given;
use super::table::{FLAGS, Flag, Kind};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// `FLANNELD_X`.
    Environment,
    /// `-x`.
    CommandLine,
}

/// The text of one flag. Several texts only where the flag may be repeated.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    pub flag: &'static Flag,
    pub source: Source,
    pub texts: Vec<String>,
}

impl Setting {
    /// The last text, which is the one that counts where a flag is not repeatable; "" for none.
    pub fn text(&self) -> &str {
        self.texts.last().map_or("", String::as_str)
    }

    /// How the user wrote the flag: `-iface` or `FLANNELD_IFACE`.
    pub fn origin(&self) -> String {
        match self.source {
            Source::Environment => self.flag.env(),
            Source::Default | Source::CommandLine => format!("-{}", self.flag.name),
        }
    }

    /// An error about this setting.
    pub fn refuse(&self, expected: impl Into<String>) -> OptionsError {
        let value = if self.flag.secret { "(hidden)".to_owned() } else { self.text().to_owned() };
        OptionsError::Value { origin: self.origin(), value, expected: expected.into() }
    }
}

/// One setting for each flag of the table, by name. Prints without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// Every flag at its default.
    pub fn defaults() -> Self {
        Self(FLAGS.iter().map(|flag| (flag.name, default_of(flag))).collect())
    }

    /// Command line over environment over default. An empty variable counts as unset, a repeatable flag takes
    /// the whole variable as one value (coreos/pkg/flagutil). Unlike flannel, which logs and goes on, a
    /// variable that cannot be read is an error.
    pub fn merge(given: Given, env: &impl Env) -> Result<Self, OptionsError> {
        let mut settings = Self::defaults();
        for (name, value) in given {
            let setting = settings.entry(name);
            if setting.source != Source::CommandLine || setting.flag.kind != Kind::List {
                setting.texts.clear();
            }
            setting.source = Source::CommandLine;
            setting.texts.push(value);
        }
        for flag in FLAGS {
            let setting = settings.entry(flag.name);
            if setting.source == Source::Default
                && !flag.command
                && let Some(value) = env.var(&flag.env()).filter(|value| !value.is_empty())
            {
                setting.source = Source::Environment;
                setting.texts = vec![value];
            }
        }
        for setting in settings.0.values() {
            setting.check_kind()?;
        }
        Ok(settings)
    }

    /// The setting of a flag of the table.
    pub fn get(&self, name: &str) -> &Setting {
        self.0.get(name).unwrap_or_else(|| unreachable!("-{name} is not in the table of flags"))
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.values()
    }

    fn entry(&mut self, name: &'static str) -> &mut Setting {
        self.0.get_mut(name).unwrap_or_else(|| unreachable!("-{name} is not in the table of flags"))
    }
}

impl Setting {
    fn check_kind(&self) -> Result<(), OptionsError> {
        match self.flag.kind {
            Kind::Switch if words::boolean(self.text()).is_none() => {
                Err(self.refuse("a switch is true or false (also 1, t, 0, f)"))
            }
            Kind::Integer if words::integer(self.text()).is_none() => {
                Err(self.refuse("want a whole number (0x, 0o and 0b are understood)"))
            }
            _ => Ok(()),
        }
    }
}

fn default_of(flag: &'static Flag) -> Setting {
    let texts = if flag.kind == Kind::List { Vec::new() } else { vec![flag.default.to_owned()] };
    Setting { flag, source: Source::Default, texts }
}

/// All flags as one line, in the order of the names, without secrets: for the log at start.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, setting) in self.iter().enumerate() {
            let space = if nth == 0 { "" } else { " " };
            write!(f, "{space}{setting}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.texts.join(",");
        let shown = match (self.flag.secret, text.is_empty()) {
            (_, true) => String::new(),
            (true, false) => "(hidden)".to_owned(),
            (false, false) => without_passwords(&text),
        };
        match shown.contains([' ', '"']) {
            true => write!(f, "{}={shown:?}", self.flag.name),
            false => write!(f, "{}={shown}", self.flag.name),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self})")
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.source)
    }
}

/// `http://user:password@host` loses its password: URLs end up in logs.
fn without_passwords(text: &str) -> String {
    let hide = |part: &str| match part.split_once("://").and_then(|(scheme, rest)| {
        rest.split_once('@').map(|(_, host)| format!("{scheme}://(hidden)@{host}"))
    }) {
        Some(hidden) => hidden,
        None => part.to_owned(),
    };
    text.split(',').map(hide).collect::<Vec<_>>().join(",")
}
