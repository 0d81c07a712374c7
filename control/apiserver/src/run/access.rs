//! Who is known and who decides, by the options.

use std::path::Path;
use std::sync::Arc;

use control_core::admission::{Objects, chain as plugins};
use control_core::tokens::issue::Issuer;
use control_core::tokens::oidc::config;
use tokio_rustls::rustls::DistinguishedName;

use super::{ServeError, read, reload, unusable};
use crate::access::Services;
use crate::authentication::Authenticate;
use crate::authentication::bearer::{Bearer, Tokens};
use crate::authentication::certificates::{Authorities, Certificates};
use crate::authentication::front_proxy::FrontProxy;
use crate::authentication::keys::{Algorithm, SigningKey, public_keys};
use crate::authentication::oidc::{self, Oidc};
use crate::authentication::passwords::Passwords;
use crate::authentication::service_accounts::{BootstrapTokens, ServiceAccountTokens, ServiceAccounts};
use crate::authentication::static_tokens::StaticTokens;
use crate::authentication::token_webhook::TokenWebhook;
use crate::authorization::Authorizers;
use crate::followed::Followed;
use crate::options::access::Authorization;
use crate::options::{self, Options};
use crate::storage::memory::Memory;
use crate::webhook::{TIMEOUT, Webhook};

pub struct Access {
    /// In the order in which they are asked.
    pub ways: Vec<Arc<dyn Authenticate>>,
    pub authorizers: Arc<Authorizers>,
    pub services: Services,
    /// Authorities that client certificates may come from.
    pub hints: Vec<DistinguishedName>,
    /// The files that they are from, to be followed.
    pub files: Vec<(Followed, Arc<Authorities>)>,
    /// Other issuers of tokens, to be followed.
    pub oidc: Option<Issuers>,
    /// The file of the chain of authorizers.
    pub chain: Option<Followed>,
    /// Who says nothing is let in, at these paths only; at all of them where there are none.
    pub anonymous: Anonymous,
}

/// Issuers, and the file that names them.
#[derive(Debug)]
pub struct Issuers {
    pub oidc: Arc<Oidc>,
    pub file: Option<Followed>,
}

/// The authorities of a file.
fn authorities(file: &Path) -> Result<(Followed, Arc<Authorities>), ServeError> {
    let pem = read(file)?;
    let authorities = Authorities::new(&pem).map_err(|error| unusable(file, error))?;
    Ok((Followed::new(file.to_owned(), pem), Arc::new(authorities)))
}

pub fn of(
    options: &Options,
    settings: &plugins::Settings,
    memory: &Arc<Memory>,
) -> Result<Access, ServeError> {
    let mut ways: Vec<Arc<dyn Authenticate>> = Vec::new();
    let mut files = Vec::new();
    let proxy = &options.front_proxy;
    if let Some(file) = &proxy.client_ca {
        let (file, authorities) = authorities(file)?;
        files.push((file, Arc::clone(&authorities)));
        ways.push(Arc::new(FrontProxy { authorities, headers: proxy.headers() }));
    }
    if let Some(file) = &options.client_ca {
        let (file, authorities) = authorities(file)?;
        files.push((file, Arc::clone(&authorities)));
        ways.push(Arc::new(Certificates(authorities)));
    }
    let audiences = audiences(options);
    let Known { mut sorts, accounts } = tokens(options, memory, &audiences)?;
    let (oidc, anonymous) = issuers(options, &audiences)?;
    sorts.extend(oidc.iter().map(|issuers| Arc::clone(&issuers.oidc) as Arc<dyn Tokens>));
    // Last: whoever it belongs to sees every token that nobody here knows.
    sorts.extend(token_webhook(options, &audiences)?.map(|webhook| Arc::new(webhook) as Arc<dyn Tokens>));
    let tokens = (!sorts.is_empty()).then(|| Arc::new(Bearer::new(sorts, audiences)));
    ways.extend(tokens.iter().map(|tokens| Arc::clone(tokens) as Arc<dyn Authenticate>));
    if let Some(file) = &options.password_file {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        ways.push(Arc::new(Passwords::parse(&text).map_err(|error| unusable(file, error))?));
    }
    let (authorizers, chain) = authorizers(options)?;
    let services = Services {
        rules: Arc::clone(&authorizers) as _,
        tokens,
        accounts,
        address: external_address(options),
        jwks_uri: jwks_uri(options),
        quota: plugins::runs("ResourceQuota", settings),
    };
    let hints = files.iter().flat_map(|(_, authorities)| authorities.hints()).collect();
    Ok(Access { ways, authorizers, services, hints, files, oidc, chain, anonymous })
}

/// Who decides, and the file that says so.
fn authorizers(options: &Options) -> Result<(Arc<Authorizers>, Option<Followed>), ServeError> {
    let (chain, file, at) = match &options.authorization {
        Authorization::Flags(chain) => {
            (chain.clone(), None, Path::new("--authorization-webhook-config-file"))
        }
        Authorization::File(path) => {
            let text = read(path)?;
            let chain = reload::chain(&String::from_utf8_lossy(&text)).map_err(|why| unusable(path, why))?;
            (chain, Some(Followed::new(path.clone(), text)), path.as_path())
        }
    };
    let authorizers = Authorizers::new(chain).map_err(|why| unusable(at, why))?;
    Ok((Arc::new(authorizers), file))
}

fn token_webhook(options: &Options, audiences: &[String]) -> Result<Option<TokenWebhook>, ServeError> {
    let Some(wanted) = &options.token_webhook else { return Ok(None) };
    let service = Webhook::open(wanted.kubeconfig.clone(), TIMEOUT, "TokenReview");
    let service = service.map_err(|why| unusable(&wanted.kubeconfig, why))?;
    Ok(Some(TokenWebhook::new(service, wanted.version, audiences.to_vec(), wanted.remember)))
}

