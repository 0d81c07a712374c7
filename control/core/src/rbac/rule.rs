//! Rules, roles and bindings as the objects have them, and what one rule allows.

use std::fmt::Write;

use apiclient_core::fields::or_default;
use serde::{Deserialize, Serialize};

use crate::access::{Attributes, User, quoted};

/// A `PolicyRule`: these verbs on these resources, or on these paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// `*` is any.
    #[serde(deserialize_with = "or_default")]
    pub verbs: Vec<String>,
    /// `*` is any, the empty one that of the core kinds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Empty: any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// `/healthz`, `/apis/*`.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub paths: Vec<String>,
}

/// To which role a binding points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    #[serde(deserialize_with = "or_default")]
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// Whom a binding is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub api_group: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
}

/// What a user may do, as far as it can be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    pub rules: Vec<Rule>,
    /// There are rights that no list of rules shows (the node authorizer's).
    pub incomplete: bool,
    /// Roles that are missing, and the like.
    pub errors: Vec<String>,
}

/// Lists rules, for the reviews and for the escalation check.
pub trait ResolveRules: std::fmt::Debug + Send + Sync {
    /// Every rule that the user has in the namespace; with the empty one, in the cluster.
    fn rules(&self, user: &User, namespace: &str) -> Resolution;

    /// The rules of the role that a binding in this namespace points to; `None` where there is no such role.
    fn role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>>;
}

pub(super) const ANY: &str = "*";

pub(super) fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == wanted)
}

fn has_or_any(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == ANY || one == wanted)
}

impl Rule {
    pub fn allows(&self, attributes: &Attributes) -> bool {
        if !has_or_any(&self.verbs, &attributes.verb) {
            return false;
        }
        if !attributes.is_resource() {
            return self.paths.iter().any(|path| path == ANY || path_covers(path, &attributes.path));
        }
        has_or_any(&self.api_groups, &attributes.group)
            && self.resources.iter().any(|resource| resource_matches(resource, attributes))
            && (self.resource_names.is_empty() || has(&self.resource_names, &attributes.name))
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`, as refusals show it.
    pub fn compact(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let mut parts = String::new();
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let comma = if parts.is_empty() { "" } else { ", " };
            let _ = write!(parts, "{comma}{name}:{}", quoted_list(list));
        }
        format!("{{{parts}}}")
    }
}

/// A list of strings as Go's `%q` shows it: `["a" "b"]`.
pub fn quoted_list(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(" "))
}

/// `pods`, `pods/log`, `*`; `*/scale` is that subresource of any resource, and `*` everything.
fn resource_matches(rule: &str, attributes: &Attributes) -> bool {
    if rule == ANY {
        return true;
    }
    if attributes.subresource.is_empty() {
        return rule == attributes.resource;
    }
    rule.split_once('/').is_some_and(|(resource, subresource)| {
        subresource == attributes.subresource && (resource == ANY || resource == attributes.resource)
    })
}

/// The path itself, or everything that begins as a path that ends in `*`.
pub(super) fn path_covers(rule: &str, path: &str) -> bool {
    rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(',')
            .filter(|one| *one != "-")
            .map(|one| if one == "core" { "" } else { one }.to_owned())
            .collect()
    }

    /// `VERBS GROUPS RESOURCES NAMES`; `-` is none.
    fn rule(text: &str) -> Rule {
        let parts: Vec<_> = text.split(' ').map(list).collect();
        let [verbs, api_groups, resources, resource_names] = parts.try_into().expect("four lists");
        Rule { verbs, api_groups, resources, resource_names, paths: Vec::new() }
    }

    /// `VERB GROUP RESOURCE[/SUBRESOURCE] NAME`
    fn asked(text: &str) -> Attributes {
        let parts: Vec<_> = text.split(' ').collect();
        let (resource, subresource) = parts[2].split_once('/').unwrap_or((parts[2], ""));
        let word = |text: &str| if text == "-" || text == "core" { String::new() } else { text.to_owned() };
        Attributes {
            verb: word(parts[0]),
            group: word(parts[1]),
            resource: word(resource),
            subresource: word(subresource),
            name: word(parts[3]),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        let cases = [
            ("get,list core pods -", "get core pods a", true),
            ("get,list core pods -", "watch core pods a", false),
            ("get core pods -", "get apps pods a", false),
            ("* * * -", "frob x y/z a", true),
            ("get core pods -", "get core pods/log a", false),
            ("get core pods/log -", "get core pods/log a", true),
            ("get core pods/log -", "get core pods a", false),
            ("update * */scale -", "update apps deployments/scale a", true),
            ("update * */scale -", "update apps deployments a", false),
            ("update * */scale -", "update apps deployments/status a", false),
            ("get core pods/* -", "get core pods/log a", false),
            ("get core secrets a,b", "get core secrets b", true),
            ("get core secrets a,b", "get core secrets c", false),
            ("list core secrets a,b", "list core secrets -", false),
            ("- core pods -", "get core pods a", false),
        ];
        for (having, wanting, allowed) in cases {
            assert_eq!(rule(having).allows(&asked(wanting)), allowed, "{having} for {wanting}");
        }
    }

    #[test]
    fn a_path_is_matched_whole_or_to_its_star() {
        let cases = [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/etcd", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("/healthz/*", "/healthz", false),
            ("/api*", "/apis/apps", true),
            ("*", "/any", true),
            ("/a/*/b", "/a/x/b", false),
        ];
        for (having, wanting, allowed) in cases {
            let rule = Rule { verbs: list("get"), paths: list(having), ..Rule::default() };
            let wanted = Attributes { verb: "get".into(), path: wanting.into(), ..Attributes::default() };
            assert_eq!(rule.allows(&wanted), allowed, "{having} for {wanting}");
        }
    }

    #[test]
    fn rules_are_shown_as_the_original_shows_them() {
        let shown = rule("get,list apps,core deployments x").compact();
        let wanted = r#"{APIGroups:["apps" ""], Resources:["deployments"], ResourceNames:["x"], Verbs:["get" "list"]}"#;
        assert_eq!(shown, wanted);
    }
}
