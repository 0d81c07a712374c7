//! Our API server while its etcd is away, hangs, is full or has forgotten: what may be read is served, writes fail and are
//! never half done, and all goes on when it is back.
//!
//! Needs etcd and etcdctl.

use std::collections::BTreeSet;

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::authorization;
use tests::apiserver::fleet::{Etcd, Fleet};
use tests::wait::until;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn create(fleet: &Fleet, name: &str, text: &str) -> (u16, Value) {
    fleet.ask(0, "POST", CONFIG_MAPS, &json!({"metadata": {"name": name}, "data": {"text": text}}))
}

fn names(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items.map(|object| object["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn one() -> Fleet {
    let fleet = Fleet::up(1, 1, &Etcd::default(), &[]);
    assert_eq!(create(&fleet, "before", "x").0, 201);
    fleet
}

fn refused(answer: &(u16, Value), codes: &[u16]) {
    let (code, status) = answer;
    assert!(codes.contains(code), "{code}: {status}");
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{status}");
    assert!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
}

#[test]
fn while_etcd_is_away_old_reads_are_served_and_writes_are_not_done() {
    let fleet = one();
    let version = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null).1["metadata"]["resourceVersion"].clone();
    let version = version.as_str().expect("a version").to_owned();
    let watch = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let mut watch = fleet.client(0).watch(&watch, &authorization("admin")).expect("a watch");
    fleet.stop_member(0, Signal::SIGKILL);

    for query in [
        "?resourceVersion=0",
        &format!("?resourceVersion={version}"),
        &format!("?resourceVersion={version}&resourceVersionMatch=Exact"),
    ] {
        let (code, list) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}{query}"), &Value::Null);
        assert_eq!((code, names(&list)), (200, of(&["before"])), "{query}: {list}");
    }
    let (code, _) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}/before?resourceVersion=0"), &Value::Null);
    assert_eq!(code, 200);
    refused(&fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null), &[503]);
    refused(&create(&fleet, "away", "x"), &[503]);
    let change = json!({"metadata": {"name": "before"}, "data": {"text": "y"}});
    refused(&fleet.ask(0, "PUT", &format!("{CONFIG_MAPS}/before"), &change), &[503]);
    refused(&fleet.ask(0, "DELETE", &format!("{CONFIG_MAPS}/before"), &Value::Null), &[503]);
    let service = json!({"metadata": {"name": "away"}, "spec": {"ports": [{"port": 80}]}});
    refused(&fleet.ask(0, "POST", "/api/v1/namespaces/default/services", &service), &[503]);
    // It lives, and says that it is not ready.
    let ready = fleet.client(0).ask("GET", "/readyz", &[], &[]).expect("an answer");
    assert_eq!(ready.status, 500, "{}", String::from_utf8_lossy(&ready.body));

    fleet.start_member(0);
    until("writes to go on", || (create(&fleet, "after", "x").0 == 201).then_some(()));
    let (_, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
    assert_eq!(names(&list), of(&["before", "after"]));
    assert_eq!(list["items"][1]["data"]["text"], "x", "nothing of what was refused was done: {list}");
    let (_, services) = fleet.ask(0, "GET", "/api/v1/namespaces/default/services", &Value::Null);
    assert_eq!(names(&services), of(&["kubernetes"]));
    // The watch from before is still there.
    let line = watch.line().expect("a line").expect("a watch that lasts");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("after")));
    until("it to be ready", || {
        let ready = fleet.client(0).ask("GET", "/readyz", &[], &[]).ok()?;
        (ready.status == 200).then_some(())
    });
}

