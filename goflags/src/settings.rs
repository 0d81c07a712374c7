//! Which value each flag and each field got, and from where.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::document::{self, Content};
use crate::env::Env;
use crate::error::Error;
use crate::kind::{Kind, shown};
use crate::parse::Given;
use crate::table::{Flag, Program};

/// Where a value came from. The command line wins over a variable, which wins over the default. A file decides over its
/// fields, but for the flags that hold beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A variable.
    Environment,
    /// The configuration file.
    File,
    /// A flag, by name.
    Flag(&'static str),
}

/// One value.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// Path of the field, or name of a flag that has none.
    pub name: &'static str,
    pub value: Value,
    pub source: Source,
    origin: String,
    kind: Kind,
    secret: bool,
}

impl Setting {
    /// The text of a text; "" for every other kind.
    pub fn text(&self) -> &str {
        self.value.as_str().unwrap_or_default()
    }

    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// Of [`crate::Kind::Float`].
    pub fn float(&self) -> f64 {
        self.value.as_f64().unwrap_or_default()
    }

    pub fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or_default()
    }

    pub fn list(&self) -> impl Iterator<Item = &str> {
        self.value.as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// How the user wrote it: `-iface`, `FLANNELD_IFACE`, `FILE: mode`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// An error about this value.
    pub fn refuse(&self, expected: impl Into<String>) -> Error {
        let value = if self.secret { "(hidden)".to_owned() } else { shown(&self.value) };
        Error::Value { origin: self.origin.clone(), value, expected: expected.into() }
    }

    /// The number, where it is in a range.
    ///
    /// # Errors
    /// With the range, where it is not.
    pub fn within(&self, least: i64, most: i64) -> Result<i64, Error> {
        Some(self.number())
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.refuse(format!("want a number from {least} to {most}")))
    }

    fn set(&mut self, value: Value, source: Source, origin: String) {
        self.value = value;
        self.source = source;
        self.origin = origin;
    }
}

/// One setting for each field and for each flag without a field, by name. Prints without secrets.
#[derive(Clone)]
pub struct Settings {
    program: &'static Program,
    by_name: BTreeMap<&'static str, Setting>,
    /// Flags that were given and do nothing because a file was given too.
    ignored: Vec<&'static str>,
    /// One sentence for each field of the file that there once was.
    former: Vec<String>,
}

impl Program {
    /// Everything at its default.
    pub fn defaults(&'static self) -> Settings {
        let setting = |name, origin, kind: Kind, text: &str, secret| {
            // Nobody has repeated anything yet.
            let none = kind == Kind::Repeated && text.is_empty();
            let value = kind.from_text(text).filter(|_| !none).unwrap_or_else(|| kind.empty());
            (name, Setting { name, value, source: Source::Default, origin, kind, secret })
        };
        let fields = self.file.map_or(&[][..], |file| file.fields);
        let fields = fields
            .iter()
            .map(|field| setting(field.path, field.path.to_owned(), field.kind, field.default, false));
        let flags = self.flags.iter().filter(|flag| flag.sets.is_empty());
        let flags =
            flags.map(|flag| setting(flag.name, self.written(flag), flag.kind, flag.default, flag.secret));
        Settings {
            program: self,
            by_name: fields.chain(flags).collect(),
            ignored: Vec::new(),
            former: Vec::new(),
        }
    }

    /// What the arguments, the variables and the documents of the configuration file say together. Pure: the same of
    /// all three gives the same answer.
    ///
    /// An empty variable counts as unset, and a variable that cannot be read is an error.
    ///
    /// # Errors
    /// The first value that is not of its kind, and the first that is refused.
    pub fn settle(
        &'static self,
        given: &Given,
        env: &impl Env,
        file: Option<(&Path, Vec<Value>)>,
    ) -> Result<Settings, Error> {
        let mut settings = self.defaults();
        let mut with_file = false;
        if let (Some((path, documents)), Some(file)) = (file, self.file) {
            with_file = true;
            let Content { set, former } = document::read(self, file, path, documents)?;
            settings.former = former;
            for (name, value) in set {
                settings.entry(name).set(value, Source::File, format!("{}: {name}", path.display()));
            }
        }
        for (flag, text) in given {
            let origin = self.written(flag);
            let value = read(flag, text, &origin)?;
            if with_file && !flag.with_file {
                settings.ignored.push(flag.name);
            } else {
                settings.give(flag, &value, Source::Flag(flag.name), &origin);
            }
        }
        for flag in self.flags {
            let silent = Self::names(flag).iter().all(|name| settings.get(name).source == Source::Default);
            let variable = self.variable(flag).filter(|_| silent);
            let text = variable.as_ref().and_then(|name| env.var(name)).filter(|text| !text.is_empty());
            if let (Some(origin), Some(text)) = (variable, text) {
                let value = read(flag, &text, &origin)?;
                settings.give(flag, &value, Source::Environment, &origin);
            }
        }
        settings.check_refused()?;
        Ok(settings)
    }

