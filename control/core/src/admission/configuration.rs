//! The file of `--admission-control-config-file`: settings of admission plugins. Begin at [`plugins`].
//!
//! PodSecurity's are carried out: a policy for namespaces without labels, and who is exempt. Settings of others are refused by
//! name, rather than ignored.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::pod_security::PodSecurity;
use super::pod_security::policy::{Level, Policy, Standard, version};
use crate::configuration::{self, Wanted};
use crate::field::{FieldError, Path};
use crate::names;

const PLUGINS: Wanted =
    Wanted { group: "apiserver.config.k8s.io", versions: &["v1"], kind: "AdmissionConfiguration" };

const POD_SECURITY: Wanted = Wanted {
    group: "pod-security.admission.config.k8s.io",
    versions: &["v1", "v1beta1", "v1alpha1"],
    kind: "PodSecurityConfiguration",
};

/// Settings of one plugin: a document in the file, or the path of another file.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Here(Value),
    /// Relative to the folder of the file that names it.
    File(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    path: String,
    configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    exemptions: Exemptions,
}

/// An empty level is `privileged`, an empty version `latest`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Exemptions {
    usernames: Vec<String>,
    namespaces: Vec<String>,
    runtime_classes: Vec<String>,
}

/// Where the settings of PodSecurity are, if there are any.
///
/// # Errors
/// The document is no AdmissionConfiguration, or has settings of another plugin.
pub fn plugins(document: &Value) -> Result<Option<Source>, String> {
    let document: Document = configuration::read(document, PLUGINS)?;
    let mut found = None;
    for plugin in document.plugins {
        if plugin.name != "PodSecurity" {
            return Err(format!(
                "settings of the plugin {:?} are not carried out: take them out",
                plugin.name
            ));
        }
        let source = match (plugin.configuration, plugin.path.is_empty()) {
            (Some(settings), true) if !settings.is_null() => Source::Here(settings),
            (None | Some(Value::Null), false) => Source::File(plugin.path),
            (None | Some(Value::Null), true) => continue,
            _ => return Err("a plugin has a configuration or a path, not both".to_owned()),
        };
        if found.replace(source).is_some() {
            return Err("PodSecurity has settings twice".to_owned());
        }
    }
    Ok(found)
}

/// Reads a PodSecurityConfiguration.
///
/// # Errors
/// All that is wrong with it.
pub fn pod_security(document: &Value) -> Result<PodSecurity, String> {
    let settings: Settings = configuration::read(document, POD_SECURITY)?;
    let (defaults, exempt) = (&settings.defaults, settings.exemptions);
    let mut errors = Vec::new();
    let mut standard = |mode: &str, level: &str, of: &str| standard(mode, (level, of), &mut errors);
    let policy = Policy {
        enforce: standard("enforce", &defaults.enforce, &defaults.enforce_version),
        warn: standard("warn", &defaults.warn, &defaults.warn_version),
        audit: standard("audit", &defaults.audit, &defaults.audit_version),
    };
    let user = |name: &str| match name.is_empty() {
        true => vec!["username must not be empty".to_owned()],
        false => Vec::new(),
    };
    each("namespaces", &exempt.namespaces, names::dns1123_label, &mut errors);
    each("runtimeClasses", &exempt.runtime_classes, names::dns1123_subdomain, &mut errors);
    each("usernames", &exempt.usernames, user, &mut errors);
    if !errors.is_empty() {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Err(errors.join(", "));
    }
    Ok(PodSecurity {
        defaults: policy,
        exempt_users: exempt.usernames,
        exempt_namespaces: exempt.namespaces,
        exempt_runtime_classes: exempt.runtime_classes,
    })
}

