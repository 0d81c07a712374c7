//! `--authorization-...` and `--authentication-token-webhook-...`: who decides, and who is asked about tokens.

use std::path::PathBuf;
use std::time::Duration;

use control_core::access::Decision;
use control_core::authorization::{Authorizer, Mode, Version, Webhook};
use goflags::{Setting, Settings, Source};

use super::OptionsError;
use super::read::{path, time};
use crate::webhook::TIMEOUT;

/// Where the chain of authorizers is from.
#[derive(Clone, Debug)]
pub enum Authorization {
    Flags(Vec<Authorizer>),
    /// `--authorization-config`.
    File(PathBuf),
}

/// A service that knows tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWebhook {
    pub kubeconfig: PathBuf,
    pub version: Version,
    /// How long what it said is remembered; 0: not at all.
    pub remember: Duration,
}

const CONFIG: &str = "authorization-config";
const MODE: &str = "authorization-mode";
const WEBHOOK: &str = "authorization-webhook-config-file";
const VERSION: &str = "authorization-webhook-version";
const AUTHORIZED: &str = "authorization-webhook-cache-authorized-ttl";
const UNAUTHORIZED: &str = "authorization-webhook-cache-unauthorized-ttl";

/// # Errors
/// A mode that there is not, or flags that do not go together.
pub fn authorization(settings: &Settings) -> Result<Authorization, OptionsError> {
    let given = |name: &&str| settings.get(name).source != Source::Default;
    if let Some(file) = path(settings.get(CONFIG)) {
        return match [MODE, WEBHOOK, VERSION, AUTHORIZED, UNAUTHORIZED].iter().find(|name| given(name)) {
            Some(_) => Err(OptionsError::Conflict(format!(
                "--{CONFIG} can not be specified when --{MODE} or --authorization-webhook-* flags are defined"
            ))),
            None => Ok(Authorization::File(file)),
        };
    }
    let (modes, webhook) = (settings.get(MODE), settings.get(WEBHOOK));
    let mut chain = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for text in modes.list().map(str::trim) {
        if seen.contains(&text) {
            return Err(modes.refuse(format!("{text} is there twice")));
        }
        seen.push(text);
        chain.push(match (text, Mode::named(text)) {
            (_, Some(mode)) => Authorizer::Mode(mode),
            ("Webhook", _) => Authorizer::Webhook(Box::new(of_flags(settings)?)),
            ("ABAC", _) => return Err(modes.refuse("ABAC is not there; use Node,RBAC")),
            _ => {
                return Err(
                    modes.refuse("want Node, RBAC, Webhook, AlwaysAllow or AlwaysDeny, separated by commas")
                );
            }
        });
    }
    if chain.is_empty() {
        return Err(modes.refuse("want at least one mode"));
    }
    if path(webhook).is_some() && !seen.contains(&"Webhook") {
        return Err(OptionsError::Conflict(format!("cannot specify --{WEBHOOK} without mode Webhook")));
    }
    Ok(Authorization::Flags(chain))
}

/// What the flags leave open is as in the original: it has half a minute, and where it does not answer others decide.
fn of_flags(settings: &Settings) -> Result<Webhook, OptionsError> {
    let kubeconfig = settings.get(WEBHOOK).text();
    if kubeconfig.is_empty() {
        return Err(OptionsError::Conflict(format!(
            "authorization-mode Webhook's authorization config file not passed: give --{WEBHOOK}"
        )));
    }
    Ok(Webhook {
        name: "default".to_owned(),
        kubeconfig: kubeconfig.to_owned(),
        version: version(settings.get(VERSION))?,
        timeout: TIMEOUT,
        authorized: time(settings.get(AUTHORIZED)).unwrap_or_default(),
        unauthorized: time(settings.get(UNAUTHORIZED)).unwrap_or_default(),
        on_failure: Decision::NoOpinion,
        conditions: Vec::new(),
    })
}

/// # Errors
/// A version that there is not.
pub fn token_webhook(settings: &Settings) -> Result<Option<TokenWebhook>, OptionsError> {
    let Some(kubeconfig) = path(settings.get("authentication-token-webhook-config-file")) else {
        return Ok(None);
    };
    Ok(Some(TokenWebhook {
        kubeconfig,
        version: version(settings.get("authentication-token-webhook-version"))?,
        remember: time(settings.get("authentication-token-webhook-cache-ttl")).unwrap_or_default(),
    }))
}

fn version(setting: &Setting) -> Result<Version, OptionsError> {
    Version::named(setting.text()).ok_or_else(|| setting.refuse("want v1 or v1beta1"))
}
