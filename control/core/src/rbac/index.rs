//! Who has which rules: roles by name, bindings by the users and groups they are for.
//!
//! A decision looks only at the bindings of the user and of the user's groups; no result is cached, since finding one
//! is a few look-ups in hash maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use apiclient_core::fields::or_default;
use serde::Deserialize;
use serde_json::Value;

use super::rule::{Resolution, RoleRef, Rule, Subject};
use super::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLE_BINDINGS, ROLES};
use crate::access::{Attributes, User, Verdict, quoted};

/// All roles and bindings of a cluster.
#[derive(Debug, Default)]
pub struct Index {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    /// By namespace and name.
    roles: HashMap<String, HashMap<String, Arc<[Rule]>>>,
    /// ClusterRoleBindings have the empty namespace.
    bindings: HashMap<(String, String), Arc<Binding>>,
    users: HashMap<String, Held>,
    groups: HashMap<String, Held>,
}

/// The bindings of one user or group by namespace; the empty one is the cluster's. In the order of their names.
type Held = HashMap<String, BTreeMap<String, Arc<Binding>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    #[serde(skip)]
    namespace: String,
    #[serde(skip)]
    name: String,
    role_ref: RoleRef,
    #[serde(deserialize_with = "or_default")]
    subjects: Vec<Subject>,
}

/// A role that a binding points to and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum RoleError {
    #[error("{kind}.{GROUP} {} not found", quoted(.name))]
    NotFound {
        /// `role` or `clusterrole`.
        kind: &'static str,
        name: String,
    },
    #[error("unsupported role reference kind: {}", quoted(.0))]
    Unsupported(String),
}

impl Index {
    /// Which resources it must be told of, as [`crate::kind::Kind::qualified`] has them.
    pub const FOLLOWS: [&str; 4] = [CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS];

    /// Takes an object in, or out where there is none any more. One that cannot be read grants nothing.
    pub fn changed(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let rules = || object.map(|object| Vec::<Rule>::deserialize(&object["rules"]).unwrap_or_default());
        match resource {
            CLUSTER_ROLES => put(&mut self.cluster_roles, name, rules()),
            ROLES => {
                put(self.roles.entry(namespace.to_owned()).or_default(), name, rules());
                self.roles.retain(|_, roles| !roles.is_empty());
            }
            CLUSTER_ROLE_BINDINGS | ROLE_BINDINGS => self.bind(namespace, name, object),
            _ => {}
        }
    }

    fn bind(&mut self, namespace: &str, name: &str, object: Option<&Value>) {
        let at = (namespace.to_owned(), name.to_owned());
        if let Some(old) = self.bindings.remove(&at) {
            for subject in &old.subjects {
                let Some((held, subject)) = self.held(subject, namespace) else { continue };
                if let Some(by_namespace) = held.get_mut(&subject) {
                    if let Some(bindings) = by_namespace.get_mut(namespace) {
                        bindings.remove(name);
                    }
                    by_namespace.retain(|_, bindings| !bindings.is_empty());
                    if by_namespace.is_empty() {
                        held.remove(&subject);
                    }
                }
            }
        }
        let Some(mut new) = object.and_then(|object| Binding::deserialize(object).ok()) else { return };
        (new.namespace, new.name) = at.clone();
        let new = Arc::new(new);
        for subject in &new.subjects {
            let Some((held, subject)) = self.held(subject, namespace) else { continue };
            let bindings = held.entry(subject).or_default().entry(namespace.to_owned()).or_default();
            bindings.insert(name.to_owned(), Arc::clone(&new));
        }
        self.bindings.insert(at, new);
    }

    /// Where the bindings of a subject are, and its key there.
    fn held(&mut self, subject: &Subject, namespace: &str) -> Option<(&mut HashMap<String, Held>, String)> {
        match subject.kind.as_str() {
            "User" => Some((&mut self.users, subject.name.clone())),
            "Group" => Some((&mut self.groups, subject.name.clone())),
            "ServiceAccount" => {
                let of = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                let user = format!("system:serviceaccount:{of}:{}", subject.name);
                (!of.is_empty()).then_some((&mut self.users, user))
            }
            _ => None,
        }
    }

