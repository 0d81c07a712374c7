//! ClusterRoles that are made of others.
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/clusterroleaggregation`.

use apiclient_core::names::ObjectName;
use control_core::edit::{self, list};
use control_core::selectors::Selector;
use serde_json::Value;

use crate::kinds::CLUSTER_ROLES;
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

/// Keys are ClusterRoles with an `aggregationRule`.
#[derive(Debug)]
pub struct RoleAggregation;

impl Controller for RoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[CLUSTER_ROLES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        // There are few of them.
        let made = world.all(CLUSTER_ROLES).filter(|role| role["aggregationRule"].is_object());
        let matters = |role: &Value| {
            object::key(role) == object::key(change.object())
                || change
                    .both()
                    .any(|changed| selectors(role).any(|selector| selector.matches(object::labels(changed))))
        };
        keys.extend(made.filter(|role| matters(role)).map(|role| object::key(role)));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let role = world.get(CLUSTER_ROLES, key).filter(|role| role["aggregationRule"].is_object());
        let Some(role) = role.filter(|role| !object::is_deleting(role)) else { return Decision::nothing() };
        let mut rules: Vec<Value> = Vec::new();
        for selector in selectors(role) {
            let others = world.all(CLUSTER_ROLES).filter(|other| object::key(other) != *key);
            for other in others.filter(|other| selector.matches(object::labels(other))) {
                for rule in list(other, &["rules"]) {
                    if !rules.iter().any(|known| edit::semantic_eq(known, rule)) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
        let rules = Value::from(rules);
        if edit::semantic_eq(&rules, &role["rules"]) {
            return Decision::nothing();
        }
        let mut role = Value::clone(role);
        edit::set(&mut role, "rules", rules);
        Decision::nothing().then(Act::update(CLUSTER_ROLES, role))
    }
}

fn selectors(role: &Value) -> impl Iterator<Item = Selector<'_>> {
    list(role, &["aggregationRule", "clusterRoleSelectors"]).iter().filter_map(Selector::of)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::trial::Trial;

    fn role(name: &str, labels: &Value, verbs: &[&str]) -> Value {
        json!({"metadata": {"name": name, "labels": labels}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    }

    #[test]
    fn a_role_has_the_rules_of_those_that_it_selects_each_once() {
        let mut trial = Trial::new(|| vec![Box::new(RoleAggregation)], 1);
        let mut view = role("view", &json!({"to-edit": "true"}), &["stale"]);
        view["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]});
        let mut edit = role("edit", &json!({}), &["stale"]);
        edit["aggregationRule"] = json!({"clusterRoleSelectors": [
            {"matchLabels": {"to-edit": "true"}}, {"matchLabels": {"to-view": "true"}},
        ]});
        trial.create(CLUSTER_ROLES, edit);
        trial.create(CLUSTER_ROLES, view);
        trial.create(CLUSTER_ROLES, role("a", &json!({"to-view": "true"}), &["get"]));
        trial.create(CLUSTER_ROLES, role("b", &json!({"to-view": "true"}), &["get"]));
        trial.create(CLUSTER_ROLES, role("c", &json!({"to-edit": "true"}), &["update"]));
        trial.settle(Duration::from_secs(1));
        let verbs = |trial: &Trial, name: &str| -> Vec<Value> {
            let role = trial.get(CLUSTER_ROLES, "", name).expect("it is there");
            list(&role, &["rules"]).iter().map(|rule| rule["verbs"][0].clone()).collect()
        };
        assert_eq!(verbs(&trial, "view"), ["get"]);
        assert_eq!(verbs(&trial, "edit"), ["update", "get"]);
        trial.delete(CLUSTER_ROLES, "", "c");
        trial.settle(Duration::from_secs(1));
        assert_eq!(verbs(&trial, "edit"), ["get"]);
    }
}
