//! Which issuers are believed: from the file of `--authentication-config`, or from the flags `--oidc-...`.
//!
//! Owns: the checks of such a configuration, in the original's words. Begin at [`read`].

use std::collections::BTreeSet;

use control_schema::crd::cel::Expression;
use serde_json::Value;

use super::document::{Authenticator, ClaimRule, Configuration as Document, Mapping as Written, UserRule};
use super::{Issuer, Mapping, Rule};
use crate::at::At;
use crate::configuration::{self, Wanted};
use crate::domains;
use crate::field::{FieldError, Path};

/// What a file says of who is believed.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    pub issuers: Vec<Issuer>,
    /// `None`: `--anonymous-auth` decides.
    pub anonymous: Option<Anonymous>,
}

/// Who may come without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    pub enabled: bool,
    /// The only paths for which they may; empty: all.
    pub paths: Vec<String>,
}

/// The flags `--oidc-...`, which make one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub issuer_url: String,
    pub client_id: String,
    pub username_claim: String,
    /// Empty: the issuer, but for the claim `email`; `-`: none.
    pub username_prefix: String,
    /// Empty: no groups.
    pub groups_claim: String,
    pub groups_prefix: String,
    pub required_claims: Vec<(String, String)>,
    /// PEM; empty: the system's.
    pub authorities: String,
}

const WANTED: Wanted = Wanted {
    group: "apiserver.config.k8s.io",
    versions: &["v1", "v1beta1", "v1alpha1"],
    kind: "AuthenticationConfiguration",
};
const MOST_ISSUERS: usize = 64;

/// Reads a file's one document. `own` are the issuers of service accounts, which nobody else may be.
///
/// # Errors
/// All that is wrong with it.
pub fn read(document: &Value, own: &[String]) -> Result<Configuration, String> {
    let document: Document = configuration::read(document, WANTED)?;
    let issuers = issuers(&document.jwt, own);
    let mut errors = issuers.as_ref().err().cloned().unwrap_or_default();
    let anonymous = document.anonymous.map(|found| Anonymous {
        enabled: found.enabled,
        paths: found.conditions.into_iter().map(|condition| condition.path).collect(),
    });
    if anonymous.as_ref().is_some_and(|anonymous| !anonymous.enabled && !anonymous.paths.is_empty()) {
        let path = Path::new("anonymous").child("conditions");
        errors.push(FieldError::invalid_all(
            &path,
            "enabled should be set to true when conditions are defined",
        ));
    }
    match issuers {
        Ok(issuers) if errors.is_empty() => Ok(Configuration { issuers, anonymous }),
        _ => Err(joined(&errors)),
    }
}

/// The one issuer of the flags.
///
/// # Errors
/// All that is wrong with them.
pub fn of_flags(flags: Flags, own: &[String]) -> Result<Issuer, String> {
    let username_prefix = match flags.username_prefix.as_str() {
        "" if flags.username_claim != "email" => format!("{}#", flags.issuer_url),
        "-" => String::new(),
        prefix => prefix.to_owned(),
    };
    let mut authenticator = Authenticator::default();
    authenticator.issuer.url = flags.issuer_url;
    authenticator.issuer.audiences = vec![flags.client_id];
    authenticator.issuer.certificate_authority = flags.authorities;
    authenticator.claim_mappings.username =
        Written { claim: flags.username_claim, prefix: Some(username_prefix), ..Written::default() };
    if !flags.groups_claim.is_empty() {
        authenticator.claim_mappings.groups =
            Written { claim: flags.groups_claim, prefix: Some(flags.groups_prefix), ..Written::default() };
    }
    let rule = |(claim, required_value)| ClaimRule { claim, required_value, ..ClaimRule::default() };
    authenticator.claim_validation_rules = flags.required_claims.into_iter().map(rule).collect();
    let mut reader = Reader::default();
    let issuer = reader.issuer(&authenticator, &Path::default(), own);
    if reader.errors.is_empty() { Ok(issuer) } else { Err(joined(&reader.errors)) }
}

