use std::collections::{BTreeMap, VecDeque};

use control_core::edit;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::object;

fn kind(name: &str, namespaced: bool) -> Arc<Resource> {
    Arc::new(Resource {
        group: String::new(),
        version: "v1".to_owned(),
        plural: format!("{}s", name.to_lowercase()),
        kind: name.to_owned(),
        namespaced,
        verbs: ["delete", "get", "list", "watch"].map(str::to_owned).into(),
    })
}

/// A server of one kind, whose news come late.
struct Server {
    kind: Arc<Resource>,
    objects: BTreeMap<String, Value>,
    version: u64,
    news: VecDeque<Result<Value, Value>>,
    graph: Graph,
    queue: VecDeque<Uid>,
    questions: usize,
    /// In the order in which they went.
    ended: Vec<String>,
}

fn uid(name: &str) -> String {
    format!("uid-{name}")
}

fn owner(name: &str, block: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "Thing", "name": name, "uid": uid(name), "blockOwnerDeletion": block})
}

impl Server {
    fn new() -> Self {
        let kind = kind("Thing", true);
        let mut graph = Graph::default();
        graph.discovered(&[Resource::clone(&kind)]);
        Self {
            kind,
            objects: BTreeMap::new(),
            version: 0,
            news: VecDeque::new(),
            graph,
            queue: VecDeque::new(),
            questions: 0,
            ended: Vec::new(),
        }
    }

    fn put(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let name = object::name(&object).to_owned();
        let going =
            object::is_deleting(&object) && edit::list(&object, &["metadata", "finalizers"]).is_empty();
        if going {
            self.objects.remove(&name);
            self.ended.push(name);
            self.news.push_back(Err(object));
        } else {
            self.objects.insert(name, object.clone());
            self.news.push_back(Ok(object));
        }
    }

    fn create(&mut self, name: &str, owners: Vec<Value>) {
        self.put(json!({"metadata": {"namespace": "n", "name": name, "uid": uid(name), "ownerReferences": owners}}));
    }

    fn delete(&mut self, name: &str, policy: &str) {
        let Some(mut object) = self.objects.get(name).cloned() else { return };
        let mut finalizers = edit::list(&object, &["metadata", "finalizers"]).to_vec();
        let added = match policy {
            "Foreground" => Some(FOREGROUND),
            "Orphan" => Some(ORPHAN),
            _ => None,
        };
        finalizers.retain(|own| own != FOREGROUND && own != ORPHAN);
        finalizers.extend(added.map(Value::from));
        object["metadata"]["finalizers"] = finalizers.into();
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.put(object);
    }

    /// Whether the task was refused.
    fn perform(&mut self, task: &Task) -> bool {
        let (object, wanted, version) = match task {
            Task::Delete { object, options } => {
                let conditions = &options["preconditions"];
                (object, edit::text(conditions, &["uid"]), edit::text(conditions, &["resourceVersion"]))
            }
            Task::Patch { object, patch } => (
                object,
                edit::text(patch, &["metadata", "uid"]),
                edit::text(patch, &["metadata", "resourceVersion"]),
            ),
        };
        let name = object.name.name.to_string();
        let Some(known) = self.objects.get(&name).cloned() else { return false };
        let current = edit::text(&known, &["metadata", "resourceVersion"]);
        if object::uid(&known) != wanted || !version.is_empty() && version != current {
            return true;
        }
        match task {
            Task::Delete { options, .. } => self.delete(&name, edit::text(options, &["propagationPolicy"])),
            Task::Patch { patch, .. } => {
                let mut changed = known;
                for field in ["ownerReferences", "finalizers"] {
                    if !patch["metadata"][field].is_null() {
                        changed["metadata"][field] = patch["metadata"][field].clone();
                    }
                }
                self.put(changed);
            }
        }
        false
    }

    /// Until nothing is left to do. `late`: how many looks are between two news.
    fn settle(&mut self, late: usize) {
        for step in 0.. {
            assert!(step < 20_000, "it does not end");
            if (step % (late + 1) == 0 || self.queue.is_empty())
                && let Some(news) = self.news.pop_front()
            {
                let look = match news {
                    Ok(object) => self.graph.put(&self.kind, &object),
                    Err(object) => self.graph.gone(&object),
                };
                self.queue.extend(look);
                continue;
            }
            let Some(uid) = self.queue.pop_front() else { return };
            self.work(&uid);
        }
    }

