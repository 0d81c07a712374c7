//! Tokens of OpenID issuers: whom their claims mean.
//!
//! Owns: what an issuer's configuration is ([`config`]), and the way from claims to a user ([`Issuer::user`]). Texts are
//! the original's; clients see them in TokenReviews. Never: verifies a signature, or reads the clock.

pub mod config;
mod document;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::time;
use control_schema::crd::cel::Expression;
use serde_json::{Map, Number, Value, json};

use super::check::BadToken;
use crate::access::User;
use crate::rbac::rule::quoted_list;

/// Clocks of several servers differ.
const LEEWAY: Duration = Duration::from_secs(60);

const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The one issuer that may leave the scheme out of its name, and how it does.
const GOOGLE: (&str, &str) = ("https://accounts.google.com", "accounts.google.com");

/// An issuer whose tokens are accepted, and whom they mean.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// As it stands in `iss`; an `https` URL.
    pub url: String,
    /// Where its document of discovery is; empty: below `url`.
    pub discovery_url: String,
    /// Authorities that its certificate must come from, PEM; empty: those of the system.
    pub authorities: String,
    /// A token must be for one of them; at least one.
    audiences: Vec<String>,
    username: Mapping,
    groups: Mapping,
    uid: Mapping,
    /// Keys, and where their values come from.
    extra: Vec<(String, Expression)>,
    /// Claims that must be there, and their values.
    required: Vec<(String, String)>,
    claim_rules: Vec<Rule>,
    user_rules: Vec<Rule>,
}

/// Where a property of a user comes from.
#[derive(Clone, Debug)]
enum Mapping {
    Nothing,
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// Where a claim is that a token does not have itself (OpenID Connect Core 1.0, 5.6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributed {
    pub claim: String,
    /// The address that gives another token with it.
    pub endpoint: String,
    /// What that token is asked for with; empty: nothing.
    pub access_token: String,
}

/// What must hold of the claims or of the user.
#[derive(Clone, Debug)]
struct Rule {
    expression: Expression,
    message: String,
}

fn bad<T>(why: impl AsRef<str>) -> Result<T, BadToken> {
    Err(BadToken(format!("oidc: {}", why.as_ref())))
}

impl Issuer {
    /// Whether a token that names `issuer` is of this one.
    pub fn is(&self, issuer: &str) -> bool {
        issuer == self.url || (self.url == GOOGLE.0 && issuer == GOOGLE.1)
    }

