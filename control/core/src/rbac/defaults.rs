//! The roles and bindings that every cluster has, and what to do where one is missing or was changed.
//!
//! The data (`data/rbac-defaults.jsonl`) are those of a fresh kube-apiserver 1.36 without what they have in common; a
//! test in `tests/` compares them with the original's.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cover;
use super::rule::Rule;

const DATA: &str = include_str!("../../data/rbac-defaults.jsonl");
const LABEL: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// `false` protects an object from [`reconcile`].
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// In the order in which they are made: ClusterRoles, their bindings, Roles, their bindings.
pub fn objects() -> Vec<Value> {
    DATA.lines().filter_map(|line| serde_json::from_str(line).ok()).map(whole).collect()
}

fn whole(mut short: Map<String, Value>) -> Value {
    let mut labels = short.remove("labels").unwrap_or_else(|| json!({}));
    labels[LABEL.0] = LABEL.1.into();
    let mut metadata = json!({"labels": labels, "annotations": {AUTOUPDATE: "true"}});
    for field in ["name", "namespace"] {
        if let Some(value) = short.remove(field) {
            metadata[field] = value;
        }
    }
    short.insert("apiVersion".to_owned(), "rbac.authorization.k8s.io/v1".into());
    short.insert("metadata".to_owned(), metadata);
    Value::Object(short)
}

/// What makes an object what it should be at least.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    /// It is wanted otherwise, and its annotation forbids to touch it.
    Protected,
    Create(Value),
    Update(Value),
    /// A binding to another role: delete the one with this uid, then create.
    Recreate {
        uid: String,
        object: Value,
    },
}

/// `wanted` is one of [`objects`], `found` what is stored under its name. Labels, annotations, rules and subjects that are
/// missing are added; what somebody added stays.
pub fn reconcile(wanted: &Value, found: Option<&Value>) -> Step {
    let Some(found) = found else { return Step::Create(wanted.clone()) };
    let step =
        if wanted["roleRef"].is_null() { with_rules(wanted, found) } else { with_subjects(wanted, found) };
    let protected = found["metadata"]["annotations"][AUTOUPDATE] == "false";
    if protected && step != Step::Nothing { Step::Protected } else { step }
}

fn with_rules(wanted: &Value, found: &Value) -> Step {
    let mut new = found.clone();
    with_metadata(wanted, &mut new);
    let rules = |of: &Value| Vec::<Rule>::deserialize(&of["rules"]).unwrap_or_default();
    let missing = cover::missing(&rules(found), &rules(wanted));
    add(&mut new, "rules", missing.iter().map(|rule| json!(rule)));
    let selectors = "/aggregationRule/clusterRoleSelectors";
    let of =
        |object: &Value| object.pointer(selectors).and_then(Value::as_array).cloned().unwrap_or_default();
    let have = of(found);
    let lacking: Vec<_> = of(wanted).into_iter().filter(|selector| !have.contains(selector)).collect();
    if wanted["aggregationRule"].is_null() {
        if let Some(object) = new.as_object_mut() {
            object.remove("aggregationRule");
        }
    } else if !lacking.is_empty() {
        let all = [have, lacking].concat();
        new["aggregationRule"] = json!({"clusterRoleSelectors": all});
    }
    changed(new, found)
}

fn with_subjects(wanted: &Value, found: &Value) -> Step {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let (role, other) = (&wanted["roleRef"], &found["roleRef"]);
    if ["apiGroup", "kind", "name"].iter().any(|field| text(role, field) != text(other, field)) {
        return Step::Recreate { uid: text(&found["metadata"], "uid"), object: wanted.clone() };
    }
    let mut new = found.clone();
    with_metadata(wanted, &mut new);
    let list = |of: &Value| of["subjects"].as_array().cloned().unwrap_or_default();
    let same = |one: &Value, other: &Value| {
        ["kind", "apiGroup", "name", "namespace"].iter().all(|field| text(one, field) == text(other, field))
    };
    let have = list(found);
    let missing = list(wanted).into_iter().filter(|subject| !have.iter().any(|own| same(own, subject)));
    add(&mut new, "subjects", missing);
    changed(new, found)
}

