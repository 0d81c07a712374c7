//! A FlowSchema: which requests it speaks of, and what tells its flows apart.

use std::sync::Arc;

use serde_json::Value;

use crate::access::{Attributes, User};
use crate::edit::{at, list, text};

/// A FlowSchema, read once and asked for each request.
#[derive(Clone, Debug)]
pub struct FlowSchema {
    pub name: Arc<str>,
    pub uid: Arc<str>,
    /// The name of a PriorityLevelConfiguration.
    pub level: Arc<str>,
    /// The lowest that fits wins; 1 to 10,000.
    pub precedence: i64,
    flows: Flows,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flows {
    One,
    ByUser,
    ByNamespace,
}

#[derive(Clone, Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Clone, Debug)]
enum Subject {
    User(String),
    Group(String),
    /// Namespace and name.
    ServiceAccount(String, String),
}

#[derive(Clone, Debug)]
struct ResourceRule {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    of_cluster: bool,
}

#[derive(Clone, Debug)]
struct PathRule {
    verbs: Names,
    paths: Vec<String>,
}

/// Some names, or all that there are.
#[derive(Clone, Debug)]
enum Names {
    All,
    Of(Vec<String>),
}

impl Names {
    fn read(of: &Value, field: &str) -> Self {
        let names: Vec<String> = texts(of, field);
        if names.iter().any(|name| name == "*") { Self::All } else { Self::Of(names) }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(names) => names.iter().any(|own| own == name),
        }
    }
}

fn texts(of: &Value, field: &str) -> Vec<String> {
    list(of, &[field]).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

impl FlowSchema {
    /// What is missing speaks of nothing: the object was validated before it was stored.
    pub fn read(object: &Value) -> Self {
        let spec = at(object, &["spec"]);
        let flows = match text(spec, &["distinguisherMethod", "type"]) {
            "ByUser" => Flows::ByUser,
            "ByNamespace" => Flows::ByNamespace,
            _ => Flows::One,
        };
        Self {
            name: text(object, &["metadata", "name"]).into(),
            uid: text(object, &["metadata", "uid"]).into(),
            level: text(spec, &["priorityLevelConfiguration", "name"]).into(),
            precedence: at(spec, &["matchingPrecedence"]).as_i64().unwrap_or(10_000),
            flows,
            rules: list(spec, &["rules"]).iter().map(Rule::read).collect(),
        }
    }

    /// Whether it speaks of a request.
    pub fn fits(&self, attributes: &Attributes, user: &User) -> bool {
        self.rules.iter().any(|rule| rule.fits(attributes, user))
    }

    /// Requests with the same one are of the same flow.
    pub fn distinguisher<'a>(&self, attributes: &'a Attributes, user: &'a User) -> &'a str {
        match self.flows {
            Flows::One => "",
            Flows::ByUser => &user.name,
            Flows::ByNamespace => &attributes.namespace,
        }
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let resource = |rule: &Value| ResourceRule {
            verbs: Names::read(rule, "verbs"),
            groups: Names::read(rule, "apiGroups"),
            resources: Names::read(rule, "resources"),
            namespaces: Names::read(rule, "namespaces"),
            of_cluster: at(rule, &["clusterScope"]).as_bool().unwrap_or_default(),
        };
        let path = |rule: &Value| PathRule {
            verbs: Names::read(rule, "verbs"),
            paths: texts(rule, "nonResourceURLs"),
        };
        Self {
            subjects: list(rule, &["subjects"]).iter().filter_map(Subject::read).collect(),
            resources: list(rule, &["resourceRules"]).iter().map(resource).collect(),
            paths: list(rule, &["nonResourceRules"]).iter().map(path).collect(),
        }
    }

    fn fits(&self, attributes: &Attributes, user: &User) -> bool {
        let speaks_of = || match attributes.is_resource() {
            true => self.resources.iter().any(|rule| rule.fits(attributes)),
            false => self.paths.iter().any(|rule| rule.fits(attributes)),
        };
        self.subjects.iter().any(|subject| subject.is(user)) && speaks_of()
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let named = |path: &[&str]| text(subject, path).to_owned();
        match text(subject, &["kind"]) {
            "User" => Some(Self::User(named(&["user", "name"]))),
            "Group" => Some(Self::Group(named(&["group", "name"]))),
            "ServiceAccount" => Some(Self::ServiceAccount(
                named(&["serviceAccount", "namespace"]),
                named(&["serviceAccount", "name"]),
            )),
            _ => None,
        }
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.is_in(name),
            Self::ServiceAccount(namespace, name) => user
                .service_account()
                .is_some_and(|(of, own)| of == namespace.as_str() && (name == "*" || own == name.as_str())),
        }
    }
}

impl ResourceRule {
    fn fits(&self, attributes: &Attributes) -> bool {
        let place = match attributes.namespace.as_str() {
            "" => self.of_cluster,
            namespace => self.namespaces.has(namespace),
        };
        let resource = match attributes.subresource.as_str() {
            "" => self.resources.has(&attributes.resource),
            part => self.resources.has(&format!("{}/{part}", attributes.resource)),
        };
        place && resource && self.verbs.has(&attributes.verb) && self.groups.has(&attributes.group)
    }
}

impl PathRule {
    fn fits(&self, attributes: &Attributes) -> bool {
        // `/healthz` speaks of what is below it too.
        let fits = |path: &String| {
            let stem = path.trim_end_matches('*').trim_end_matches('/');
            let below = attributes.path.strip_prefix(stem);
            path == "*" || *path == attributes.path || below.is_some_and(|rest| rest.starts_with('/'))
        };
        self.verbs.has(&attributes.verb) && self.paths.iter().any(fits)
    }
}
