//! When some rules hold all that others allow. Used to find what somebody would grant without having it, and what a
//! default role lacks.

use std::collections::BTreeSet;

use super::rule::{ANY, Rule, has, path_covers};

/// The smallest parts of `wanted` that no rule of `having` holds; none where all is held.
pub fn missing(having: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(parts);
    parts.filter(|part| !having.iter().any(|rule| holds(rule, part))).collect()
}

/// Rules of one verb and one resource and name, or of one verb and one path.
fn parts(rule: &Rule) -> Vec<Rule> {
    let mut parts = Vec::new();
    let one = |text: &String| vec![text.clone()];
    let names: Vec<Vec<String>> = match rule.resource_names.as_slice() {
        [] => vec![Vec::new()],
        names => names.iter().map(one).collect(),
    };
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                parts.extend(names.iter().map(|name| Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: name.clone(),
                    paths: Vec::new(),
                }));
            }
        }
    }
    for path in &rule.paths {
        parts.extend(rule.verbs.iter().map(|verb| Rule {
            verbs: one(verb),
            paths: one(path),
            ..Rule::default()
        }));
    }
    parts
}

/// `part` is one of [`parts`].
fn holds(rule: &Rule, part: &Rule) -> bool {
    let all =
        |having: &[String], wanted: &[String]| has(having, ANY) || wanted.iter().all(|one| has(having, one));
    all(&rule.verbs, &part.verbs)
        && all(&rule.api_groups, &part.api_groups)
        && part.resources.iter().all(|resource| holds_resource(&rule.resources, resource))
        && part.paths.iter().all(|path| rule.paths.iter().any(|own| path_covers(own, path)))
        && (rule.resource_names.is_empty()
            || !part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| has(&rule.resource_names, name)))
}

fn holds_resource(having: &[String], wanted: &str) -> bool {
    let of_any = wanted.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
    has(having, ANY) || has(having, wanted) || of_any.is_some_and(|wanted| has(having, &wanted))
}

/// One line for each group, resource and name with all its verbs, sorted: how a refusal lists what [`missing`] found.
pub fn described(parts: &[Rule]) -> BTreeSet<String> {
    let mut together: Vec<Rule> = Vec::new();
    for part in parts {
        let same = |rule: &&mut Rule| {
            rule.paths.is_empty()
                && (&rule.api_groups, &rule.resources, &rule.resource_names)
                    == (&part.api_groups, &part.resources, &part.resource_names)
        };
        match together.iter_mut().find(same).filter(|_| part.paths.is_empty()) {
            Some(rule) => rule.verbs.extend(part.verbs.iter().cloned()),
            None => together.push(part.clone()),
        }
    }
    together.iter().map(Rule::compact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let [verbs, api_groups, resources, resource_names] = [verbs, groups, resources, names]
            .map(|list| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        Rule { verbs, api_groups, resources, resource_names, paths: Vec::new() }
    }

    fn paths(verbs: &[&str], paths: &[&str]) -> Rule {
        Rule { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..rule(verbs, &[], &[], &[]) }
    }

    #[test]
    fn several_rules_may_hold_one_together() {
        let having = [rule(&["get"], &[""], &["pods"], &[]), rule(&["list"], &["*"], &["pods"], &[])];
        assert!(missing(&having, &[rule(&["get", "list"], &[""], &["pods"], &[])]).is_empty());
        let left = missing(&having, &[rule(&["get", "list"], &["", "apps"], &["pods"], &[])]);
        assert_eq!(left, [rule(&["get"], &["apps"], &["pods"], &[])]);
    }

    #[test]
    fn a_name_is_held_by_all_names_and_not_the_other_way_round() {
        let (all, one) =
            (rule(&["get"], &[""], &["secrets"], &[]), rule(&["get"], &[""], &["secrets"], &["a"]));
        assert!(missing(std::slice::from_ref(&all), std::slice::from_ref(&one)).is_empty());
        assert_eq!(missing(std::slice::from_ref(&one), std::slice::from_ref(&all)), [all]);
    }

    #[test]
    fn stars_hold_subresources_and_paths() {
        let having = [rule(&["*"], &["*"], &["*/scale"], &[]), paths(&["get"], &["/api*"])];
        assert!(missing(&having, &[rule(&["update"], &["apps"], &["deployments/scale"], &[])]).is_empty());
        assert_eq!(missing(&having, &[rule(&["update"], &["apps"], &["deployments"], &[])]).len(), 1);
        assert!(missing(&having, &[paths(&["get"], &["/apis/x", "/api"])]).is_empty());
        assert_eq!(missing(&having, &[paths(&["get"], &["*"])]), [paths(&["get"], &["*"])]);
    }

    #[test]
    fn what_is_missing_is_listed_by_resource() {
        let parts =
            missing(&[], &[rule(&["list", "get"], &[""], &["pods", "nodes"], &[]), paths(&["get"], &["/a"])]);
        let lines: Vec<_> = described(&parts).into_iter().collect();
        let wanted = [
            r#"{APIGroups:[""], Resources:["nodes"], Verbs:["list" "get"]}"#,
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "get"]}"#,
            r#"{NonResourceURLs:["/a"], Verbs:["get"]}"#,
        ];
        assert_eq!(lines, wanted);
    }
}