#[test]
fn a_server_that_is_started_before_its_etcd_lives_says_to_come_again_and_serves_once_etcd_is_there() {
    let fleet = Fleet::prepare(1, 1, &Etcd::default(), &[]);
    fleet.start_server(0);
    let ask = |path: &str| fleet.client(0).ask("GET", path, &authorization("admin"), &[]);
    until("it to listen", || ask("/livez/ping").ok());
    // Of what lives in storage nobody is told anything else, whoever asks and however.
    for path in [CONFIG_MAPS, &format!("{CONFIG_MAPS}?resourceVersion=0"), &format!("{CONFIG_MAPS}?watch=1")]
    {
        let reply = ask(path).expect("an answer");
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{path}: {text}");
        refused(&(reply.status, serde_json::from_slice(&reply.body).expect("JSON")), &[503]);
    }
    let made = create(&fleet, "early", "x");
    refused(&made, &[503]);
    let nobody = fleet.client(0).ask("GET", CONFIG_MAPS, &[], &[]).expect("an answer");
    assert_eq!(nobody.status, 503, "not that there is nothing, nor that somebody may not");
    // What needs no storage is answered: it lives, and says that it is not ready.
    assert_eq!(ask("/livez?exclude=etcd").map(|reply| reply.status).expect("an answer"), 500);
    for (path, want) in [("/version", 200), ("/api", 200), ("/readyz", 500), ("/metrics", 200)] {
        assert_eq!(ask(path).map(|reply| reply.status).expect("an answer"), want, "{path}");
    }
    fleet.start_member(0);
    fleet.wait_for_server(0);
    assert_eq!(create(&fleet, "later", "x").0, 201);
    let (_, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
    assert_eq!(names(&list), of(&["later"]), "nothing of what was refused was done");
}

#[test]
fn a_write_that_a_hanging_etcd_did_not_answer_is_not_said_to_have_failed_for_certain() {
    let fleet = one();
    fleet.signal_member(0, Signal::SIGSTOP);
    let (code, list) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?resourceVersion=0"), &Value::Null);
    assert_eq!((code, names(&list)), (200, of(&["before"])));
    // 504: nobody knows. What was not sent at all: 503.
    let hung = create(&fleet, "hung", "x");
    refused(&hung, &[504]);
    refused(&create(&fleet, "unsent", "x"), &[503, 504]);
    fleet.signal_member(0, Signal::SIGCONT);
    until("writes to go on", || (create(&fleet, "after", "x").0 == 201).then_some(()));
    let (_, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
    let found = names(&list);
    assert!(found.is_superset(&of(&["before", "after"])), "{found:?}");
    // Whatever became of them, they are whole.
    let whole = |object: &Value| object["data"]["text"] == "x" && object["metadata"]["uid"].is_string();
    assert!(
        list["items"]
            .as_array()
            .expect("items")
            .iter()
            .filter(|object| object["metadata"]["name"] != "kube-root-ca.crt")
            .all(whole),
        "{list}"
    );
}

#[test]
fn a_full_etcd_refuses_writes_lets_objects_be_deleted_and_goes_on_when_there_is_room() {
    let etcd = Etcd { flags: vec!["--quota-backend-bytes=20000000".to_owned()], ..Etcd::default() };
    let fleet = Fleet::up(1, 1, &etcd, &[]);
    let large = "x".repeat(1_000_000);
    let mut made = 0;
    let full = loop {
        let answer = create(&fleet, &format!("large-{made}"), &large);
        if answer.0 != 201 {
            break answer;
        }
        made += 1;
        assert!(made < 100, "etcd is never full");
    };
    refused(&full, &[500]);
    let message = full.1["message"].as_str().unwrap_or_default();
    assert!(message.contains("database space exceeded"), "{message}");
    let log = fleet.log(0);
    assert!(log.contains("`alarm disarm`"), "the log says what to do: {log}");
    let (_, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
    assert_eq!(names(&list).len(), made, "reads are as before, and nothing was half done");
    for nth in 0..made {
        let (code, status) = fleet.ask(0, "DELETE", &format!("{CONFIG_MAPS}/large-{nth}"), &Value::Null);
        assert_eq!(code, 200, "{status}");
    }
    let revision = fleet.etcdctl(0, &["get", "none", "--write-out=fields"]);
    let revision =
        revision.lines().find_map(|line| line.strip_prefix("\"Revision\" : ")).expect("a revision");
    fleet.etcdctl(0, &["compact", revision]);
    fleet.etcdctl(0, &["defrag"]);
    fleet.etcdctl(0, &["alarm", "disarm"]);
    until("writes to go on", || (create(&fleet, "after", "x").0 == 201).then_some(()));
    let (_, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
    assert_eq!(names(&list), of(&["after"]));
}

#[test]
fn what_etcd_has_forgotten_is_expired_and_a_list_can_go_on_inconsistently() {
    let fleet = one();
    for name in ["a", "b", "c"] {
        assert_eq!(create(&fleet, name, "x").0, 201);
    }
    let (_, page) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?limit=2"), &Value::Null);
    let next = page["metadata"]["continue"].as_str().expect("more").to_owned();
    let version = page["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    assert_eq!(create(&fleet, "d", "x").0, 201);
    let revision = fleet.etcdctl(0, &["get", "none", "--write-out=fields"]);
    let revision =
        revision.lines().find_map(|line| line.strip_prefix("\"Revision\" : ")).expect("a revision");
    fleet.etcdctl(0, &["compact", revision]);
    // This server remembers the list that was begun.
    let (code, rest) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?limit=9&continue={next}"), &Value::Null);
    assert_eq!(
        (code, names(&rest)),
        (200, of(&["c", "before"]).into_iter().filter(|name| !names(&page).contains(name)).collect()),
        "{rest}"
    );
    // Another one does not, and says how to go on.
    fleet.stop_server(0, Signal::SIGKILL);
    fleet.start_server(0);
    fleet.wait_for_server(0);
    let (code, status) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?limit=9&continue={next}"), &Value::Null);
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")), "{status}");
    let next = status["metadata"]["continue"].as_str().expect("how to go on").to_owned();
    let (code, rest) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?limit=9&continue={next}"), &Value::Null);
    assert_eq!((code, names(&rest).contains("d")), (200, true), "{rest}");
    let exact = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(fleet.ask(0, "GET", &exact, &Value::Null).0, 410);
    let watch = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let mut watch = fleet.client(0).watch(&watch, &authorization("admin")).expect("a watch");
    let line = watch.line().expect("a line").expect("an event");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
}
