//! How requests share a server: API Priority and Fairness.
//!
//! Owns: which level and flow a request belongs to ([`Rules::classify`]: FlowSchemas and PriorityLevelConfigurations),
//! what a level gets of the server's seats ([`level`]), and who runs, waits or is sent away ([`seats::Seats`]).
//! Never: waits or measures time. Who gives up waiting says so.
//! Facts: kube-apiserver 1.36's `flowcontrol` package. There, flows are dealt to a few queues by a hash, and a flow may
//! have bad luck; here each flow has a queue of its own. A request takes one seat, whatever it asks for.

pub mod defaults;
pub mod level;
pub mod schema;
pub mod seats;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::access::{Attributes, User};
use level::{Level, Limits};
use schema::FlowSchema;

/// The level for what no schema speaks of, and the one without limits.
pub const CATCH_ALL: &str = "catch-all";
pub const EXEMPT: &str = "exempt";

/// All schemas and levels, and what follows from them.
#[derive(Clone, Debug)]
pub struct Rules {
    levels: BTreeMap<Arc<str>, Level>,
    /// In the order in which they are tried.
    schemas: Vec<FlowSchema>,
}

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub schema: Arc<str>,
    /// Empty for a schema that is not stored yet.
    pub schema_uid: Arc<str>,
    pub level: Arc<str>,
    pub level_uid: Arc<str>,
    /// Requests of one flow wait behind each other: the schema's name, and what tells its flows apart.
    pub flow: Arc<str>,
    pub is_exempt: bool,
}

impl Rules {
    /// From stored objects. Those that every server has are added where they are missing, so that a request always
    /// belongs somewhere; a schema whose level is not there counts for nothing.
    pub fn new<'a>(
        levels: impl IntoIterator<Item = &'a Value>,
        schemas: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let mandatory = defaults::objects()
            .filter(|object| matches!(crate::edit::text(object, &["metadata", "name"]), CATCH_ALL | EXEMPT));
        let (mut known, mut tried) = (BTreeMap::new(), BTreeMap::new());
        for object in &mandatory.collect::<Vec<_>>() {
            take(object, &mut known, &mut tried);
        }
        for object in levels.into_iter().chain(schemas) {
            take(object, &mut known, &mut tried);
        }
        let mut schemas: Vec<FlowSchema> =
            tried.into_values().filter(|schema| known.contains_key(&schema.level)).collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Self { levels: known, schemas }
    }

    /// What a fresh cluster has.
    pub fn of_defaults() -> Self {
        let objects: Vec<Value> = defaults::objects().collect();
        Self::new(&objects, &[])
    }

    /// Where a request belongs: the first schema that speaks of it.
    pub fn classify(&self, attributes: &Attributes, user: &User) -> Place {
        let found = self.schemas.iter().find(|schema| schema.fits(attributes, user));
        // catch-all speaks of everybody who is in one of the two groups of all.
        let found = found.or_else(|| self.schemas.iter().find(|schema| &*schema.name == CATCH_ALL));
        let level = found.and_then(|schema| self.levels.get(&schema.level));
        let (name, uid, level_name) = match found {
            Some(schema) => (&schema.name, &schema.uid, &schema.level),
            None => (&Arc::from(CATCH_ALL), &Arc::default(), &Arc::from(CATCH_ALL)),
        };
        let distinguisher = found.map(|schema| schema.distinguisher(attributes, user)).unwrap_or_default();
        Place {
            schema: Arc::clone(name),
            schema_uid: Arc::clone(uid),
            level: Arc::clone(level_name),
            level_uid: level.map(|level| Arc::clone(&level.uid)).unwrap_or_default(),
            flow: format!("{name} {distinguisher}").into(),
            is_exempt: level.is_some_and(|level| level.is_exempt),
        }
    }

    /// What each level may use of `seats`.
    pub fn limits(&self, seats: usize) -> BTreeMap<Arc<str>, Limits> {
        level::limits(self.levels.values(), seats)
    }

    pub fn has_level(&self, name: &str) -> bool {
        self.levels.contains_key(name)
    }
}

