//! Random operations of several clients at two servers, against the one history that etcd tells: every answer is the state
//! of one version, none is older than what was acknowledged before the question, and watches lose, double and reorder nothing.
//!
//! Needs etcd. WEFT_MODEL_CASES lets it run for longer; WEFT_MODEL_SEED repeats what a failure named.

mod common;
mod story;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use common::{Answer, Bed, Events, within};
use control_apiserver::{Peer, Server};
use control_core::access::User;
use http::{Method, Request};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use story::claims::{Claim, check, check_watch};
use story::{END, Objects, Seen, Story};

/// What a client does next, to one of a few objects.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u8),
    /// Over the version that this client knows, which may be an old one.
    Put(u8),
    MergePatch(u8),
    Apply(u8),
    Delete(u8),
    /// A deletion of the version that this client knows.
    DeleteKnown(u8),
    Get(u8),
    List(Asked),
    /// In pages of this many, with the other clients' changes between them; perhaps of those that are selected.
    Pages(u8, bool),
    Watch(Begin, bool),
    /// Somebody else's key moves etcd's revision.
    Foreign,
}

/// Which state a list is to be of.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Latest,
    Selected,
    Any,
    NotOlder,
    /// Of an earlier list's version.
    Exact,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// After a list.
    AfterList,
    /// With all objects, and a bookmark behind them.
    Initial,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..4_u8;
    let asked = prop_oneof![
        3 => Just(Asked::Latest), 1 => Just(Asked::Selected), 1 => Just(Asked::Any),
        1 => Just(Asked::NotOlder), 1 => Just(Asked::Exact),
    ];
    let begin = prop_oneof![Just(Begin::AfterList), Just(Begin::Initial)];
    prop_oneof![
        4 => key().prop_map(Step::Create),
        5 => key().prop_map(Step::Put),
        3 => key().prop_map(Step::MergePatch),
        2 => key().prop_map(Step::Apply),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::DeleteKnown),
        3 => key().prop_map(Step::Get),
        3 => asked.prop_map(Step::List),
        2 => ((1..4_u8), any::<bool>()).prop_map(|(limit, selected)| Step::Pages(limit, selected)),
        1 => (begin, any::<bool>()).prop_map(|(begin, selected)| Step::Watch(begin, selected)),
        1 => Just(Step::Foreign),
    ]
}

struct Client {
    number: usize,
    server: Arc<Server>,
    etcd: etcd::Client,
    namespace: String,
    /// The highest version that any client was told of as written.
    acknowledged: Arc<AtomicI64>,
    /// Versions of objects as this client knows them.
    known: BTreeMap<u8, i64>,
    /// The version of an earlier list.
    listed: i64,
    steps: usize,
    claims: Vec<Claim>,
    watches: Vec<(Events, Option<i64>, bool)>,
}

