//! `--oidc-...` and `--authentication-config`: who else's tokens are accepted.

use std::path::PathBuf;

use goflags::{Settings, Source};

use super::OptionsError;
use super::read::{path, texts};
use crate::authentication::keys::Algorithm;

/// Where issuers of tokens are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Issuers {
    #[default]
    None,
    Flags(Box<Provider>),
    /// `--authentication-config`.
    File(PathBuf),
}

/// The one issuer of the flags. See `control_core::tokens::oidc::config::Flags` for what the texts mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub issuer_url: String,
    pub client_id: String,
    pub ca: Option<PathBuf>,
    pub username_claim: String,
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub required_claims: Vec<(String, String)>,
    pub algorithms: Vec<Algorithm>,
}

const FLAGS: [&str; 9] = [
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-ca-file",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-signing-algs",
    "oidc-required-claim",
];

/// # Errors
/// Flags that do not go together, or an algorithm that there is not.
pub fn issuers(settings: &Settings) -> Result<Issuers, OptionsError> {
    let text = |name: &str| settings.get(name).text().to_owned();
    let conflict = |why: &str| Err(OptionsError::Conflict(why.to_owned()));
    let given = FLAGS.iter().any(|name| settings.get(name).source != Source::Default);
    match (path(settings.get("authentication-config")), given) {
        (Some(_), true) => return conflict("--authentication-config and --oidc-... exclude each other"),
        (Some(file), false) => return Ok(Issuers::File(file)),
        (None, false) => return Ok(Issuers::None),
        (None, true) => {}
    }
    let (issuer_url, client_id) = (text("oidc-issuer-url"), text("oidc-client-id"));
    if issuer_url.is_empty() || client_id.is_empty() {
        return conflict("--oidc-issuer-url and --oidc-client-id are needed together, with any --oidc-...");
    }
    let setting = settings.get("oidc-signing-algs");
    let algorithm = |name: &String| match Algorithm::named(name) {
        Some(algorithm) => Ok(algorithm),
        None => {
            Err(setting.refuse("want some of RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512"))
        }
    };
    let algorithms = texts(setting).iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
    let required = settings.get("oidc-required-claim").value.as_object().into_iter().flatten();
    let required =
        required.map(|(claim, value)| (claim.clone(), value.as_str().unwrap_or_default().to_owned()));
    Ok(Issuers::Flags(Box::new(Provider {
        issuer_url,
        client_id,
        ca: path(settings.get("oidc-ca-file")),
        username_claim: text("oidc-username-claim"),
        username_prefix: text("oidc-username-prefix"),
        groups_claim: text("oidc-groups-claim"),
        groups_prefix: text("oidc-groups-prefix"),
        required_claims: required.collect(),
        algorithms: if algorithms.is_empty() { vec![Algorithm::Rs256] } else { algorithms },
    })))
}