    /// Every binding for the user or one of the groups: of the cluster, then of the namespace.
    fn bindings_of<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Binding>> + Clone {
        let of = self.users.get(&user.name).into_iter();
        let held = of.chain(user.groups.iter().filter_map(|group| self.groups.get(group)));
        let places = if namespace.is_empty() { &[""][..] } else { &["", "*"] };
        places.iter().flat_map(move |place| {
            let namespace = if place.is_empty() { "" } else { namespace };
            held.clone().filter_map(move |held| held.get(namespace)).flat_map(BTreeMap::values)
        })
    }

    pub fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
        let mut missing = BTreeSet::new();
        for binding in self.bindings_of(user, &attributes.namespace) {
            match self.rules_of(&binding.role_ref, &binding.namespace) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(attributes)) => {
                    return Verdict::allow(format!("RBAC: allowed by {}", binding.describe(user)));
                }
                Ok(_) => {}
                Err(error) => drop(missing.insert(error)),
            }
        }
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        Verdict::no_opinion(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            all => format!("RBAC: [{}]", all.join(", ")),
        })
    }

    /// Every rule that the user has in the namespace; with the empty one, in the cluster.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Resolution {
        let mut found = Resolution::default();
        let (mut seen, mut missing) = (BTreeSet::new(), BTreeSet::new());
        for binding in self.bindings_of(user, namespace) {
            if !seen.insert((&binding.namespace, &binding.name)) {
                continue;
            }
            match self.rules_of(&binding.role_ref, &binding.namespace) {
                Ok(rules) => found.rules.extend(rules.iter().cloned()),
                Err(error) => drop(missing.insert(error)),
            }
        }
        found.errors = missing.iter().map(ToString::to_string).collect();
        found
    }

    /// The rules of the role that a binding in this namespace points to.
    ///
    /// # Errors
    /// There is no such role.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], RoleError> {
        let (kind, found) = match role.kind.as_str() {
            "ClusterRole" => ("clusterrole", self.cluster_roles.get(&role.name)),
            "Role" => ("role", self.roles.get(namespace).and_then(|roles| roles.get(&role.name))),
            other => return Err(RoleError::Unsupported(other.to_owned())),
        };
        found.map(AsRef::as_ref).ok_or_else(|| RoleError::NotFound { kind, name: role.name.clone() })
    }
}

fn put(roles: &mut HashMap<String, Arc<[Rule]>>, name: &str, rules: Option<Vec<Rule>>) {
    match rules {
        Some(rules) => drop(roles.insert(name.to_owned(), rules.into())),
        None => drop(roles.remove(name)),
    }
}

impl Binding {
    /// `ClusterRoleBinding "x" of ClusterRole "y" to Group "z"`, by the first subject that the user is. Names in a
    /// namespace are shown `NAME/NAMESPACE`, as the original does.
    fn describe(&self, user: &User) -> String {
        let subject = self.subjects.iter().find(|subject| match subject.kind.as_str() {
            "User" => subject.name == user.name,
            "Group" => user.is_in(&subject.name),
            _ => user.service_account() == Some((self.namespace_of(subject), subject.name.as_str())),
        });
        let to = subject.map_or_else(String::new, |subject| match subject.kind.as_str() {
            kind @ "ServiceAccount" => {
                format!("{kind} {}", quoted(&format!("{}/{}", subject.name, self.namespace_of(subject))))
            }
            kind => format!("{kind} {}", quoted(&subject.name)),
        });
        let own = if self.namespace.is_empty() {
            format!("ClusterRoleBinding {}", quoted(&self.name))
        } else {
            format!("RoleBinding {}", quoted(&format!("{}/{}", self.name, self.namespace)))
        };
        format!("{own} of {} {} to {to}", self.role_ref.kind, quoted(&self.role_ref.name))
    }