impl Client {
    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    async fn open(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> control_apiserver::reply::Response {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("user-agent", "model/1.0")
            .header("content-type", kind);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.body(control_apiserver::reply::whole(body)).unwrap();
        let groups = vec!["system:masters".to_owned()];
        let user = User { name: format!("client-{}", self.number), groups, ..User::default() };
        within(path, self.server.handle(request, &Peer::Known(Arc::new(user)))).await
    }

    async fn ask(&mut self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        Answer::of(self.open(method, path, kind, body).await).await
    }

    fn floor(&self) -> i64 {
        self.acknowledged.load(SeqCst)
    }

    /// A write was acknowledged.
    fn wrote(&mut self, key: u8, object: &Value, deleted: bool) {
        let seen = Seen::of(object);
        if deleted {
            self.known.remove(&key);
            return;
        }
        self.acknowledged.fetch_max(seen.version, SeqCst);
        self.known.insert(key, seen.version);
        self.claims.push(Claim::Wrote { name: name(key), version: seen.version, value: Some(seen.value) });
    }

    async fn run(&mut self, step: Step) {
        self.steps += 1;
        let value = format!("{}.{}", self.number, self.steps);
        let even = if self.steps.is_multiple_of(2) { "true" } else { "false" };
        let body = |key: u8| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name(key), "labels": {"even": even}}, "data": {"v": value}})
        };
        match step {
            Step::Create(key) => {
                let answer = self.ask("POST", &self.path(), JSON, &body(key)).await;
                match answer.code {
                    201 => self.wrote(key, &answer.json(), false),
                    code => assert_eq!(code, 409, "{}", answer.text),
                }
            }
            Step::Put(key) => {
                let known = self.known.get(&key).copied().unwrap_or(1);
                let mut body = body(key);
                body["metadata"]["resourceVersion"] = json!(known.to_string());
                let path = format!("{}/{}", self.path(), name(key));
                let floor = self.floor();
                let answer = self.ask("PUT", &path, JSON, &body).await;
                match answer.code {
                    200 => self.wrote(key, &answer.json(), false),
                    404 | 409 => self.claims.push(Claim::Refused { name: name(key), known, floor }),
                    code => panic!("{code}: {}", answer.text),
                }
            }
            Step::MergePatch(key) | Step::Apply(key) => {
                let apply = matches!(step, Step::Apply(_));
                let query = if apply { "?fieldManager=model&force=true" } else { "" };
                let kind =
                    if apply { "application/apply-patch+yaml" } else { "application/merge-patch+json" };
                let path = format!("{}/{}{query}", self.path(), name(key));
                let answer = self.ask("PATCH", &path, kind, &body(key)).await;
                match answer.code {
                    200 | 201 => self.wrote(key, &answer.json(), false),
                    404 if !apply => {}
                    // Somebody deleted it in between.
                    409 if apply => {}
                    code => panic!("{code}: {}", answer.text),
                }
            }
            Step::Delete(key) | Step::DeleteKnown(key) => {
                let known = self.known.get(&key).copied().unwrap_or(1);
                let body = match step {
                    Step::DeleteKnown(_) => json!({"preconditions": {"resourceVersion": known.to_string()}}),
                    _ => Value::Null,
                };
                let path = format!("{}/{}", self.path(), name(key));
                let answer = self.ask("DELETE", &path, JSON, &body).await;
                match answer.code {
                    200 => self.wrote(key, &answer.json(), true),
                    404 | 409 => {}
                    code => panic!("{code}: {}", answer.text),
                }
            }
            Step::Get(key) => {
                let floor = self.floor();
                let answer =
                    self.ask("GET", &format!("{}/{}", self.path(), name(key)), JSON, &Value::Null).await;
                let found = (answer.code == 200).then(|| Seen::of(&answer.json()));
                self.known.insert(key, found.as_ref().map_or(1, |found| found.version));
                self.claims.push(Claim::Read { name: name(key), found, floor });
            }
            Step::List(asked) => self.list(asked).await,
            Step::Pages(limit, selected) => self.pages(limit, selected).await,
            Step::Watch(begin, selected) => self.watch(begin, selected).await,
            Step::Foreign => {
                self.etcd.put("/coreos.com/x", value, None).await.unwrap();
            }
        }
    }

    async fn list(&mut self, asked: Asked) {
        let floor = self.floor();
        let (query, exactly, floor) = match asked {
            Asked::Latest => (String::new(), None, floor),
            Asked::Selected => ("?labelSelector=even%3Dtrue".to_owned(), None, floor),
            Asked::Any => ("?resourceVersion=0".to_owned(), None, 0),
            Asked::NotOlder if floor > 0 => {
                (format!("?resourceVersion={floor}&resourceVersionMatch=NotOlderThan"), None, floor)
            }
            Asked::Exact if self.listed > 0 => {
                let listed = self.listed;
                (format!("?resourceVersion={listed}&resourceVersionMatch=Exact"), Some(listed), 0)
            }
            Asked::NotOlder | Asked::Exact => (String::new(), None, floor),
        };
        let answer = self.ask("GET", &format!("{}{query}", self.path()), JSON, &Value::Null).await;
        assert_eq!(answer.code, 200, "{query}: {}", answer.text);
        let (version, objects) = listed(&answer.json());
        self.listed = version;
        let selected = matches!(asked, Asked::Selected);
        self.claims.push(Claim::Listed { version, objects, selected, exactly, floor });
    }

    async fn pages(&mut self, limit: u8, selected: bool) {
        let floor = self.floor();
        let selector = if selected { "&labelSelector=even%3Dtrue" } else { "" };
        let (mut all, mut first, mut next) = (Objects::new(), None, String::new());
        loop {
            let path = format!("{}?limit={limit}&continue={next}{selector}", self.path());
            let answer = self.ask("GET", &path, JSON, &Value::Null).await;
            assert_eq!(answer.code, 200, "{}", answer.text);
            let list = answer.json();
            let (version, objects) = listed(&list);
            assert!(objects.len() <= usize::from(limit));
            assert_eq!(*first.get_or_insert(version), version, "pages of one version");
            let before = all.len();
            let got = objects.len();
            all.extend(objects);
            assert_eq!(all.len(), before + got, "no object twice");
            let text = list["metadata"]["continue"].as_str().unwrap_or_default();
            if text.is_empty() {
                break;
            }
            text.clone_into(&mut next);
            tokio::task::yield_now().await;
        }
        let version = first.unwrap_or(0);
        self.listed = version;
        self.claims.push(Claim::Listed { version, objects: all, selected, exactly: None, floor });
    }

    async fn watch(&mut self, begin: Begin, selected: bool) {
        let selector = if selected { "&labelSelector=even%3Dtrue" } else { "" };
        let (query, after) = match begin {
            Begin::AfterList => {
                self.list(Asked::Latest).await;
                (format!("resourceVersion={}", self.listed), Some(self.listed))
            }
            Begin::Initial => ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(), None),
        };
        let path = format!("{}?watch=1&allowWatchBookmarks=true&{query}{selector}", self.path());
        let response = self.open("GET", &path, JSON, &Value::Null).await;
        self.watches.push((Events::of(response), after, selected));
    }
}