fn standard(mode: &str, (level, of): (&str, &str), errors: &mut Vec<FieldError>) -> Standard {
    let path = Path::new("defaults");
    let named = if level.is_empty() { Some(Level::default()) } else { Level::named(level) };
    if named.is_none() {
        let why = "must be one of privileged, baseline, restricted";
        errors.push(FieldError::invalid(&path.child(mode), &level.into(), why));
    }
    let minor = if of.is_empty() { Some(None) } else { version(of) };
    if minor.is_none() {
        let path = path.child(&format!("{mode}-version"));
        errors.push(FieldError::invalid(&path, &of.into(), "must be \"latest\" or \"v1.x\""));
    }
    Standard { level: named.unwrap_or_default(), version: minor.flatten() }
}

/// Names of one sort of exemption: each a good one, and none twice.
fn each(of: &str, all: &[String], check: impl Fn(&str) -> Vec<String>, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (number, name) in all.iter().enumerate() {
        let path = Path::new("exemptions").child(of).index(number);
        let wrong = check(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&path, &name.as_str().into(), &wrong.join(", ")));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path, &name.as_str().into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(plugins: Value) -> Value {
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins})
    }

    fn settings(rest: Value) -> Value {
        let mut settings = json!({
            "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
        });
        settings.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        settings
    }

    #[test]
    fn settings_of_pod_security_stand_in_the_file_or_in_another() {
        let own = settings(json!({}));
        let here = document(json!([{"name": "PodSecurity", "configuration": own}]));
        assert_eq!(plugins(&here), Ok(Some(Source::Here(own.clone()))));
        let there = document(json!([{"name": "PodSecurity", "path": "pods.yaml"}]));
        assert_eq!(plugins(&there), Ok(Some(Source::File("pods.yaml".to_owned()))));
        assert_eq!(plugins(&document(json!([]))), Ok(None));
        let both = document(json!([{"name": "PodSecurity", "path": "pods.yaml", "configuration": own}]));
        assert!(plugins(&both).is_err());
        let other = plugins(&document(json!([{"name": "EventRateLimit", "path": "rate.yaml"}])));
        assert_eq!(
            other.unwrap_err(),
            "settings of the plugin \"EventRateLimit\" are not carried out: take them out"
        );
        assert!(plugins(&own).unwrap_err().starts_with("want kind AdmissionConfiguration"));
    }

    #[test]
    fn defaults_and_exemptions_of_pod_security_are_read() {
        let read = pod_security(&settings(json!({
            "defaults": {"enforce": "baseline", "enforce-version": "v1.30", "warn": "restricted"},
            "exemptions": {"usernames": ["admin"], "namespaces": ["kube-system"], "runtimeClasses": ["kata"]},
        })))
        .unwrap();
        assert_eq!(read.defaults.enforce.to_string(), "baseline:v1.30");
        assert_eq!(read.defaults.warn.to_string(), "restricted:latest");
        assert_eq!(read.defaults.audit.to_string(), "privileged:latest");
        assert_eq!(
            (read.exempt_users, read.exempt_namespaces, read.exempt_runtime_classes),
            (vec!["admin".to_owned()], vec!["kube-system".to_owned()], vec!["kata".to_owned()])
        );
    }

    #[test]
    fn every_fault_of_pod_securitys_settings_is_named() {
        let wrong = pod_security(&settings(json!({
            "defaults": {"enforce": "strict", "audit-version": "1.2"},
            "exemptions": {"namespaces": ["A", "b", "b"], "usernames": [""]},
        })))
        .unwrap_err();
        for part in [
            "defaults.enforce: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
            "defaults.audit-version: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\"",
            "exemptions.namespaces[0]: Invalid value: \"A\"",
            "exemptions.namespaces[2]: Duplicate value: \"b\"",
            "exemptions.usernames[0]: Invalid value: \"\": username must not be empty",
        ] {
            assert!(wrong.contains(part), "{part} in {wrong}");
        }
        assert!(
            pod_security(&settings(json!({"default": {}}))).unwrap_err().contains("unknown field `default`")
        );
    }
}