    fn namespace_of<'a>(&'a self, subject: &'a Subject) -> &'a str {
        if subject.namespace.is_empty() { &self.namespace } else { &subject.namespace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User { name: name.to_owned(), groups, ..User::default() }
    }

    fn pods(verb: &str, namespace: &str) -> Attributes {
        let [verb, namespace, resource] = [verb, namespace, "pods"].map(str::to_owned);
        Attributes { verb, namespace, resource, ..Attributes::default() }
    }

    fn role(verbs: &[&str]) -> Value {
        json!({"rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]})
    }

    fn binding(kind: &str, role: &str, subjects: Value) -> Value {
        json!({"roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}, "subjects": subjects})
    }

    fn world() -> Index {
        let mut index = Index::default();
        index.changed(CLUSTER_ROLES, "", "reader", Some(&role(&["get", "list"])));
        index.changed(ROLES, "a", "writer", Some(&role(&["create"])));
        let group = json!([{"kind": "User", "name": "somebody"}, {"kind": "Group", "name": "devs"}]);
        index.changed(CLUSTER_ROLE_BINDINGS, "", "readers", Some(&binding("ClusterRole", "reader", group)));
        let account = json!([{"kind": "ServiceAccount", "name": "builder"}]);
        index.changed(ROLE_BINDINGS, "a", "writers", Some(&binding("Role", "writer", account)));
        index
    }

    #[test]
    fn what_is_allowed_says_by_which_binding() {
        let index = world();
        let dev = user("alice", &["system:authenticated", "devs"]);
        let allowed = index.authorize(&pods("list", "b"), &dev);
        let wanted =
            r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "devs""#;
        assert_eq!(allowed, Verdict::allow(wanted));
        let builder = user("system:serviceaccount:a:builder", &[]);
        let allowed = index.authorize(&pods("create", "a"), &builder);
        let wanted =
            r#"RBAC: allowed by RoleBinding "writers/a" of Role "writer" to ServiceAccount "builder/a""#;
        assert_eq!(allowed, Verdict::allow(wanted));
        assert_eq!(index.authorize(&pods("create", "b"), &builder), Verdict::no_opinion(""));
        assert_eq!(index.authorize(&pods("create", "a"), &dev), Verdict::no_opinion(""));
    }

    #[test]
    fn a_binding_without_its_role_is_the_reason_of_a_refusal() {
        let mut index = world();
        index.changed(CLUSTER_ROLES, "", "reader", None);
        let dev = user("alice", &["devs"]);
        let refused = index.authorize(&pods("list", ""), &dev);
        let reason = r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#;
        assert_eq!(refused, Verdict::no_opinion(reason));
        let another = binding("Role", "gone", json!([{"kind": "User", "name": "alice"}]));
        index.changed(ROLE_BINDINGS, "a", "x", Some(&another));
        let refused = index.authorize(&pods("list", "a"), &dev);
        let reason = r#"RBAC: [clusterrole.rbac.authorization.k8s.io "reader" not found, role.rbac.authorization.k8s.io "gone" not found]"#;
        assert_eq!(refused, Verdict::no_opinion(reason));
    }

    #[test]
    fn a_changed_binding_takes_away_what_it_gave() {
        let mut index = world();
        let (dev, other) = (user("alice", &["devs"]), user("bob", &[]));
        let now = binding("ClusterRole", "reader", json!([{"kind": "User", "name": "bob"}]));
        index.changed(CLUSTER_ROLE_BINDINGS, "", "readers", Some(&now));
        assert!(!index.authorize(&pods("list", ""), &dev).is_allowed());
        assert!(index.authorize(&pods("list", ""), &other).is_allowed());
        index.changed(CLUSTER_ROLE_BINDINGS, "", "readers", None);
        index.changed(ROLE_BINDINGS, "a", "writers", None);
        assert!(!index.authorize(&pods("list", ""), &other).is_allowed());
        assert!(index.users.is_empty() && index.groups.is_empty() && index.bindings.is_empty());
    }

    #[test]
    fn rules_are_listed_once_for_each_binding() {
        let index = world();
        let both = user("somebody", &["devs"]);
        assert_eq!(index.rules_for(&both, "a").rules.len(), 1);
        assert_eq!(index.rules_for(&user("system:serviceaccount:a:builder", &[]), "a").rules.len(), 1);
        assert_eq!(index.rules_for(&user("system:serviceaccount:a:builder", &[]), "").rules.len(), 0);
    }
}