    fn work(&mut self, uid: &Uid) {
        let mut answers = Answers::new();
        loop {
            let tasks = match self.graph.decide(uid, &answers) {
                Verdict::Nothing | Verdict::Unresolved => return,
                Verdict::Ask(Question(asked)) => {
                    self.questions += 1;
                    let found =
                        self.objects.get(&*asked.name.name).filter(|found| object::uid(found) == &*asked.uid);
                    answers.insert(asked.answer_key(), found.map_or(Answer::Absent, Answer::of));
                    continue;
                }
                Verdict::Look(others) => return self.queue.extend(others),
                Verdict::Do(tasks) => tasks,
                Verdict::Orphan { mut dependents, then } => {
                    dependents.push(then);
                    dependents
                }
            };
            if tasks.iter().any(|task| self.perform(task)) {
                self.queue.push_back(Arc::clone(uid));
            }
            return;
        }
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(|name| &**name).collect()
    }

    fn owners(&self, name: &str) -> Vec<&str> {
        edit::list(&self.objects[name], &["metadata", "ownerReferences"])
            .iter()
            .map(|owner| edit::text(owner, &["name"]))
            .collect()
    }
}

fn family() -> Server {
    let mut server = Server::new();
    server.create("root", vec![]);
    server.create("child", vec![owner("root", true)]);
    server.create("grandchild", vec![owner("child", true)]);
    server.create("shared", vec![owner("root", true), owner("other", false)]);
    server.create("other", vec![]);
    server.settle(0);
    assert_eq!(
        server.names(),
        ["child", "grandchild", "other", "root", "shared"],
        "nothing goes without need"
    );
    server
}

#[test]
fn in_the_background_dependents_follow_their_owner() {
    let mut server = family();
    server.delete("root", "Background");
    assert_eq!(server.names(), ["child", "grandchild", "other", "shared"]);
    server.settle(0);
    assert_eq!(server.names(), ["other", "shared"]);
    assert_eq!(server.owners("shared"), ["other"], "the reference to what is gone goes, too");
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut server = family();
    server.delete("root", "Foreground");
    server.settle(0);
    assert_eq!(server.ended, ["grandchild", "child", "root"]);
    assert_eq!(server.owners("shared"), ["other"]);
}

#[test]
fn orphans_stay() {
    let mut server = family();
    server.delete("root", "Orphan");
    server.settle(0);
    assert_eq!(server.names(), ["child", "grandchild", "other", "shared"]);
    assert!(server.owners("child").is_empty());
    assert_eq!(server.owners("grandchild"), ["child"]);
    assert_eq!(server.owners("shared"), ["other"]);
}

#[test]
fn owners_in_a_circle_go_in_the_foreground_too() {
    let mut server = Server::new();
    server.create("a", vec![owner("c", true)]);
    server.create("b", vec![owner("a", true)]);
    server.create("c", vec![owner("b", true)]);
    server.settle(0);
    assert_eq!(server.names(), ["a", "b", "c"]);
    server.delete("a", "Foreground");
    server.settle(0);
    assert!(server.names().is_empty(), "{:?}", server.objects);
}

#[test]
fn an_owner_that_was_never_there_is_asked_for_and_one_that_is_known_is_not() {
    let mut server = Server::new();
    server.create("child", vec![owner("nobody", false)]);
    server.settle(0);
    assert_eq!((server.names(), server.questions), (vec![], 1));
    let mut server = Server::new();
    server.create("owner", vec![]);
    server.create("child", vec![owner("owner", false)]);
    server.settle(0);
    assert_eq!((server.names(), server.questions), (vec!["child", "owner"], 0));
    server.delete("owner", "Background");
    server.settle(0);
    assert_eq!((server.names(), server.questions), (vec![], 0), "its end was seen");
}

#[test]
fn an_owner_of_the_same_name_and_another_uid_is_not_the_owner() {
    let mut server = Server::new();
    server.create("owner", vec![]);
    let mut other = owner("owner", false);
    other["uid"] = "older".into();
    server.create("child", vec![other]);
    server.settle(0);
    assert_eq!(server.names(), ["owner"]);
}

