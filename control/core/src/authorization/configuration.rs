//! The file of `--authorization-config` (`AuthorizationConfiguration`): the chain of authorizers.
//!
//! Owns: the checks of such a file, in the original's words, and its defaults. Begin at [`read`].

use std::collections::BTreeSet;
use std::path::Path as File;
use std::time::Duration;

use control_schema::crd::cel::Expression;
use goflags::duration;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Authorizer, Mode, Version, Webhook};
use crate::access::Decision;
use crate::configuration::{self, Wanted};
use crate::field::{FieldError, Path};
use crate::names;

const WANTED: Wanted = Wanted {
    group: "apiserver.config.k8s.io",
    versions: &["v1", "v1beta1", "v1alpha1"],
    kind: "AuthorizationConfiguration",
};

const WEBHOOK: &str = "Webhook";
const MOST_CONDITIONS: usize = 64;
const LONGEST: Duration = Duration::from_secs(30);
const AUTHORIZED: Duration = Duration::from_secs(300);
const UNAUTHORIZED: Duration = Duration::from_secs(30);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    authorizers: Vec<Written>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    #[serde(rename = "type")]
    of: String,
    name: String,
    webhook: Option<WrittenWebhook>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenWebhook {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Time,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Time,
    cache_unauthorized_requests: Option<bool>,
    timeout: Time,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    match_conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConnectionInfo {
    #[serde(rename = "type")]
    of: String,
    kube_config_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Condition {
    expression: String,
}

/// A duration in Go's words. One below zero is refused where it is used, so that the refusal names its place.
#[derive(Clone, Copy, Default)]
struct Time {
    negative: bool,
    length: Duration,
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_else(|| "0".to_owned());
        let (negative, rest) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
        let length = duration::parse(rest);
        let length = length.ok_or_else(|| {
            serde::de::Error::custom(format_args!("time: invalid duration {}", crate::access::quoted(&text)))
        })?;
        Ok(Self { negative: negative && !length.is_zero(), length })
    }
}

impl Time {
    fn shown(self) -> Value {
        format!("{}{}", if self.negative { "-" } else { "" }, duration::format(self.length)).into()
    }

    fn or(self, default: Duration) -> Self {
        if self.length.is_zero() { Self { negative: false, length: default } } else { self }
    }
}

/// Reads a file's one document. `look` says what is wrong with a file of that name: that it is not there, or no regular one.
///
/// # Errors
/// All that is wrong with it.
pub fn read(document: &Value, look: &dyn Fn(&File) -> Result<(), String>) -> Result<Vec<Authorizer>, String> {
    let document: Document = configuration::read(document, WANTED)
        .map_err(|why| format!("failed to load AuthorizationConfiguration from file: {why}"))?;
    let mut reader = Reader { errors: Vec::new(), look };
    let chain = reader.chain(&document.authorizers);
    let mut errors: Vec<String> = reader.errors.iter().map(ToString::to_string).collect();
    if errors.is_empty() {
        errors = document.authorizers.iter().filter_map(misnamed).collect();
    }
    match errors.as_slice() {
        [] => Ok(chain),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// What decides in this process has the name that the flag would give it.
fn misnamed(written: &Written) -> Option<String> {
    let expected = written.of.to_lowercase();
    (written.of != WEBHOOK && written.name != expected).then(|| {
        format!("expected name {expected} for authorizer {} instead of {}", written.of, written.name)
    })
}

struct Reader<'a> {
    errors: Vec<FieldError>,
    look: &'a dyn Fn(&File) -> Result<(), String>,
}

impl Reader<'_> {
    fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.errors.push(FieldError::invalid(path, &value.into(), detail));
    }

    fn required(&mut self, path: &Path, detail: &str) {
        self.errors.push(FieldError::required(path, detail));
    }

    fn unknown(&mut self, path: &Path, value: &str, supported: &[&str]) {
        self.errors.push(FieldError::not_supported(path, &value.into(), supported));
    }

    fn chain(&mut self, all: &[Written]) -> Vec<Authorizer> {
        let root = Path::new("authorizers");
        if all.is_empty() {
            self.required(&root, "at least one authorization mode must be defined");
        }
        let known: Vec<&str> = Mode::NAMES.iter().map(|(name, _)| *name).chain([WEBHOOK]).collect();
        let (mut types, mut named) = (BTreeSet::new(), BTreeSet::new());
        let mut chain = Vec::new();
        for (nth, written) in all.iter().enumerate() {
            let path = root.index(nth);
            let (of, name) = (written.of.as_str(), written.name.as_str());
            let at = path.child("type");
            if of.is_empty() {
                self.required(&at, "");
                continue;
            }
            if !known.contains(&of) {
                self.unknown(&at, of, &known);
                continue;
            }
            if !types.insert(of) && of != WEBHOOK {
                self.errors.push(FieldError::duplicate(&at, &of.into()));
                continue;
            }
            self.name(name, !named.insert(name), &path.child("name"));
            let at = path.child("webhook");
            match (Mode::named(of), &written.webhook) {
                (Some(mode), webhook) => {
                    if webhook.is_some() {
                        self.invalid(&at, "non-null", "may only be specified when type=Webhook");
                    }
                    chain.push(Authorizer::Mode(mode));
                }
                (None, None) => self.required(&at, "required when type=Webhook"),
                (None, Some(webhook)) => {
                    let read = self.webhook(name, webhook, &path);
                    chain.extend(read.map(|webhook| Authorizer::Webhook(Box::new(webhook))));
                }
            }
        }
        chain
    }

    fn name(&mut self, name: &str, twice: bool, path: &Path) {
        let wrong = names::dns1123_subdomain(name);
        match name {
            "" => self.required(path, ""),
            _ if twice => self.errors.push(FieldError::duplicate(path, &name.into())),
            _ if wrong.is_empty() => {}
            _ => self.invalid(path, name, &format!("authorizer name is invalid: {}", wrong.join(", "))),
        }
    }

    /// Paths leave `webhook` out, as the original's do. `None` comes with an error.
    fn webhook(&mut self, name: &str, of: &WrittenWebhook, path: &Path) -> Option<Webhook> {
        let timeout = of.timeout;
        let at = path.child("timeout");
        if timeout.length.is_zero() {
            self.required(&at, "");
        } else if timeout.negative || timeout.length > LONGEST {
            self.invalid(&at, timeout.shown(), "must be > 0s and <= 30s");
        }
        let authorized = self.lifetime(of.authorized_ttl.or(AUTHORIZED), &path.child("authorizedTTL"));
        let unauthorized =
            self.lifetime(of.unauthorized_ttl.or(UNAUTHORIZED), &path.child("unauthorizedTTL"));
        let at = path.child("subjectAccessReviewVersion");
        let version = Version::named(&of.subject_access_review_version);
        match of.subject_access_review_version.as_str() {
            "" => self.required(&at, ""),
            other if version.is_none() => self.unknown(&at, other, &["v1", "v1beta1"]),
            _ => {}
        }
        let at = path.child("matchConditionSubjectAccessReviewVersion");
        match of.match_condition_subject_access_review_version.as_str() {
            "" if of.match_conditions.is_empty() => {}
            "" => self.required(&at, "required if match conditions are specified"),
            "v1" => {}
            other => self.unknown(&at, other, &["v1"]),
        }
        let at = path.child("failurePolicy");
        let on_failure = match of.failure_policy.as_str() {
            "NoOpinion" => Decision::NoOpinion,
            "Deny" => Decision::Deny,
            other => {
                match other {
                    "" => self.required(&at, ""),
                    _ => self.unknown(&at, other, &["NoOpinion", "Deny"]),
                }
                Decision::Deny
            }
        };
        let kubeconfig = self.place(&of.connection_info, &path.child("connectionInfo"));
        let conditions = self.conditions(&of.match_conditions, &path.child("matchConditions"));
        let kept = |wanted: Option<bool>, time| if wanted == Some(false) { Duration::ZERO } else { time };
        Some(Webhook {
            name: name.to_owned(),
            kubeconfig: kubeconfig?,
            version: version?,
            timeout: timeout.length,
            authorized: kept(of.cache_authorized_requests, authorized),
            unauthorized: kept(of.cache_unauthorized_requests, unauthorized),
            on_failure,
            conditions,
        })
    }

    fn lifetime(&mut self, time: Time, path: &Path) -> Duration {
        if time.negative {
            self.invalid(path, time.shown(), "must be > 0s");
        }
        time.length
    }

    /// The kubeconfig. `None` comes with an error.
    fn place(&mut self, info: &ConnectionInfo, path: &Path) -> Option<String> {
        const KINDS: [&str; 2] = ["InClusterConfig", "KubeConfigFile"];
        let at = path.child("kubeConfigFile");
        let file = info.kube_config_file.as_deref();
        match (info.of.as_str(), file) {
            ("", _) => self.required(&path.child("type"), ""),
            ("InClusterConfig", Some(file)) => {
                self.invalid(&at, file, "can only be set when type=KubeConfigFile");
            }
            ("InClusterConfig", None) => {
                self.invalid(
                    &path.child("type"),
                    "InClusterConfig",
                    "this server is the cluster's: use KubeConfigFile",
                );
            }
            ("KubeConfigFile", None | Some("")) => self.required(&at, ""),
            ("KubeConfigFile", Some(file)) => {
                let wrong = match File::new(file) {
                    absolute if absolute.is_absolute() => (self.look)(absolute).err(),
                    _ => Some("must be an absolute path".to_owned()),
                };
                match wrong {
                    Some(why) => self.invalid(&at, file, &why),
                    None => return Some(file.to_owned()),
                }
            }
            (other, _) => self.unknown(&path.child("type"), other, &KINDS),
        }
        None
    }

    fn conditions(&mut self, conditions: &[Condition], path: &Path) -> Vec<Expression> {
        if conditions.len() > MOST_CONDITIONS {
            self.errors.push(FieldError::too_many(path, conditions.len(), MOST_CONDITIONS));
            return Vec::new();
        }
        let (mut seen, mut compiled) = (BTreeSet::new(), Vec::new());
        for (nth, condition) in conditions.iter().enumerate() {
            let (at, source) = (path.index(nth).child("expression"), condition.expression.as_str());
            if source.trim().is_empty() {
                self.required(&at, "");
            } else if !seen.insert(source) {
                self.errors.push(FieldError::duplicate(&at, &source.into()));
            } else {
                match Expression::new(source, "request") {
                    Ok(expression) if expression.is_no_bool() => {
                        self.invalid(&at, source, "must evaluate to bool");
                    }
                    Ok(expression) => compiled.push(expression),
                    Err(why) => self.invalid(&at, source, &why),
                }
            }
        }
        compiled
    }
}

#[cfg(test)]
mod tests;