fn take(
    object: &Value,
    levels: &mut BTreeMap<Arc<str>, Level>,
    schemas: &mut BTreeMap<Arc<str>, FlowSchema>,
) {
    match crate::edit::text(object, &["kind"]) {
        "FlowSchema" => {
            let schema = FlowSchema::read(object);
            schemas.insert(Arc::clone(&schema.name), schema);
        }
        _ => {
            let level = Level::read(object);
            levels.insert(Arc::clone(&level.name), level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, groups: &[&str]) -> User {
        User {
            name: name.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        }
    }

    fn of(verb: &str, group: &str, resource: &str, namespace: &str) -> Attributes {
        let text = str::to_owned;
        Attributes {
            verb: text(verb),
            group: text(group),
            resource: text(resource),
            namespace: text(namespace),
            ..Attributes::default()
        }
    }

    #[test]
    fn requests_belong_where_the_originals_default_schemas_put_them() {
        let rules = Rules::of_defaults();
        let (all, accounts) = ("system:authenticated", "system:serviceaccounts");
        let scheduler = user("system:kube-scheduler", &[all]);
        let node = user("system:node:n", &["system:nodes", all]);
        let controller = user("system:serviceaccount:kube-system:job-controller", &[accounts, all]);
        let app = user("system:serviceaccount:a:b", &[accounts, all]);
        let probe = Attributes { verb: "get".into(), path: "/readyz/ping".into(), ..Attributes::default() };
        let lease = |verb| of(verb, "coordination.k8s.io", "leases", "kube-system");
        for (attributes, who, schema, level, flow) in [
            (of("list", "", "pods", ""), &user("admin", &["system:masters", all]), "exempt", "exempt", ""),
            (probe, &user("system:anonymous", &["system:unauthenticated"]), "probes", "exempt", ""),
            (
                lease("update"),
                &scheduler,
                "system-leader-election",
                "leader-election",
                "system:kube-scheduler",
            ),
            (lease("list"), &scheduler, "kube-scheduler", "workload-high", "kube-system"),
            (lease("update"), &node, "system-node-high", "node-high", "system:node:n"),
            (of("patch", "", "nodes", ""), &node, "system-node-high", "node-high", "system:node:n"),
            (of("get", "", "pods", "x"), &node, "system-nodes", "system", "system:node:n"),
            (lease("get"), &controller, "system-leader-election", "leader-election", &controller.name),
            (
                of("create", "", "pods", "x"),
                &controller,
                "kube-system-service-accounts",
                "workload-high",
                "x",
            ),
            (of("list", "", "pods", ""), &app, "service-accounts", "workload-low", &app.name),
            (of("list", "", "pods", ""), &user("alice", &[all]), "global-default", "global-default", "alice"),
            (of("list", "", "pods", ""), &user("odd", &[]), "catch-all", "catch-all", "odd"),
        ] {
            let place = rules.classify(&attributes, who);
            assert_eq!((&*place.schema, &*place.level), (schema, level), "{} {attributes:?}", who.name);
            assert_eq!(*place.flow, format!("{schema} {flow}"));
            assert_eq!(place.is_exempt, level == EXEMPT);
        }
    }

    #[test]
    fn a_schema_without_its_level_counts_for_nothing() {
        let schema = serde_json::json!({"kind": "FlowSchema", "metadata": {"name": "x"}, "spec": {
            "matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "gone"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "*"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true}]}]}});
        let alice = user("alice", &["system:authenticated"]);
        let of = |rules: &Rules| rules.classify(&of("list", "", "pods", ""), &alice).schema;
        assert_eq!(*of(&Rules::new(&[], [&schema])), *CATCH_ALL);
        let level = serde_json::json!({"kind": "PriorityLevelConfiguration", "metadata": {"name": "gone"},
            "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1}}});
        assert_eq!(*of(&Rules::new([&level], [&schema])), *"x");
    }
}