fn joined(errors: &[FieldError]) -> String {
    match errors {
        [one] => one.to_string(),
        several => format!("[{}]", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn issuers(all: &[Authenticator], own: &[String]) -> Result<Vec<Issuer>, Vec<FieldError>> {
    let root = Path::new("jwt");
    if all.len() > MOST_ISSUERS {
        return Err(vec![FieldError::too_many(&root, all.len(), MOST_ISSUERS)]);
    }
    let mut reader = Reader::default();
    let (mut urls, mut discoveries) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for (nth, one) in all.iter().enumerate() {
        let path = root.index(nth);
        found.push(reader.issuer(one, &path, own));
        let mut twice = |seen: &mut BTreeSet<String>, field: &str, value: &str| {
            if !seen.insert(value.to_owned()) {
                reader.errors.push(FieldError::duplicate(&path.child("issuer").child(field), &value.into()));
            }
        };
        twice(&mut urls, "url", &one.issuer.url);
        if !one.issuer.discovery_url.is_empty() {
            twice(&mut discoveries, "discoveryURL", &one.issuer.discovery_url);
        }
    }
    if reader.errors.is_empty() { Ok(found) } else { Err(reader.errors) }
}

/// What was found to be wrong so far.
#[derive(Default)]
struct Reader {
    errors: Vec<FieldError>,
}

impl Reader {
    fn invalid(&mut self, path: &Path, value: &str, detail: &str) {
        self.errors.push(FieldError::invalid(path, &value.into(), detail));
    }

    fn required(&mut self, path: &Path, detail: &str) {
        self.errors.push(FieldError::required(path, detail));
    }

    fn issuer(&mut self, of: &Authenticator, path: &Path, own: &[String]) -> Issuer {
        self.place(of, &path.child("issuer"), own);
        let at = path.child("claimValidationRules");
        let (required, claim_rules) = self.claim_rules(&of.claim_validation_rules, &at);
        let mappings = &of.claim_mappings;
        let at = path.child("claimMappings");
        let username = self.mapping(&mappings.username, &at.child("username"), true);
        let groups = self.mapping(&mappings.groups, &at.child("groups"), false);
        let uid = self.uid(&mappings.uid, &at.child("uid"));
        let extra = self.extra(&mappings.extra, &at.child("extra"));
        if let Mapping::Expression(name) = &username
            && name.reads("email")
            && ![name]
                .into_iter()
                .chain(extra.iter().map(|(_, expression)| expression))
                .chain(claim_rules.iter().map(|rule| &rule.expression))
                .any(|expression| expression.reads("email_verified"))
        {
            self.invalid(
                &at.child("username").child("expression"),
                name.source(),
                "claims.email_verified must be used in claimMappings.username.expression or \
                 claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is \
                 used in claimMappings.username.expression",
            );
        }
        let user_rules = self.user_rules(&of.user_validation_rules, &path.child("userValidationRules"));
        Issuer {
            url: of.issuer.url.clone(),
            discovery_url: of.issuer.discovery_url.clone(),
            authorities: of.issuer.certificate_authority.clone(),
            audiences: of.issuer.audiences.clone(),
            username,
            groups,
            uid,
            extra,
            required,
            claim_rules,
            user_rules,
        }
    }

    /// Where the issuer is, and whom its tokens are for.
    fn place(&mut self, of: &Authenticator, path: &Path, own: &[String]) {
        let issuer = &of.issuer;
        let at = path.child("url");
        match issuer.url.as_str() {
            "" => self.required(&at, ""),
            url => {
                if own.iter().any(|own| own == url) {
                    let own = format!("[{}]", own.join(" "));
                    self.invalid(&at, url, &format!("URL must not overlap with disallowed issuers: {own}"));
                }
                self.url(url, &at);
            }
        }
        let at = path.child("discoveryURL");
        if !issuer.discovery_url.is_empty() {
            if issuer.url.trim_end_matches('/') == issuer.discovery_url.trim_end_matches('/') {
                self.invalid(&at, &issuer.discovery_url, "discoveryURL must be different from URL");
            }
            self.url(&issuer.discovery_url, &at);
        }
        let at = path.child("audiences");
        if issuer.audiences.is_empty() {
            self.required(&at, &format!("at least one {at} is required"));
        }
        for (nth, audience) in issuer.audiences.iter().enumerate() {
            if audience.is_empty() {
                self.required(&at.index(nth), "");
            }
            if issuer.audiences[..nth].contains(audience) {
                self.errors.push(FieldError::duplicate(&at.index(nth), &audience.as_str().into()));
            }
        }
        let (at, policy) = (path.child("audienceMatchPolicy"), issuer.audience_match_policy.as_str());
        match (issuer.audiences.len(), policy) {
            (_, "MatchAny") | (0 | 1, "") => {}
            (0 | 1, _) => {
                self.invalid(
                    &at,
                    policy,
                    "audienceMatchPolicy must be empty or MatchAny for single audience",
                );
            }
            _ => self.invalid(&at, policy, "audienceMatchPolicy must be MatchAny for multiple audiences"),
        }
        if !issuer.egress_selector_type.is_empty() {
            self.invalid(
                &path.child("egressSelectorType"),
                &issuer.egress_selector_type,
                "connections go out directly: leave it out",
            );
        }
    }

    /// An address that keys are fetched from.
    fn url(&mut self, url: &str, path: &Path) {
        let Some((scheme, rest)) = url.split_once("://") else {
            return self.invalid(path, url, "URL scheme must be https");
        };
        if scheme != "https" {
            self.invalid(path, url, "URL scheme must be https");
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() {
            self.invalid(path, url, "URL must name a host");
        }
        if host.contains('@') {
            self.invalid(path, url, "URL must not contain a username or password");
        }
        let (before, fragment) = url.split_once('#').unwrap_or((url, ""));
        if before.split_once('?').is_some_and(|(_, query)| !query.is_empty()) {
            self.invalid(path, url, "URL must not contain a query");
        }
        if !fragment.is_empty() {
            self.invalid(path, url, "URL must not contain a fragment");
        }
    }

    fn expression(&mut self, source: &str, variable: &'static str, path: &Path) -> Option<Expression> {
        match Expression::new(source, variable) {
            Ok(expression) => Some(expression),
            Err(why) => {
                self.invalid(path, source, &why);
                None
            }
        }
    }

    /// A rule, which has to be of a boolean.
    fn rule(&mut self, source: &str, message: &str, variable: &'static str, path: &Path) -> Option<Rule> {
        let expression = self.expression(source, variable, path)?;
        if expression.is_no_bool() {
            self.invalid(path, source, "must evaluate to bool");
        }
        Some(Rule { expression, message: message.to_owned() })
    }

    fn claim_rules(&mut self, rules: &[ClaimRule], path: &Path) -> (Vec<(String, String)>, Vec<Rule>) {
        let (mut required, mut found) = (Vec::<(String, String)>::new(), Vec::<Rule>::new());
        for (nth, rule) in rules.iter().enumerate() {
            let path = path.index(nth);
            match (rule.claim.as_str(), rule.expression.as_str()) {
                ("", "") => self.required(&path, "claim or expression is required"),
                ("", expression) => {
                    if !rule.required_value.is_empty() {
                        let at = path.child("requiredValue");
                        self.invalid(
                            &at,
                            &rule.required_value,
                            "may not be specified when expression is set",
                        );
                    }
                    let at = path.child("expression");
                    if found.iter().any(|rule| rule.expression.source() == expression) {
                        self.errors.push(FieldError::duplicate(&at, &expression.into()));
                        continue;
                    }
                    found.extend(self.rule(expression, &rule.message, "claims", &at));
                }
                (claim, "") => {
                    if !rule.message.is_empty() {
                        let at = path.child("message");
                        self.invalid(&at, &rule.message, "may not be specified when claim is set");
                    }
                    if required.iter().any(|(known, _)| known == claim) {
                        self.errors.push(FieldError::duplicate(&path.child("claim"), &claim.into()));
                    }
                    required.push((claim.to_owned(), rule.required_value.clone()));
                }
                (claim, _) => self.invalid(&path, claim, "claim and expression can't both be set"),
            }
        }
        (required, found)
    }

    fn user_rules(&mut self, rules: &[UserRule], path: &Path) -> Vec<Rule> {
        let mut found = Vec::<Rule>::new();
        for (nth, rule) in rules.iter().enumerate() {
            let at = path.index(nth).child("expression");
            let source = rule.expression.as_str();
            if source.is_empty() {
                self.required(&at, "");
            } else if found.iter().any(|rule| rule.expression.source() == source) {
                self.errors.push(FieldError::duplicate(&at, &source.into()));
            } else {
                found.extend(self.rule(source, &rule.message, "user", &at));
            }
        }
        found
    }

    /// A claim with its prefix, or an expression.
    fn mapping(&mut self, of: &Written, path: &Path, required: bool) -> Mapping {
        match (of.claim.as_str(), of.expression.as_str()) {
            ("", "") => {
                if required {
                    self.required(path, "claim or expression is required");
                }
                Mapping::Nothing
            }
            ("", expression) => {
                if let Some(prefix) = &of.prefix {
                    let detail = "may not be specified when expression is set";
                    self.invalid(&path.child("prefix"), prefix, detail);
                }
                let expression = self.expression(expression, "claims", &path.child("expression"));
                expression.map_or(Mapping::Nothing, Mapping::Expression)
            }
            (claim, "") => {
                if of.prefix.is_none() {
                    self.required(
                        &path.child("prefix"),
                        "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                    );
                }
                Mapping::Claim { name: claim.to_owned(), prefix: of.prefix.clone().unwrap_or_default() }
            }
            _ => {
                self.invalid(path, "", "claim and expression can't both be set");
                Mapping::Nothing
            }
        }
    }

    fn uid(&mut self, of: &Written, path: &Path) -> Mapping {
        if let Some(prefix) = &of.prefix {
            self.invalid(&path.child("prefix"), prefix, "a uid has no prefix");
        }
        let prefix = (!of.claim.is_empty()).then(String::new);
        self.mapping(&Written { prefix, ..of.clone() }, path, false)
    }

    fn extra(&mut self, all: &[super::document::Extra], path: &Path) -> Vec<(String, Expression)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for (nth, extra) in all.iter().enumerate() {
            let (path, key) = (path.index(nth), extra.key.as_str());
            let at = path.child("key");
            let value = Value::from(key);
            self.errors.extend(domains::with_path(&At { path: at.clone(), value: &value }));
            if key != key.to_lowercase() {
                self.invalid(&at, key, "must be lowercase");
            }
            let domain = key.split_once('/').map_or("", |(domain, _)| domain);
            if ["kubernetes.io", "k8s.io"].iter().any(|own| {
                domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }) {
                let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                self.invalid(&at, key, detail);
            }
            if !seen.insert(key) {
                self.errors.push(FieldError::duplicate(&at, &value));
                continue;
            }
            let at = path.child("valueExpression");
            if extra.value_expression.is_empty() {
                self.required(&at, "");
                continue;
            }
            let expression = self.expression(&extra.value_expression, "claims", &at);
            found.extend(expression.map(|expression| (key.to_owned(), expression)));
        }
        found
    }
}