    /// Whom the claims of a token mean whose signature was verified.
    ///
    /// # Errors
    /// The token is not good now, not for this server, or means nobody.
    pub fn user(&self, claims: &Value, now: SystemTime) -> Result<User, BadToken> {
        self.is_good(claims, now)?;
        let claims = &numbers_as_floats(claims);
        let user = User {
            name: self.name(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            extra: self.extra(claims)?.into_iter().collect(),
        };
        for (claim, want) in &self.required {
            let Some(found) = claims.get(claim) else {
                return bad(format!("required claim {claim} not present in ID token"));
            };
            let found = text(found).or_else(|why| bad(format!("parse claim {claim}: {why}")))?;
            if found != *want {
                return bad(format!(
                    "required claim {claim} value does not match. Got = {found}, want = {want}"
                ));
            }
        }
        hold(&self.claim_rules, claims)
            .or_else(|why| bad(format!("error evaluating claim validation expression: {why}")))?;
        let seen =
            json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        hold(&self.user_rules, &seen)
            .or_else(|why| bad(format!("error evaluating user info validation rule: {why}")))?;
        Ok(user)
    }

    /// It is for this server, and its time is now.
    ///
    /// # Errors
    /// It is not.
    pub fn is_good(&self, claims: &Value, now: SystemTime) -> Result<(), BadToken> {
        let wrong = |why: String| bad(format!("verify token: oidc: {why}"));
        let audiences = match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            many => {
                many.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
            }
        };
        if !self.audiences.iter().any(|own| audiences.contains(own)) {
            let got = quoted_list(&audiences);
            return match self.audiences.as_slice() {
                [one] => wrong(format!("expected audience {one:?} got {got}")),
                several => {
                    let mut several = several.to_vec();
                    several.sort_unstable();
                    wrong(format!("expected audience in {} got {got}", quoted_list(&several)))
                }
            };
        }
        let moment = |name: &str| {
            let seconds = claims[name].as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
            UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds.trunc()))
        };
        match moment("exp") {
            Some(expiry) if expiry >= now => {}
            Some(expiry) => return wrong(format!("token is expired (Token Expiry: {})", shown(expiry))),
            None => {
                return wrong("token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)".to_owned());
            }
        }
        match moment("nbf") {
            Some(begin) if now + LEEWAY < begin => wrong(format!(
                "current time {} before the nbf (not before) time: {}",
                shown(now),
                shown(begin)
            )),
            _ => Ok(()),
        }
    }

    /// Where the claim of the groups is, where the token does not have it itself: of all claims only this one may be
    /// somewhere else, as with the original.
    ///
    /// # Errors
    /// It is said to be somewhere else, and not where.
    pub fn distributed(&self, claims: &Value) -> Result<Option<Distributed>, BadToken> {
        let failed = |why: String| bad(format!("could not expand distributed claims: {why}"));
        let Mapping::Claim { name, .. } = &self.groups else { return Ok(None) };
        let Some(names) = claims.get("_claim_names").filter(|_| claims.get(name).is_none()) else {
            return Ok(None);
        };
        let Some(names) = names.as_object() else {
            let why = unfit(names, "map[string]string");
            return failed(format!("oidc: error parsing distributed claim names: {why}"));
        };
        let Some(sources) = claims.get("_claim_sources") else {
            return failed("oidc: no claim sources".to_owned());
        };
        let Some(source) = names.get(name).and_then(Value::as_str) else { return Ok(None) };
        let Some(found) = sources.get(source) else {
            let why = "missing in _claims_sources";
            return failed(format!("id token _claim_names contained a source {source} {why}"));
        };
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        let (endpoint, access_token) = (text("endpoint"), text("access_token"));
        // Without an endpoint it may be an aggregated claim, which the original leaves out, too.
        Ok((!endpoint.is_empty()).then(|| Distributed { claim: name.clone(), endpoint, access_token }))
    }

    /// Who else may sign a token with a claim of a token of this issuer: known by the same authorities, and for the same
    /// audiences.
    #[must_use]
    pub fn named(&self, url: &str) -> Self {
        let url = if url == GOOGLE.1 { GOOGLE.0 } else { url };
        Self { url: url.to_owned(), discovery_url: String::new(), ..self.clone() }
    }

    fn name(&self, claims: &Value) -> Result<String, BadToken> {
        let (claim, prefix) = match &self.username {
            Mapping::Claim { name, prefix } => (name, prefix),
            Mapping::Nothing => return bad("no claim is the username"),
            Mapping::Expression(expression) => {
                let failed = |why: &str| bad(format!("error evaluating username claim expression: {why}"));
                return match answer(expression, claims) {
                    Ok(Value::String(name)) if name.is_empty() => {
                        bad("empty username via CEL expression is not allowed")
                    }
                    Ok(Value::String(name)) => Ok(name),
                    Ok(_) => failed("username claim expression must return a string"),
                    Err(why) => failed(&why),
                };
            }
        };
        let found = claim_of(claims, claim).and_then(text);
        let name = found.or_else(|why| bad(format!("parse username claims {claim:?}: {why}")))?;
        if claim == "email" {
            // OpenID Connect Core 1.0, 5.1: who says that it was not verified.
            match claims.get("email_verified") {
                None | Some(Value::Bool(true)) => {}
                Some(Value::Bool(false) | Value::Null) => return bad("email not verified"),
                Some(other) => return bad(format!("parse 'email_verified' claim: {}", unfit(other, "bool"))),
            }
        }
        Ok(format!("{prefix}{name}"))
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, BadToken> {
        match &self.groups {
            Mapping::Nothing => Ok(Vec::new()),
            Mapping::Claim { name, prefix } => {
                let Some(found) = claims.get(name) else { return Ok(Vec::new()) };
                let groups = text_or_texts(found);
                let groups = groups.or_else(|why| bad(format!("parse groups claim {name:?}: {why}")))?;
                Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
            Mapping::Expression(expression) => answered_texts(expression, claims)
                .or_else(|why| bad(format!("error evaluating group claim expression: {why}"))),
        }
    }

    fn uid(&self, claims: &Value) -> Result<String, BadToken> {
        match &self.uid {
            Mapping::Nothing => Ok(String::new()),
            Mapping::Claim { name, .. } => {
                let found = claim_of(claims, name).and_then(text);
                found.or_else(|why| bad(format!("parse uid claim {name:?}: {why}")))
            }
            Mapping::Expression(expression) => {
                let failed = |why: &str| bad(format!("error evaluating uid claim expression: {why}"));
                match answer(expression, claims) {
                    Ok(Value::String(uid)) => Ok(uid),
                    Ok(_) => failed("uid claim expression must return a string"),
                    Err(why) => failed(&why),
                }
            }
        }
    }

    fn extra(&self, claims: &Value) -> Result<Vec<(String, Vec<String>)>, BadToken> {
        let id = claims["jti"].as_str().filter(|id| !id.is_empty());
        let mut extra: Vec<_> =
            id.map(|id| (CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")])).into_iter().collect();
        for (key, expression) in &self.extra {
            let values = answered_texts(expression, claims).or_else(|why| {
                bad(format!("error evaluating extra claim expression: {}: {why}", expression.source()))
            })?;
            if !values.is_empty() {
                extra.push((key.clone(), values));
            }
        }
        Ok(extra)
    }
}

/// As Go reads JSON of no type: expressions see every number as a double.
fn numbers_as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            number.as_f64().and_then(Number::from_f64).map_or_else(|| value.clone(), Value::Number)
        }
        Value::Array(items) => items.iter().map(numbers_as_floats).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), numbers_as_floats(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn claim_of<'a>(claims: &'a Value, name: &str) -> Result<&'a Value, String> {
    claims.get(name).ok_or_else(|| "claim not present".to_owned())
}