fn changed(new: Value, found: &Value) -> Step {
    if new == *found { Step::Nothing } else { Step::Update(new) }
}

fn add(object: &mut Value, field: &str, items: impl Iterator<Item = Value>) {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return;
    }
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.extend(items),
        None => object[field] = items.into(),
    }
}

/// What somebody set has precedence.
fn with_metadata(wanted: &Value, new: &mut Value) {
    for field in ["labels", "annotations"] {
        let Some(values) = wanted["metadata"][field].as_object() else { continue };
        for (key, value) in values {
            if new["metadata"][field][key].is_null() {
                new["metadata"][field][key] = value.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: &str, name: &str) -> Value {
        let found =
            objects().into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.expect("a default object")
    }

    #[test]
    fn every_line_is_an_object() {
        assert_eq!(objects().len(), DATA.lines().count());
        let kinds = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let counts = kinds.map(|kind| objects().iter().filter(|object| object["kind"] == kind).count());
        assert_eq!(counts, [69, 50, 7, 7]);
        assert_eq!(named("ClusterRole", "cluster-admin")["metadata"]["labels"][LABEL.0], LABEL.1);
    }

    #[test]
    fn what_is_there_as_wanted_is_left_alone() {
        for object in objects() {
            assert_eq!(reconcile(&object, Some(&object)), Step::Nothing);
            assert_eq!(reconcile(&object, None), Step::Create(object));
        }
    }

    #[test]
    fn what_is_missing_is_added_and_what_was_added_stays() {
        let wanted = named("ClusterRole", "system:discovery");
        let mut found = wanted.clone();
        found["metadata"]["labels"] = json!({"mine": "yes"});
        found["rules"] = json!([{"verbs": ["get"], "nonResourceURLs": ["/mine"]}]);
        let Step::Update(new) = reconcile(&wanted, Some(&found)) else { panic!("an update") };
        assert_eq!(new["metadata"]["labels"], json!({"mine": "yes", LABEL.0: LABEL.1}));
        assert_eq!(new["rules"][0], found["rules"][0]);
        assert_eq!(reconcile(&wanted, Some(&new)), Step::Nothing);
        let wanted = named("ClusterRoleBinding", "cluster-admin");
        let mut found = wanted.clone();
        found["subjects"] = json!([{"kind": "User", "name": "me", "apiGroup": super::super::GROUP}]);
        let Step::Update(new) = reconcile(&wanted, Some(&found)) else { panic!("an update") };
        assert_eq!(new["subjects"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_protected_object_is_left_as_it_is() {
        let wanted = named("ClusterRoleBinding", "cluster-admin");
        let mut found = wanted.clone();
        found["subjects"] = json!([]);
        found["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconcile(&wanted, Some(&found)), Step::Protected);
    }

    #[test]
    fn a_binding_to_another_role_is_made_again() {
        let wanted = named("ClusterRoleBinding", "cluster-admin");
        let mut found = wanted.clone();
        found["roleRef"]["name"] = "view".into();
        found["metadata"]["uid"] = "u".into();
        let step = reconcile(&wanted, Some(&found));
        assert_eq!(step, Step::Recreate { uid: "u".to_owned(), object: wanted });
    }

    #[test]
    fn an_aggregated_role_keeps_its_selectors() {
        let wanted = named("ClusterRole", "admin");
        let mut found = wanted.clone();
        found["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"mine": "yes"}}]});
        found["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let Step::Update(new) = reconcile(&wanted, Some(&found)) else { panic!("an update") };
        assert_eq!(new["aggregationRule"]["clusterRoleSelectors"].as_array().map(Vec::len), Some(2));
        assert_eq!(new["rules"], found["rules"]);
    }
}
