//! Who asks, and for what: what authentication finds and authorization decides on.
//!
//! Owns: [`User`], [`Attributes`], the trait of what decides ([`Authorize`]), and the words of a refusal.

use std::collections::BTreeMap;
use std::fmt;

use apiclient_core::selector::{FieldSelector, LabelSelector};
use apiclient_core::wire::{Details, Status};

/// Who sends a request (`user.Info`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME` for service accounts, `system:node:NAME` for nodes.
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub const ANONYMOUS: &str = "system:anonymous";
    /// The server itself, where it asks on its own behalf.
    pub const SERVER: &str = "system:apiserver";
    /// May do everything.
    pub const MASTERS: &str = "system:masters";
    /// Everybody who said who they are.
    pub const AUTHENTICATED: &str = "system:authenticated";
    /// Everybody else.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    pub const NODES: &str = "system:nodes";

    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node that this user is: `system:node:NAME` in the group of nodes.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|name| !name.is_empty() && self.is_in(Self::NODES))
    }

    /// Namespace and name of the service account that this user is.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let legal = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
        legal.then_some((namespace, name))
    }
}

/// What a request is about (`authorizer.Attributes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or in lower case the method of a
    /// request for a path that is no resource.
    pub verb: String,
    pub group: String,
    pub version: String,
    /// Plural; empty for a path that is no resource.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// For what is no resource: `/healthz`.
    pub path: String,
    /// Of `list`, `watch` and `deletecollection`; everything where there is none, or one that cannot be read.
    pub fields: FieldSelector,
    /// Of the same verbs, and with the same exception.
    pub labels: LabelSelector,
}

impl Attributes {
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }

    /// `get`, `list` and `watch`.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// What one authorizer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Nobody further down the chain is asked.
    Deny,
    NoOpinion,
}

/// A decision, and why: `RBAC: allowed by ClusterRoleBinding "x" of ClusterRole "y" to Group "z"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    /// Empty where there is nothing to say.
    pub reason: String,
    /// Why one of those who decide could not say; else empty. What was allowed all the same is allowed.
    pub error: String,
}

impl Verdict {
    fn new(decision: Decision, reason: impl Into<String>) -> Self {
        Self { decision, reason: reason.into(), error: String::new() }
    }

    pub fn allow(reason: impl Into<String>) -> Self {
        Self::new(Decision::Allow, reason)
    }

    pub fn deny(reason: impl Into<String>) -> Self {
        Self::new(Decision::Deny, reason)
    }

    pub fn no_opinion(reason: impl Into<String>) -> Self {
        Self::new(Decision::NoOpinion, reason)
    }

    /// Who decides could not say, and this counts instead.
    pub fn failed(decision: Decision, error: impl Into<String>) -> Self {
        Self { error: error.into(), ..Self::new(decision, "") }
    }

    pub fn is_allowed(&self) -> bool {
        self.decision == Decision::Allow
    }
}

/// Says whether somebody may do something. Runs for each request: it must be cheap, and it never waits.
pub trait Authorize: fmt::Debug + Send + Sync {
    fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict;
}

/// The answer to somebody who may not: 403, in the original's words.
pub fn forbidden(attributes: &Attributes, user: &User, reason: &str) -> Status {
    let why = if reason.is_empty() {
        refusal(attributes, user)
    } else {
        format!("{}: {reason}", refusal(attributes, user))
    };
    forbidden_because(&attributes.group, &attributes.resource, &attributes.name, &why)
}

