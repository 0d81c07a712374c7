//! The rules of a FlowSchema: whose requests, for what.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::{names, shown};

const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// The kinds of subjects, the field of each, in the order in which the original looks at the others' fields.
const SUBJECTS: [(&str, &str); 3] =
    [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

pub fn validate(rule: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let [subjects, resources, others] =
        ["subjects", "resourceRules", "nonResourceRules"].map(|field| rule.get(field));
    if subjects.is_empty() {
        errors.push(subjects.required("subjects must contain at least one value"));
    }
    errors.extend(subjects.items().flat_map(|one| subject(&one)));
    if resources.is_empty() && others.is_empty() {
        let problem = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(rule.required(problem));
    }
    errors.extend(resources.items().flat_map(|one| resource(&one)));
    errors.extend(others.items().flat_map(|one| non_resource(&one)));
    errors
}

fn subject(subject: &At<'_>) -> Errors {
    let kind = subject.get("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(name, _)| *name == kind.text()) else {
        return vec![kind.not_supported(&["Group", "ServiceAccount", "User"])];
    };
    let mut errors = who(own, &subject.get(own), kind.text());
    // For a service account the original looks at user and group, for the others at the account first.
    for (name, field) in SUBJECTS.iter().filter(|(_, field)| field != own && subject.has(field)) {
        let problem = format!("{field} is forbidden when subject kind is not '{name}'");
        errors.push(subject.get(field).forbidden(&problem));
    }
    errors
}

fn who(field: &str, who: &At<'_>, kind: &str) -> Errors {
    if who.is_absent() {
        return vec![who.required(&format!("{field} is required when subject kind is '{kind}'"))];
    }
    let mut errors = Errors::new();
    let (name, namespace) = (who.get("name"), who.get("namespace"));
    if name.is_empty() {
        errors.push(name.required(""));
    } else if field == "serviceAccount" && name.text() != "*" {
        errors.extend(name.invalid_each(names::dns1123_subdomain(name.text())));
    }
    if field == "serviceAccount" {
        if namespace.is_empty() {
            errors.push(namespace.required("must specify namespace for service account"));
        } else {
            errors.extend(namespace.invalid_each(names::dns1123_label(namespace.text())));
        }
    }
    errors
}

fn texts<'a>(list: &At<'a>) -> Vec<&'a str> {
    list.items().map(|one| one.text()).collect()
}

/// `*` stands alone.
fn alone(list: &At<'_>, what: &str) -> Option<FieldError> {
    let mixed = list.len() > 1 && texts(list).contains(&"*");
    mixed.then(|| list.invalid(&format!("if '*' is present, must not specify other {what}")))
}

fn verbs(verbs: &At<'_>) -> Option<FieldError> {
    let all = texts(verbs);
    if all.is_empty() {
        return Some(verbs.required("verbs must contain at least one value"));
    }
    if all.contains(&"*") {
        return alone(verbs, "verbs");
    }
    let unknown = all.iter().any(|verb| !VERBS.contains(verb));
    unknown.then(|| FieldError::not_supported(&verbs.path, verbs.value, &VERBS))
}

fn resource(rule: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(verbs(&rule.get("verbs")));
    for (field, what, need) in
        [("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")]
    {
        let list = rule.get(field);
        if list.is_empty() {
            errors.push(list.required(&format!("resource rules must supply at least one {need}")));
        }
        errors.extend(alone(&list, what));
    }
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && !rule.get("clusterScope").is_true() {
        let problem = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(namespaces.required(problem));
    } else if texts(&namespaces).contains(&"*") {
        errors.extend(alone(&namespaces, "namespaces"));
    } else {
        for namespace in namespaces.items() {
            let problems = names::dns1123_label(namespace.text()).into_iter();
            let problems = problems.map(|problem| {
                format!("each member of this list must be '*' or a DNS-1123 label; {problem}")
            });
            errors.extend(namespace.invalid_each(problems.collect()));
        }
    }
    errors
}

fn non_resource(rule: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(verbs(&rule.get("verbs")));
    let urls = rule.get("nonResourceURLs");
    if urls.is_empty() {
        errors.push(urls.required("nonResourceURLs must contain at least one value"));
    } else if texts(&urls).contains(&"*") {
        errors.extend(alone(&urls, "non-resource URLs"));
    } else {
        let wrong = |url: At<'_>| path_problem(url.text()).map(|problem| url.invalid_text(problem));
        errors.extend(urls.items().filter_map(wrong));
    }
    errors
}

/// What is wrong with a path, or a path with `/*` at its end.
fn path_problem(path: &str) -> Option<&'static str> {
    let stars = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

/// A rule as the original's internal struct shows it.
pub fn shown(rule: &At<'_>) -> String {
    let name = |who: &At<'_>, with_namespace: bool| {
        if who.is_absent() {
            return "null".to_owned();
        }
        let name = ("Name", shown::text(&who.get("name")));
        match with_namespace {
            true => shown::fields(&[("Namespace", shown::text(&who.get("namespace"))), name]),
            false => shown::fields(&[name]),
        }
    };
    let subject = |subject: At<'_>| {
        shown::fields(&[
            ("Kind", shown::text(&subject.get("kind"))),
            ("User", name(&subject.get("user"), false)),
            ("Group", name(&subject.get("group"), false)),
            ("ServiceAccount", name(&subject.get("serviceAccount"), true)),
        ])
    };
    let resource = |rule: At<'_>| {
        shown::fields(&[
            ("Verbs", shown::any(&rule.get("verbs"))),
            ("APIGroups", shown::any(&rule.get("apiGroups"))),
            ("Resources", shown::any(&rule.get("resources"))),
            ("ClusterScope", Value::from(rule.get("clusterScope").is_true()).to_string()),
            ("Namespaces", shown::any(&rule.get("namespaces"))),
        ])
    };
    let other = |rule: At<'_>| {
        shown::fields(&[
            ("Verbs", shown::any(&rule.get("verbs"))),
            ("NonResourceURLs", shown::any(&rule.get("nonResourceURLs"))),
        ])
    };
    shown::fields(&[
        ("Subjects", shown::list(&rule.get("subjects").items().map(subject).collect::<Vec<_>>())),
        ("ResourceRules", shown::list(&rule.get("resourceRules").items().map(resource).collect::<Vec<_>>())),
        (
            "NonResourceRules",
            shown::list(&rule.get("nonResourceRules").items().map(other).collect::<Vec<_>>()),
        ),
    ])
}