/// What Go's decoder says of a value of another type.
fn unfit(value: &Value, wanted: &str) -> String {
    let have = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    format!("json: cannot unmarshal {have} into Go value of type {wanted}")
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => Err(unfit(other, "string")),
    }
}

fn text_or_texts(value: &Value) -> Result<Vec<String>, String> {
    let texts = value.as_array().and_then(|items| items.iter().map(|item| text(item).ok()).collect());
    match (texts, value) {
        (Some(texts), _) => Ok(texts),
        (None, Value::Null) => Ok(Vec::new()),
        (None, other) => text(other).map(|text| vec![text]),
    }
}

fn answer(expression: &Expression, value: &Value) -> Result<Value, String> {
    let outcome = expression.answer(value);
    outcome.map_err(|why| format!("expression '{}' resulted in error: {why}", expression.source()))
}

/// Texts that an expression answers; empty ones are none.
fn answered_texts(expression: &Expression, claims: &Value) -> Result<Vec<String>, String> {
    let items = match answer(expression, claims)? {
        Value::Null => Vec::new(),
        Value::String(one) => vec![Value::String(one)],
        Value::Array(items) => items,
        other => vec![other],
    };
    let texts = items.into_iter().map(|item| match item {
        Value::String(text) => Ok(text),
        _ => Err("expression must return a string or a list of strings".to_owned()),
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn hold(rules: &[Rule], value: &Value) -> Result<(), String> {
    for Rule { expression, message } in rules {
        match answer(expression, value)? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                return Err(format!("validation expression '{}' failed: {message}", expression.source()));
            }
            _ => return Err("validation expression must return a boolean".to_owned()),
        }
    }
    Ok(())
}

/// As Go prints a time.
fn shown(moment: SystemTime) -> String {
    time::seconds(moment).replace('T', " ").replace('Z', " +0000 UTC")
}

#[cfg(test)]
mod tests;