/// Several errors as one, each of them once: `[a, b]`.
pub fn together(errors: &[String]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for error in errors {
        if !once.contains(&error.as_str()) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [one] => (*one).to_owned(),
        [] => String::new(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// The answer to somebody of whom it cannot be said whether they may: the text of a 500. `uri` is what they asked for.
pub fn undecided(uri: &str, error: &str) -> String {
    let text = format!("Internal Server Error: {}: {error}", quoted(uri));
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `User "x" cannot list resource "pods" in API group "" in the namespace "y"`.
fn refusal(attributes: &Attributes, user: &User) -> String {
    let (user, verb) = (quoted(&user.name), &attributes.verb);
    if !attributes.is_resource() {
        return format!("User {user} cannot {verb} path {}", quoted(&attributes.path));
    }
    let resource = if attributes.subresource.is_empty() {
        attributes.resource.clone()
    } else {
        format!("{}/{}", attributes.resource, attributes.subresource)
    };
    let place = if attributes.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {}", quoted(&attributes.namespace))
    };
    let (resource, group) = (quoted(&resource), quoted(&attributes.group));
    format!("User {user} cannot {verb} resource {resource} in API group {group} {place}")
}

/// Any 403: `pods "x" is forbidden: WHY`. `resource` may be empty, for a path that is none; so may `name`.
pub fn forbidden_because(group: &str, resource: &str, name: &str, why: &str) -> Status {
    let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let message = match (resource, name) {
        ("", _) => format!("forbidden: {why}"),
        (_, "") => format!("{qualified} is forbidden: {why}"),
        _ => format!("{qualified} {} is forbidden: {why}", quoted(name)),
    };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Details::default()
    };
    Status {
        status: "Failure".to_owned(),
        message,
        reason: "Forbidden".to_owned(),
        details: Some(details),
        code: 403,
        ..Status::default()
    }
}

/// A text as Go's `%q` shows it in messages.
pub fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for letter in text.chars() {
        match letter {
            '\'' => shown.push(letter),
            '\u{7}' => shown.push_str("\\a"),
            '\u{8}' => shown.push_str("\\b"),
            '\u{b}' => shown.push_str("\\v"),
            '\u{c}' => shown.push_str("\\f"),
            '\0'..' ' | '\u{7f}' if !matches!(letter, '\n' | '\r' | '\t') => {
                shown.push_str(&format!("\\x{:02x}", u32::from(letter)));
            }
            // What cannot be printed; Rust and Go agree on what that is, but not on how to write it.
            other => match other.escape_debug().to_string() {
                escaped if escaped.starts_with("\\u{") && u32::from(other) > 0xffff => {
                    shown.push_str(&format!("\\U{:08x}", u32::from(other)));
                }
                escaped if escaped.starts_with("\\u{") => {
                    shown.push_str(&format!("\\u{:04x}", u32::from(other)));
                }
                escaped => shown.push_str(&escaped),
            },
        }
    }
    shown.push('"');
    shown
}

/// 401, as it is answered whatever was wrong.
pub fn unauthorized() -> Status {
    Status {
        status: "Failure".to_owned(),
        message: "Unauthorized".to_owned(),
        reason: "Unauthorized".to_owned(),
        details: None,
        code: 401,
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let [verb, resource, namespace, name] = [verb, resource, namespace, name].map(str::to_owned);
        Attributes { verb, resource, namespace, name, ..Attributes::default() }
    }

    #[test]
    fn a_refusal_says_who_cannot_do_what_where() {
        let user = User { name: "x".to_owned(), ..User::default() };
        let said = |attributes: &Attributes, why| forbidden(attributes, &user, why).message;
        let list = attributes("list", "pods", "y", "");
        assert_eq!(
            said(&list, ""),
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y""#
        );
        let mut scale = attributes("update", "deployments", "", "d");
        (scale.group, scale.subresource) = ("apps".to_owned(), "scale".to_owned());
        assert_eq!(
            said(&scale, "RBAC: a"),
            r#"deployments.apps "d" is forbidden: User "x" cannot update resource "deployments/scale" in API group "apps" at the cluster scope: RBAC: a"#
        );
        let path = Attributes { verb: "get".into(), path: "/metrics".into(), ..Attributes::default() };
        assert_eq!(said(&path, ""), r#"forbidden: User "x" cannot get path "/metrics""#);
    }

    #[test]
    fn nodes_and_service_accounts_are_known_by_their_names() {
        let of = |name: &str, group: &str| User {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        assert_eq!(of("system:node:a", User::NODES).node(), Some("a"));
        assert_eq!(of("system:node:a", "other").node(), None);
        assert_eq!(of("system:node:", User::NODES).node(), None);
        assert_eq!(of("system:serviceaccount:a:b", "").service_account(), Some(("a", "b")));
        for wrong in ["system:serviceaccount:a", "system:serviceaccount::b", "system:serviceaccount:a:b:c"] {
            assert_eq!(of(wrong, "").service_account(), None, "{wrong}");
        }
    }
}