    fn written(&self, flag: &Flag) -> String {
        format!("{}{}", self.syntax.dashes(), flag.name)
    }

    /// The settings that a flag sets.
    fn names(flag: &'static Flag) -> &'static [&'static str] {
        if flag.sets.is_empty() { std::slice::from_ref(&flag.name) } else { flag.sets }
    }
}

fn read(flag: &Flag, text: &str, origin: &str) -> Result<Value, Error> {
    flag.kind.from_text(text).ok_or_else(|| Error::Value {
        origin: origin.to_owned(),
        value: if flag.secret { "(hidden)".to_owned() } else { text.to_owned() },
        expected: flag.kind.expected().to_owned(),
    })
}

impl Settings {
    fn give(&mut self, flag: &'static Flag, value: &Value, source: Source, origin: &str) {
        for name in Program::names(flag) {
            let setting = self.entry(name);
            let earlier = match setting.source {
                Source::Flag(_) => setting.value.take(),
                _ => setting.kind.empty(),
            };
            let value = setting.kind.join(earlier, value.clone());
            setting.set(value, source, origin.to_owned());
        }
    }

    fn check_refused(&self) -> Result<(), Error> {
        for refused in self.program.refused {
            let setting = self.get(refused.name);
            let is_refused = match refused.value {
                Some(value) => setting.text() == value,
                None => setting.value != self.program.defaults().get(refused.name).value,
            };
            if is_refused {
                return Err(Error::Refused {
                    origin: setting.origin.clone(),
                    value: shown(&setting.value),
                    reason: refused.reason,
                    instead: refused.instead,
                });
            }
        }
        Ok(())
    }

    /// The setting of a field's path, or of the name of a flag without a field.
    ///
    /// # Panics
    /// Where the tables have neither.
    pub fn get(&self, name: &str) -> &Setting {
        self.by_name.get(name).unwrap_or_else(|| unreachable!("{name} is neither a field nor a flag"))
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.by_name.values()
    }

    /// Replaces a value, wherever it came from: what was resolved is what is shown.
    pub fn resolve(&mut self, name: &'static str, value: impl Into<Value>) {
        self.entry(name).value = value.into();
    }

    /// Replaces a value that nobody chose.
    pub fn default_to(&mut self, name: &'static str, value: impl Into<Value>) {
        let setting = self.entry(name);
        if setting.source == Source::Default {
            setting.value = value.into();
        }
    }

    /// The configuration file that says all this; null for a program without one.
    pub fn document(&self) -> Value {
        let Some(file) = self.program.file else { return Value::Null };
        document::write(file, |path| self.get(path).value.clone())
    }

    /// One sentence for each setting that somebody made and that does nothing: for warnings at start.
    pub fn without_effect(&self) -> Vec<String> {
        let mut notes = self.former.clone();
        let file = self.program.file.map_or("", |file| file.flag);
        for name in &self.ignored {
            notes.push(format!("--{name} is ignored: --{file} is given, and the file decides"));
        }
        for setting in self.iter().filter(|setting| setting.source != Source::Default) {
            let reason = match self.program.field(setting.name) {
                Some(field) => field.idle.filter(|_| {
                    field.kind.from_text(field.default).as_ref() != Some(&setting.value)
                        && setting.value != field.kind.empty()
                }),
                None => self.program.flag(setting.name).and_then(|flag| flag.idle),
            };
            if let Some(reason) = reason {
                notes.push(format!("{} has no effect: {reason}", setting.origin));
            }
        }
        notes
    }

    fn entry(&mut self, name: &'static str) -> &mut Setting {
        self.by_name.get_mut(name).unwrap_or_else(|| unreachable!("{name} is neither a field nor a flag"))
    }
}

impl PartialEq for Settings {
    /// Of one program: the tables are the same.
    fn eq(&self, other: &Self) -> bool {
        (&self.by_name, &self.ignored, &self.former) == (&other.by_name, &other.ignored, &other.former)
    }
}

impl Eq for Settings {}

/// All settings as one line, in the order of the names, without secrets: for the log at start.
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
        let text = shown(&self.value);
        let shown = match self.secret && !text.is_empty() {
            true => "(hidden)".to_owned(),
            false => without_passwords(&text),
        };
        match shown.contains([' ', '"']) {
            true => write!(f, "{}={shown:?}", self.name),
            false => write!(f, "{}={shown}", self.name),
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
