//! What is answered about access itself: the review kinds, new tokens of service accounts, and the documents by which
//! others verify them.
//!
//! Owns: [`Services`], which the answers stand on. What the answers are, `control_core::{reviews, tokens}` decide.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::access::{Attributes, Authorize, User};
use control_core::admission::Objects;
use control_core::impersonation;
use control_core::kind::{Context, Kind};
use control_core::rbac::rule::{Resolution, ResolveRules, RoleRef, Rule};
use control_core::{refusal, reviews};
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::Value;

use crate::authentication::bearer::Bearer;
use crate::authentication::chain::with_groups;
use crate::authentication::service_accounts::ServiceAccounts;
use crate::authorization::Authorizers;
use crate::reply::{Response, reply};

/// What a server answers such questions from.
#[derive(Debug)]
pub struct Services {
    /// For the list of one's rights, and for the escalation check.
    pub rules: Arc<dyn ResolveRules>,
    /// For TokenReview; `None`: no token is known.
    pub tokens: Option<Arc<Bearer>>,
    /// For TokenRequest; `None`: there is no key.
    pub accounts: Option<Arc<ServiceAccounts>>,
    /// Host and port by which clients outside reach this server.
    pub address: String,
    /// `--service-account-jwks-uri`, or where this server shows its keys.
    pub jwks_uri: String,
    /// Quotas are charged: ResourceQuota is among the plugins.
    pub quota: bool,
}

/// Nobody has any rules.
#[derive(Debug)]
struct NoRules;

impl ResolveRules for NoRules {
    fn rules(&self, _user: &User, _namespace: &str) -> Resolution {
        Resolution::default()
    }

    fn role(&self, _role: &RoleRef, _namespace: &str) -> Option<Vec<Rule>> {
        None
    }
}

impl Default for Services {
    /// Answers with nothing.
    fn default() -> Self {
        Self {
            rules: Arc::new(NoRules),
            tokens: None,
            accounts: None,
            address: String::new(),
            jwks_uri: String::new(),
            quota: false,
        }
    }
}

/// Who asks, after the headers by which somebody asks to be somebody else.
///
/// # Errors
/// 400 for headers that make no sense, 403.
pub async fn impersonated(
    authorizers: &Authorizers,
    headers: &http::HeaderMap,
    user: Arc<User>,
    attributes: &Attributes,
) -> Result<Arc<User>, Status> {
    let Some(wanted) = crate::authentication::impersonation::wanted(headers)? else { return Ok(user) };
    let decide =
        |authorizer: &dyn Authorize| impersonation::impersonate(&wanted, attributes, &user, authorizer);
    let found = authorizers.decide(decide).await?;
    tracing::debug!(user = user.name, impersonated = found.name, "a request is made as somebody else");
    Ok(Arc::new(found))
}

/// Answers an object of a review kind in itself.
///
/// # Errors
/// The question makes no sense.
pub async fn review(
    services: &Services,
    authorizers: &Authorizers,
    kind: &Kind,
    asked: &Context<'_>,
    object: &mut Value,
) -> Result<(), Status> {
    let user = asked.user;
    match (&*kind.group, &*kind.kind) {
        ("authorization.k8s.io", "SelfSubjectAccessReview") => {
            authorizers.decide(|chain| reviews::self_subject_access(object, user, chain)).await
        }
        ("authorization.k8s.io", "SubjectAccessReview") => {
            authorizers.decide(|chain| reviews::subject_access(object, chain)).await
        }
        ("authorization.k8s.io", "LocalSubjectAccessReview") => {
            let namespace = asked.namespace;
            authorizers.decide(|chain| reviews::local_subject_access(object, namespace, chain)).await
        }
        ("authorization.k8s.io", "SelfSubjectRulesReview") => {
            reviews::self_subject_rules(object, user, &*services.rules)
        }
        ("authentication.k8s.io", "SelfSubjectReview") => {
            reviews::self_subject(object, user, &time::seconds(asked.now));
            Ok(())
        }
        ("authentication.k8s.io", "TokenReview") => token(services, object).await,
        _ => Ok(()),
    }
}

async fn token(services: &Services, object: &mut Value) -> Result<(), Status> {
    let token = reviews::token_of(object)?.to_owned();
    let wanted = object["spec"]["audiences"].as_array().into_iter().flatten();
    let wanted: Vec<_> = wanted.filter_map(Value::as_str).map(str::to_owned).collect();
    match &services.tokens {
        None => reviews::token_reviewed(object, Err("invalid bearer token"), &[]),
        Some(tokens) => match tokens.review(&token, &wanted).await {
            Ok(found) => {
                reviews::token_reviewed(object, Ok(Some(&with_groups(found.user))), &found.audiences);
            }
            Err(why) => reviews::token_reviewed(object, Err(&why.to_string()), &[]),
        },
    }
    Ok(())
}

impl Services {
    /// A TokenRequest for an account, answered in itself; gives lines of warning.
    ///
    /// # Errors
    /// 405 where this server makes no tokens, or the refusal.
    pub fn issue(
        &self,
        request: &mut Value,
        (namespace, name): (&str, &str),
        now: SystemTime,
        objects: &dyn Objects,
    ) -> Result<Vec<String>, Status> {
        let Some(accounts) = &self.accounts else { return Err(refusal::method_not_allowed()) };
        accounts.issue(request, namespace, name, now, &crate::ids::uid(), objects)
    }

    /// The documents by which others verify this server's tokens.
    pub fn document(&self, path: &str) -> Option<Response> {
        let accounts = self.accounts.as_ref()?;
        let (media_type, document) = match path {
            "/openid/v1/jwks" => ("application/jwk-set+json", accounts.jwks()),
            "/.well-known/openid-configuration" => {
                ("application/json", accounts.openid_configuration(&self.jwks_uri))
            }
            _ => return None,
        };
        let mut response = reply(200, media_type, document.to_string());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        Some(response)
    }
}