/// Who may come without credentials, as [`Access`] has it.
type Anonymous = (bool, Vec<String>);

/// Other issuers of tokens, and who may come without one.
fn issuers(options: &Options, audiences: &[String]) -> Result<(Option<Issuers>, Anonymous), ServeError> {
    let oidc = |issuers, algorithms, file: &Path| {
        let oidc = Oidc::new(issuers, algorithms, audiences.to_vec());
        oidc.map(Arc::new).map_err(|why| unusable(file, why))
    };
    let anonymous = (options.anonymous, Vec::new());
    match &options.token_issuers {
        options::oidc::Issuers::None => Ok((None, anonymous)),
        options::oidc::Issuers::Flags(flags) => {
            let ca = flags.ca.as_deref();
            let authorities = ca.map(read).transpose()?.unwrap_or_default();
            let named = config::Flags {
                issuer_url: flags.issuer_url.clone(),
                client_id: flags.client_id.clone(),
                username_claim: flags.username_claim.clone(),
                username_prefix: flags.username_prefix.clone(),
                groups_claim: flags.groups_claim.clone(),
                groups_prefix: flags.groups_prefix.clone(),
                required_claims: flags.required_claims.clone(),
                authorities: String::from_utf8_lossy(&authorities).into_owned(),
            };
            let issuer = config::of_flags(named, &options.issuers).map_err(ServeError::Issuer)?;
            let file = ca.unwrap_or(Path::new("--oidc-issuer-url"));
            let oidc = oidc(vec![issuer], flags.algorithms.clone(), file)?;
            Ok((Some(Issuers { oidc, file: None }), anonymous))
        }
        options::oidc::Issuers::File(file) => {
            let text = String::from_utf8_lossy(&read(file)?).into_owned();
            let found = oidc::read(&text, &options.issuers).map_err(|why| unusable(file, why))?;
            let anonymous = match found.anonymous {
                Some(_) if options.anonymous_given => {
                    return Err(unusable(file, "it says who is anonymous, and so does --anonymous-auth"));
                }
                Some(found) => (found.enabled, found.paths),
                None => anonymous,
            };
            let algorithms = Algorithm::ALL.map(|(_, algorithm)| algorithm).to_vec();
            let oidc = oidc(found.issuers, algorithms, file)?;
            let file = Some(Followed::new(file.clone(), text.into_bytes()));
            Ok((Some(Issuers { oidc, file }), anonymous))
        }
    }
}

/// Host and port, as others see this server.
fn external_address(options: &Options) -> String {
    let address = options.advertise_address.unwrap_or(options.listen.ip());
    let port = options.listen.port();
    match options.external_hostname.as_str() {
        "" => std::net::SocketAddr::from((address, port)).to_string(),
        name => format!("{name}:{port}"),
    }
}

/// Where the keys of tokens are shown.
fn jwks_uri(options: &Options) -> String {
    match options.jwks_uri.as_str() {
        "" => format!("https://{}/openid/v1/jwks", external_address(options)),
        given => given.to_owned(),
    }
}

/// For whom tokens must be: the issuers themselves unless others are named. Where nobody issues any, one without a name,
/// so that static tokens have one in common with the server.
fn audiences(options: &Options) -> Vec<String> {
    match (options.audiences.as_slice(), options.issuers.as_slice()) {
        ([], []) => vec![String::new()],
        ([], issuers) => issuers.to_vec(),
        (audiences, _) => audiences.to_vec(),
    }
}

/// What tokens are known.
struct Known {
    sorts: Vec<Arc<dyn Tokens>>,
    accounts: Option<Arc<ServiceAccounts>>,
}

fn tokens(options: &Options, memory: &Arc<Memory>, audiences: &[String]) -> Result<Known, ServeError> {
    let objects = || Arc::clone(memory) as Arc<dyn Objects>;
    let mut sorts: Vec<Arc<dyn Tokens>> = Vec::new();
    if let Some(file) = &options.token_file {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let parsed = StaticTokens::parse(&text, audiences.to_vec());
        sorts.push(Arc::new(parsed.map_err(|error| unusable(file, error))?));
    }
    let mut keys = Vec::new();
    for file in &options.verification_keys {
        keys.extend(public_keys(&read(file)?).map_err(|error| unusable(file, error))?);
    }
    let signing = match &options.signing_key {
        Some(file) => Some(SigningKey::from_pem(&read(file)?).map_err(|error| unusable(file, error))?),
        None => None,
    };
    if keys.is_empty()
        && let Some(signing) = &signing
    {
        keys.push(signing.public().clone());
    }
    let accounts = (!keys.is_empty()).then(|| {
        let seconds =
            options.max_token_expiration.map(|most| i64::try_from(most.as_secs()).unwrap_or(i64::MAX));
        Arc::new(ServiceAccounts {
            keys,
            signing,
            issuer: Issuer {
                name: options.issuers.first().cloned().unwrap_or_default(),
                audiences: audiences.to_vec(),
                most: seconds,
                extend: options.extend_token_expiration,
            },
            issuers: options.issuers.clone(),
        })
    });
    if let Some(accounts) = &accounts {
        let accounts = Arc::clone(accounts);
        sorts.push(Arc::new(ServiceAccountTokens { accounts, objects: objects() }));
    }
    if options.bootstrap_tokens {
        sorts.push(Arc::new(BootstrapTokens { objects: objects(), audiences: audiences.to_vec() }));
    }
    Ok(Known { sorts, accounts })
}
