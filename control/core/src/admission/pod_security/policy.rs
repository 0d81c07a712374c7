//! Levels, versions, and the labels that choose them.

use std::fmt;

use serde_json::Value;

use crate::field::{FieldError, Path};

/// From what allows everything to what allows least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A level as one version of Kubernetes defined it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    /// The minor version; `None`: the newest.
    pub version: Option<u32>,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            None => write!(f, "{}:latest", self.level.name()),
            Some(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
        }
    }
}

/// `v1.N`, without leading zeros, or `latest`.
pub(crate) fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| plain).map(Some)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl Policy {
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|one| one.level == Level::Privileged)
    }

    /// What the labels say, and what is wrong with them: then the strictest is enforced, and the rest is silent.
    #[must_use]
    pub fn with_labels(&self, labels: &Value) -> (Self, Vec<FieldError>) {
        let (mut policy, mut errors) = (*self, Vec::new());
        let mut set = |mode: &str, standard: &mut Standard, otherwise: Level| {
            let key = format!("pod-security.kubernetes.io/{mode}");
            let mut wrong = |key: &str, value: &str, why: &str| {
                let path = Path::new("metadata").child("labels").key(key);
                errors.push(FieldError::invalid(&path, &value.into(), why));
            };
            let level = labels[key.as_str()].as_str();
            if let Some(name) = level {
                standard.level = Level::named(name).unwrap_or_else(|| {
                    wrong(&key, name, "must be one of privileged, baseline, restricted");
                    otherwise
                });
            }
            let key = format!("{key}-version");
            let named = labels[key.as_str()].as_str();
            if let Some(name) = named {
                standard.version = version(name).unwrap_or_else(|| {
                    wrong(&key, name, "must be \"latest\" or \"v1.x\"");
                    None
                });
            }
            (level.and_then(Level::named).is_some(), level.is_some(), named.is_some())
        };
        let (enforced, ..) = set("enforce", &mut policy.enforce, Level::Restricted);
        set("audit", &mut policy.audit, Level::Privileged);
        let (_, warned, versioned) = set("warn", &mut policy.warn, Level::Privileged);
        // Who is refused pods is warned of what would make them.
        if !warned && enforced && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !versioned {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(labels: &Value) -> (String, usize) {
        let (Policy { enforce, audit, warn }, errors) = Policy::default().with_labels(labels);
        (format!("{enforce} {audit} {warn}"), errors.len())
    }

    #[test]
    fn labels_choose_levels_and_versions() {
        let key = |name: &str| format!("pod-security.kubernetes.io/{name}");
        let cases = [
            (json!({}), "privileged:latest privileged:latest privileged:latest", 0),
            (
                json!({key("enforce"): "baseline", key("enforce-version"): "v1.20"}),
                "baseline:v1.20 privileged:latest baseline:v1.20",
                0,
            ),
            (
                json!({key("enforce"): "baseline", key("warn"): "privileged"}),
                "baseline:latest privileged:latest privileged:latest",
                0,
            ),
            (
                json!({key("enforce"): "x", key("warn"): "y", key("audit-version"): "v1.01"}),
                "restricted:latest privileged:latest privileged:latest",
                3,
            ),
        ];
        for (labels, wanted, wrong) in cases {
            assert_eq!(shown(&labels), (wanted.to_owned(), wrong), "{labels}");
        }
    }
}