#[test]
fn an_owner_of_another_namespace_is_absent_and_that_is_said() {
    let mut server = Server::new();
    server.create("owner", vec![]);
    server.put(json!({"metadata": {
        "namespace": "elsewhere", "name": "child", "uid": "c", "ownerReferences": [owner("owner", false)],
    }}));
    while let Some(Ok(object)) = server.news.pop_front() {
        server.graph.put(&server.kind, &object);
    }
    let Some((_, said)) = server.graph.complaints("c") else { panic!("nothing is said") };
    assert_eq!(
        said,
        [
            r#"ownerRef [v1/Thing, namespace: elsewhere, name: owner, uid: uid-owner] does not exist in namespace "elsewhere""#
        ]
    );
    let Verdict::Do(tasks) = server.graph.decide("c", &Answers::new()) else { panic!("it stays") };
    assert!(matches!(&tasks[..], [Task::Delete { .. }]));
}

#[test]
fn what_cannot_be_resolved_stays() {
    let mut server = Server::new();
    let mut unknown = owner("x", false);
    unknown["kind"] = "Widget".into();
    server.create("child", vec![unknown]);
    server.settle(0);
    assert_eq!(server.names(), ["child"], "its kind may come back");
    assert_eq!(server.graph.decide(&uid("child"), &Answers::new()), Verdict::Unresolved);
    let cluster = kind("Node", false);
    let node = json!({"metadata": {
        "name": "node", "uid": "node", "resourceVersion": "99", "ownerReferences": [owner("nobody", false)],
    }});
    server.graph.put(&cluster, &node);
    assert_eq!(
        server.graph.decide("node", &Answers::new()),
        Verdict::Nothing,
        "it cannot have such an owner"
    );
}

#[test]
fn an_object_that_changed_meanwhile_is_not_deleted() {
    let mut server = Server::new();
    server.create("owner", vec![]);
    server.create("child", vec![owner("owner", false)]);
    server.settle(0);
    server.delete("owner", "Background");
    // Adopted by another, of which no news has come yet.
    let mut child = server.objects["child"].clone();
    child["metadata"]["ownerReferences"] = json!([owner("second", false)]);
    server.create("second", vec![]);
    server.put(child);
    server.settle(3);
    assert_eq!(server.names(), ["child", "second"]);
}

#[test]
fn only_what_can_be_followed_is_followed_and_events_are_not() {
    let mut review = Resource::clone(&kind("Review", false));
    review.verbs = ["create".to_owned()].into();
    let all = [Resource::clone(&kind("Thing", true)), review, Resource::clone(&kind("Event", true))];
    let names: Vec<&str> = followed(&all).map(|resource| &*resource.kind).collect();
    assert_eq!(names, ["Thing"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the graph, the policy and the delay of news: what has a live owner, or never had one, stays; all else goes.
    #[test]
    fn what_has_no_owner_left_goes(
        owners in prop::collection::vec(prop::collection::vec((0..12_usize, any::<bool>()), 0..3), 12),
        victims in prop::collection::vec((0..12_usize, 0..2_usize), 1..4), late in 0..6_usize,
    ) {
        let mut server = Server::new();
        let name = |nth: usize| format!("o{nth:02}");
        let mut links: Vec<Vec<usize>> = Vec::new();
        for (nth, of) in owners.iter().enumerate() {
            // Of earlier ones alone: no circles here.
            let of: BTreeMap<usize, bool> = of.iter().filter(|(owner, _)| *owner < nth).copied().collect();
            server.create(&name(nth), of.iter().map(|(nth, block)| owner(&name(*nth), *block)).collect());
            links.push(of.keys().copied().collect());
        }
        server.settle(late);
        prop_assert_eq!(server.objects.len(), 12);
        let mut gone = [false; 12];
        for (victim, policy) in &victims {
            gone[*victim] = true;
            server.delete(&name(*victim), ["Background", "Foreground"][*policy]);
        }
        server.settle(late);
        for nth in 0..12 {
            gone[nth] |= !links[nth].is_empty() && links[nth].iter().all(|owner| gone[*owner]);
        }
        let left: Vec<String> = (0..12).filter(|nth| !gone[*nth]).map(name).collect();
        prop_assert_eq!(server.names(), left);
    }
}
