//! What becomes of one object.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use serde_json::{Value, json};

use super::graph::{Graph, Node, Owner};
use super::{Answer, Answers, FOREGROUND, Identity, ORPHAN, Question, Task, Uid, Verdict};

/// What an owner is to its dependent.
enum State {
    /// There to stay.
    Solid,
    /// Not there, or not the one that is meant.
    Dangling,
    /// Going, and waiting for its dependents.
    Waiting,
}

/// Why the state of an owner cannot be said.
enum Open {
    Ask(Question),
    Unresolved,
    /// It can never be resolved: what has no namespace cannot be owned by what has one.
    Never,
}

impl Graph {
    /// `answers`: what a server said to earlier questions about this object.
    pub fn decide(&self, uid: &str, answers: &Answers) -> Verdict {
        let Some(node) = self.nodes.get(uid) else { return Verdict::Nothing };
        if node.deleting && node.has(ORPHAN) {
            return self.orphan(node);
        }
        if node.deleting {
            return if node.has(FOREGROUND) { self.wait(node) } else { Verdict::Nothing };
        }
        if node.owners.is_empty() {
            return Verdict::Nothing;
        }
        let mut solid = Vec::new();
        let (mut dangling, mut waiting) = (0, 0);
        for owner in &node.owners {
            match self.state(node, owner, answers) {
                Ok(State::Solid) => solid.push(owner),
                Ok(State::Dangling) => dangling += 1,
                Ok(State::Waiting) => waiting += 1,
                Err(Open::Ask(question)) => return Verdict::Ask(question),
                Err(Open::Unresolved) => return Verdict::Unresolved,
                Err(Open::Never) => return Verdict::Nothing,
            }
        }
        if !solid.is_empty() {
            if dangling + waiting == 0 {
                return Verdict::Nothing;
            }
            let kept: Vec<Value> = solid.into_iter().map(Owner::reference).collect();
            return Verdict::Do(vec![patch(node, "ownerReferences", kept.into())]);
        }
        let mut dependents =
            self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.nodes.get(uid)).peekable();
        if waiting > 0 && dependents.peek().is_some() {
            let mut tasks = Vec::new();
            let mut version = Some(node.version);
            if dependents.any(Node::is_waiting) {
                // Owners in a circle would wait for each other for ever.
                let unblocked =
                    node.owners.iter().map(|owner| Owner { block: Some(false), ..owner.clone() }.reference());
                tasks.push(patch(node, "ownerReferences", unblocked.collect::<Vec<_>>().into()));
                version = None;
            }
            tasks.push(delete(node, "Foreground", version));
            return Verdict::Do(tasks);
        }
        let policy = match (node.has(ORPHAN), node.has(FOREGROUND)) {
            (true, _) => "Orphan",
            (false, true) => "Foreground",
            (false, false) => "Background",
        };
        Verdict::Do(vec![delete(node, policy, Some(node.version))])
    }

    /// References of `uid` to owners of another namespace, in the original's words.
    pub fn complaints(&self, uid: &str) -> Option<(&Identity, Vec<String>)> {
        let node = self.nodes.get(uid)?;
        let namespace = &node.identity.name.namespace;
        let strange = node.owners.iter().filter(|owner| {
            self.nodes.get(&owner.uid).is_some_and(|known| {
                let of = &known.identity.name.namespace;
                !of.is_empty() && of != namespace
            })
        });
        let said = |owner: &Owner| {
            let Owner { api_version, kind, name, uid, .. } = owner;
            format!(
                "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in \
                 namespace {namespace:?}"
            )
        };
        let said: Vec<String> = strange.map(said).collect();
        (!said.is_empty()).then_some((&node.identity, said))
    }

    fn state(&self, node: &Node, owner: &Owner, answers: &Answers) -> Result<State, Open> {
        if let Some(known) = self.nodes.get(&owner.uid) {
            return Ok(match (known.is_meant(owner, &node.identity), known.is_waiting()) {
                (false, _) => State::Dangling,
                (true, true) => State::Waiting,
                (true, false) => State::Solid,
            });
        }
        let kind =
            self.kinds.get(&(owner.group().to_owned(), owner.kind.to_string())).ok_or(Open::Unresolved)?;
        let namespace = &node.identity.name.namespace;
        if kind.namespaced && namespace.is_empty() {
            return Err(Open::Never);
        }
        if self.has_gone(&owner.uid) {
            return Ok(State::Dangling);
        }
        let namespace = if kind.namespaced { &**namespace } else { "" };
        let name = ObjectName::new(namespace, &*owner.name);
        let identity = Identity { kind: Arc::clone(kind), name, uid: Arc::clone(&owner.uid) };
        match answers.get(&identity.answer_key()) {
            Some(Answer::Absent) => Ok(State::Dangling),
            Some(Answer::Present) => Ok(State::Solid),
            Some(Answer::Waiting) => Ok(State::Waiting),
            None => Err(Open::Ask(Question(identity))),
        }
    }

    /// An owner that goes last.
    fn wait(&self, node: &Node) -> Verdict {
        let uid = &node.identity.uid;
        let blocking: Vec<&Node> = self.blocking(uid).collect();
        if blocking.is_empty() {
            return Verdict::Do(vec![without(node, FOREGROUND)]);
        }
        let look = blocking.into_iter().filter(|dependent| !dependent.deleting);
        let look: Vec<Uid> = look.map(|dependent| Arc::clone(&dependent.identity.uid)).collect();
        if look.is_empty() { Verdict::Nothing } else { Verdict::Look(look) }
    }

    fn blocking<'a>(&'a self, uid: &'a Uid) -> impl Iterator<Item = &'a Node> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        dependents
            .filter_map(|dependent| self.nodes.get(dependent))
            .filter(move |dependent| dependent.owners.iter().any(|owner| owner.uid == *uid && owner.blocks()))
    }

    /// An owner that goes without its dependents.
    fn orphan(&self, node: &Node) -> Verdict {
        let uid = &node.identity.uid;
        let dependents = self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.nodes.get(uid));
        let released = dependents.map(|dependent| {
            let kept = dependent.owners.iter().filter(|owner| owner.uid != *uid).map(Owner::reference);
            patch(dependent, "ownerReferences", kept.collect::<Vec<_>>().into())
        });
        Verdict::Orphan { dependents: released.collect(), then: without(node, ORPHAN) }
    }
}

fn patch(node: &Node, field: &str, value: Value) -> Task {
    let mut patch = json!({
        "metadata": {"uid": &*node.identity.uid, "resourceVersion": node.version.to_string()},
    });
    patch["metadata"][field] = value;
    Task::Patch { object: node.identity.clone(), patch }
}

fn without(node: &Node, finalizer: &str) -> Task {
    let kept = node.finalizers.iter().filter(|own| &***own != finalizer);
    patch(node, "finalizers", kept.map(|own| Value::from(&**own)).collect::<Vec<_>>().into())
}

/// `version`: none where an own write comes before.
fn delete(node: &Node, policy: &str, version: Option<u64>) -> Task {
    let mut preconditions = json!({"uid": &*node.identity.uid});
    if let Some(version) = version {
        preconditions["resourceVersion"] = version.to_string().into();
    }
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy, "preconditions": preconditions,
    });
    Task::Delete { object: node.identity.clone(), options }
}
