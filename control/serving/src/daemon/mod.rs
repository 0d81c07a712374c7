//! The health port of a daemon: HTTPS for clients that an API server knows.
//!
//! Owns: who is let in to what, as kube-controller-manager and kube-scheduler have it. Facts: apiserver's
//! `server/options/authentication.go` and `authorization.go`, 1.36. Without a server to ask, a token says nothing, and
//! only what everybody may see is answered. Begin at [`serve`].

mod gate;
mod lookup;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient::{Access, AccessError, Client, Failure};
use control_core::access::Decision;
use control_core::authorization::{self, Version};
use telemetry::http::{self, BindError, Guard, Routes, WhenTaken};
use tokio::task::JoinSet;

use crate::authentication::Authenticate;
use crate::authentication::certificates::{Authorities, Certificates};
use crate::authentication::chain::Chain;
use crate::authentication::front_proxy::FrontProxy;
use crate::authentication::token_webhook::TokenWebhook;
use crate::authorization::Webhook;
use crate::certificates::{self, Pair, Source};
use crate::files::{FileError, read, unusable};
use crate::followed::{self, EVERY, Followed};
use crate::options::{Authentication, Authorization, Options};
use crate::webhook;

use gate::{Gate, Reviewed};
use lookup::Lookup;

/// The longest time of one question to the API server, as the original's.
const LIMIT: Duration = Duration::from_secs(10);

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Why a health port is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make a certificate for the health port; give --tls-cert-file and --tls-private-key-file")]
    Pki(#[from] control_pki::PkiError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(
        "the API server does not say whose certificates are believed (ConfigMap {}/{}); give \
         --authentication-tolerate-lookup-failure to start without",
        lookup::NAMESPACE,
        lookup::NAME
    )]
    Lookup(#[source] Failure),
}

/// A health port that is served, until this is stopped or dropped.
#[derive(Debug)]
pub struct Served {
    server: http::Server,
    /// What follows files and objects.
    _following: JoinSet<()>,
}

impl Served {
    /// Accepts nothing more, finishes what is under way, and frees the port.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Serves `routes`. `program` is the original's name, which its own certificate has.
///
/// # Errors
/// [`ServingError`].
pub async fn serve(program: &'static str, options: Options, routes: Routes) -> Result<Served, ServingError> {
    let mut following = JoinSet::new();
    let sources = std::iter::once(own(program, &options)?).chain(options.sni.iter().map(Source::from));
    let (tls, shown) = certificates::config(sources.collect(), &options.terms, Vec::new())?;
    following.spawn(async move { shown.follow(EVERY).await });
    let chain = chain(&options.authentication, &mut following).await?;
    let gate =
        Gate { chain, always: options.authorization.always.clone(), rights: rights(&options.authorization)? };
    let guard = Guard { tls, check: Arc::new(gate) };
    let server =
        http::serve_guarded("health and metrics", options.address, routes, WhenTaken::Fail, guard).await?;
    Ok(Served { server, _following: following })
}

/// The usual certificate.
fn own(program: &'static str, options: &Options) -> Result<Source, ServingError> {
    if let Some((certificate, key)) = options.tls.clone() {
        return Ok(Source::usual(Pair::Files { certificate, key }));
    }
    let mut names = control_pki::Names::loopback();
    let address = options.address.ip();
    if !address.is_unspecified() {
        names.addresses.insert(address);
    }
    let now = SystemTime::now();
    let pair = match &options.cert_dir {
        Some(directory) => {
            let made = control_pki::ensure_self_signed(directory, (program, program), &names, now)?;
            Pair::Files { certificate: made.0, key: made.1 }
        }
        None => {
            let (certificate, key) = control_pki::self_signed(program, &names, now)?;
            Pair::Made { certificate, key }
        }
    };
    Ok(Source::usual(pair))
}

/// A client of the server that a kubeconfig names, or that of the pod that this is. `None`: it is none.
fn client(kubeconfig: Option<&PathBuf>, flag: &str) -> Result<Option<Client>, AccessError> {
    let access = Access { kubeconfigs: kubeconfig.into_iter().cloned().collect(), master: None };
    match Client::connect_within(access, LIMIT) {
        Ok(client) => Ok(Some(client)),
        Err(error) if kubeconfig.is_none() => {
            tracing::debug!(%error, "there is no API server to ask without --{flag}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Who clients are: proxies first, then certificates, then tokens, as the original asks.
async fn chain(settings: &Authentication, following: &mut JoinSet<()>) -> Result<Chain, ServingError> {
    let client = client(settings.kubeconfig.as_ref(), "authentication-kubeconfig")?;
    let mut files = Vec::new();
    let mut authorities = |file: &PathBuf| {
        let pem = read(file)?;
        let authorities = Arc::new(Authorities::new(&pem).map_err(|error| unusable(file, error))?);
        files.push((Followed::new(file.clone(), pem), Arc::clone(&authorities)));
        Ok::<_, FileError>(authorities)
    };
    let lookup = Arc::new(Lookup::default());
    let (mut ways, mut looked_up): (Vec<Arc<dyn Authenticate>>, _) = (Vec::new(), false);
    ways.push(match &settings.front_proxy.client_ca {
        Some(file) => {
            Arc::new(FrontProxy { authorities: authorities(file)?, headers: settings.front_proxy.headers() })
        }
        None => {
            looked_up = true;
            lookup.proxies()
        }
    });
    ways.push(match &settings.client_ca {
        Some(file) => Arc::new(Certificates(authorities(file)?)),
        None => {
            looked_up = true;
            lookup.clients()
        }
    });
    following.spawn(followed::authorities(files, EVERY));
    if let Some(client) = client {
        let reviews = webhook::Webhook::at(client.clone(), LIMIT, "TokenReview", TOKEN_REVIEWS);
        let tokens = TokenWebhook::new(reviews, Version::V1, Vec::new(), settings.remember);
        ways.push(Arc::new(Reviewed(tokens)));
        if looked_up && !settings.skip_lookup {
            match lookup.first(&client).await {
                Ok(()) => {}
                Err(error) if settings.tolerate => {
                    tracing::warn!(
                        %error,
                        "the API server does not say whose certificates are believed: none is, until it does"
                    );
                }
                Err(error) => return Err(ServingError::Lookup(error)),
            }
            following.spawn(lookup.follow(Arc::new(client)));
        }
    }
    Ok(Chain::new(ways, true))
}

/// Who says what they may do.
fn rights(settings: &Authorization) -> Result<Option<Webhook>, AccessError> {
    const FLAG: &str = "authorization-kubeconfig";
    let client = client(settings.kubeconfig.as_ref(), FLAG)?;
    Ok(client.map(|client| {
        let reviews = webhook::Webhook::at(client, LIMIT, "SubjectAccessReview", ACCESS_REVIEWS);
        let settings = authorization::Webhook {
            name: FLAG.to_owned(),
            kubeconfig: String::new(),
            version: Version::V1,
            timeout: LIMIT,
            authorized: settings.authorized,
            unauthorized: settings.unauthorized,
            on_failure: Decision::NoOpinion,
            conditions: Vec::new(),
        };
        Webhook::asking(settings, reviews)
    }))
}
