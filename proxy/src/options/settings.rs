//! Which value each field and each flag got, and from where.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::OptionsError;
use super::fields::{self, Effect, FIELDS};
use super::file;
use super::flags::{FLAGS, Flag};
use super::kind::Kind;
use super::parse::Given;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File,
    /// A flag, by name.
    Flag(&'static str),
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Path of the field, or name of a flag that has none.
    pub name: &'static str,
    pub value: Value,
    pub source: Source,
    kind: Kind,
    file: Option<PathBuf>,
}

impl Setting {
    pub fn text(&self) -> &str {
        self.value.as_str().unwrap_or_default()
    }

    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    pub fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or_default()
    }

    pub fn list(&self) -> impl Iterator<Item = &str> {
        self.value.as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// How the user wrote it: `--proxy-mode`, or `FILE: mode`.
    pub fn origin(&self) -> String {
        match (self.source, &self.file) {
            (Source::Flag(name), _) => format!("--{name}"),
            (Source::File, Some(file)) => format!("{}: {}", file.display(), self.name),
            _ => self.name.to_owned(),
        }
    }

    /// An error about this value.
    pub fn refuse(&self, expected: impl Into<String>) -> OptionsError {
        OptionsError::Value { origin: self.origin(), value: shown(&self.value), expected: expected.into() }
    }
}

/// One setting for each field and for each flag without a field, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    by_name: BTreeMap<&'static str, Setting>,
    /// Flags that were given and do nothing because a file was given too.
    ignored: Vec<&'static str>,
    /// One sentence for each field of the file that kube-proxy once had.
    former: Vec<String>,
}

impl Settings {
    /// Everything at its default.
    pub fn defaults() -> Self {
        let default = |name, kind: Kind, text| {
            let value = kind.from_text(text).unwrap_or_else(|| kind.empty());
            (name, Setting { name, value, source: Source::Default, kind, file: None })
        };
        let fields = FIELDS.iter().map(|field| default(field.path, field.kind, field.default));
        let flags = FLAGS.iter().filter(|flag| flag.sets.is_empty());
        let flags = flags.map(|flag| default(flag.name, flag.kind, flag.default));
        Self { by_name: fields.chain(flags).collect(), ignored: Vec::new(), former: Vec::new() }
    }

    /// The file over the defaults, and over it the flags that hold beside a file.
    pub fn merge(given: &Given, file: Option<(&Path, &str)>) -> Result<Self, OptionsError> {
        let mut settings = Self::defaults();
        if let Some((path, text)) = file {
            let content = file::read(path, text)?;
            settings.former = content.former;
            for (name, value) in content.set {
                let setting = settings.entry(name);
                setting.value = value;
                setting.source = Source::File;
                setting.file = Some(path.to_owned());
            }
            settings.follow_bind_address();
        }
        for (flag, text) in given {
            let value = flag.kind.from_text(text).ok_or_else(|| OptionsError::Value {
                origin: format!("--{}", flag.name),
                value: text.clone(),
                expected: flag.kind.expected().to_owned(),
            })?;
            if file.is_some() && !flag.with_config {
                settings.ignored.push(flag.name);
                continue;
            }
            settings.set(flag, &value);
        }
        Ok(settings)
    }

    fn set(&mut self, flag: &'static Flag, value: &Value) {
        for name in if flag.sets.is_empty() { std::slice::from_ref(&flag.name) } else { flag.sets } {
            let setting = self.entry(name);
            let earlier = match setting.source {
                Source::Flag(_) => setting.value.take(),
                Source::Default | Source::File => setting.kind.empty(),
            };
            setting.value = setting.kind.join(earlier, value.clone());
            setting.source = Source::Flag(flag.name);
        }
    }

    /// In the file, and only there, an IPv6 bindAddress moves the defaults of the two servers (as in the original).
    fn follow_bind_address(&mut self) {
        let address = self.get("bindAddress").text().parse::<std::net::IpAddr>();
        if address.is_ok_and(|address| address.is_ipv6()) {
            for (name, text) in [("healthzBindAddress", "[::]:10256"), ("metricsBindAddress", "[::1]:10249")]
            {
                let setting = self.entry(name);
                if setting.source == Source::Default {
                    setting.value = Value::from(text);
                }
            }
        }
    }

    /// The setting of a field's path, or of the name of a flag without a field.
    pub fn get(&self, name: &str) -> &Setting {
        self.by_name.get(name).unwrap_or_else(|| unreachable!("{name} is neither a field nor a flag"))
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.by_name.values()
    }

    /// Replaces a value, wherever it came from: what was resolved is what is shown.
    pub(super) fn resolved(&mut self, name: &'static str, value: impl Into<Value>) {
        self.entry(name).value = value.into();
    }

    /// The KubeProxyConfiguration that says all this: for /configz and --write-config-to.
    pub fn document(&self) -> Value {
        file::document(|path| self.get(path).value.clone())
    }

    /// One sentence for each setting that somebody made and that does nothing.
    pub fn without_effect(&self) -> Vec<String> {
        let mut notes = self.former.clone();
        for name in &self.ignored {
            notes.push(format!("--{name} is ignored: --config is given, and the file decides"));
        }
        for setting in self.iter().filter(|setting| setting.source != Source::Default) {
            let reason = match fields::find(setting.name) {
                Some(field) => match field.effect {
                    Effect::None(reason) if !self.is_default(field) => Some(reason),
                    _ => None,
                },
                None => FLAGS.iter().find(|flag| flag.name == setting.name).and_then(|flag| flag.idle),
            };
            if let Some(reason) = reason {
                notes.push(format!("{} has no effect: {reason}", setting.origin()));
            }
        }
        notes
    }

    fn is_default(&self, field: &fields::Field) -> bool {
        let value = &self.get(field.path).value;
        field.kind.from_text(field.default).as_ref() == Some(value) || *value == field.kind.empty()
    }

    fn entry(&mut self, name: &'static str) -> &mut Setting {
        self.by_name.get_mut(name).unwrap_or_else(|| unreachable!("{name} is neither a field nor a flag"))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// All settings as one line, in the order of the names: for the log at start. None of them is a secret.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, setting) in self.iter().enumerate() {
            let space = if nth == 0 { "" } else { " " };
            write!(f, "{space}{}={}", setting.name, without_password(&shown(&setting.value)))?;
        }
        Ok(())
    }
}

/// `https://user:password@host` loses its password: URLs end up in logs.
fn without_password(text: &str) -> String {
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://(hidden)@{host}"),
        None => text.to_owned(),
    }
}