const JSON: &str = "application/json";

fn name(key: u8) -> String {
    format!("k{key}")
}

fn listed(list: &Value) -> (i64, Objects) {
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let objects =
        items.map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), Seen::of(object)));
    (version, objects.collect())
}

/// Runs the clients side by side, or one step of each in turn, and compares all that they saw.
async fn run(bed: &Bed, servers: &[Arc<Server>], case: usize, programs: Vec<Vec<Step>>, in_turn: bool) {
    let namespace = format!("n{case}");
    let acknowledged = Arc::new(AtomicI64::new(0));
    let client = |number: usize| Client {
        number,
        server: Arc::clone(&servers[number % servers.len()]),
        etcd: bed.etcd.clone(),
        namespace: namespace.clone(),
        acknowledged: Arc::clone(&acknowledged),
        known: BTreeMap::new(),
        listed: 0,
        steps: 0,
        claims: Vec::new(),
        watches: Vec::new(),
    };
    let mut clients: Vec<Client> = (0..programs.len()).map(client).collect();
    if in_turn {
        let longest = programs.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            for (client, program) in clients.iter_mut().zip(&programs) {
                if let Some(step) = program.get(at) {
                    client.run(*step).await;
                }
            }
        }
    } else {
        let tasks: Vec<_> = clients
            .into_iter()
            .zip(programs)
            .map(|(mut client, program)| {
                tokio::spawn(async move {
                    for step in program {
                        client.run(step).await;
                    }
                    client
                })
            })
            .collect();
        clients = Vec::new();
        for task in tasks {
            clients.push(within("a client", task).await.unwrap());
        }
    }
    let end = json!({"metadata": {"name": END, "labels": {"even": "true"}}, "data": {"v": "end"}});
    let answer = client(0).ask("POST", &client(0).path(), JSON, &end).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let story = Story::read(&bed.etcd, &namespace, END).await;
    for mut client in clients {
        client.claims.iter().for_each(|claim| check(&story, claim));
        for (events, after, selected) in &mut client.watches {
            check_watch(&story, events, *after, *selected).await;
        }
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs cases from a seed, which is named where one fails.
fn cases(default: u32, in_turn: bool) {
    let cases = number_of("WEFT_MODEL_CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(default);
    let seed = number_of("WEFT_MODEL_SEED").unwrap_or_else(rand::random);
    println!("WEFT_MODEL_SEED={seed} repeats this");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bed = runtime.block_on(Bed::start());
    let servers = [Arc::clone(&bed.server), runtime.block_on(bed.another())];
    let config = Config {
        cases,
        // Side by side, another run has another order: there is nothing to shrink.
        max_shrink_iters: if in_turn { 400 } else { 0 },
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let programs = proptest::collection::vec(proptest::collection::vec(step(), 1..24), 1..5);
    let case = std::cell::Cell::new(0);
    let outcome = runner.run(&programs, |programs| {
        case.set(case.get() + 1);
        runtime.block_on(run(&bed, &servers, case.get(), programs, in_turn));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("WEFT_MODEL_SEED={seed}: {failure}");
    }
}

#[test]
fn what_clients_of_two_servers_are_told_side_by_side_is_one_history() {
    cases(12, false);
}

#[test]
fn what_clients_of_two_servers_are_told_in_turn_is_one_history() {
    cases(12, true);
}
