//! Clients that ask too much, too slowly, or nothing at all, beside one that behaves: that one is served.
//!
//! Needs etcd.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::apiserver::authorization;
use tests::apiserver::fleet::{Etcd, Fleet};
use tests::apiserver::http::Client;
use tests::apiserver::session::Session;
use tests::wait::{until, until_true};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn headers(user: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    authorization(user).into_iter().chain(more).collect()
}

/// A server, and a cluster where alice and bob may do everything and are nobody special.
fn up(flags: &[&str]) -> Fleet {
    let fleet = Fleet::up(1, 1, &Etcd::default(), flags);
    let user = |name| json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name});
    let binding = json!({
        "metadata": {"name": "everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [user("alice"), user("bob")],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(fleet.ask(0, "POST", path, &binding).0, 201);
    // What bob may is known when what he asks is answered.
    let bob = bob(&[]);
    until_true("bob's rights", || {
        let answer = fleet.client(0).ask("GET", CONFIG_MAPS, &bob, &[]);
        answer.is_ok_and(|answer| answer.status == 200)
    });
    fleet
}

/// He has no token, and is impersonated: then requests are his.
fn bob(more: &[(&str, &str)]) -> Vec<(String, String)> {
    [headers("admin", &[("Impersonate-User", "bob")]), headers("nobody", more)].concat()
}

fn large(fleet: &Fleet, count: usize, bytes: usize) {
    for nth in 0..count {
        let object = json!({"metadata": {"name": format!("large-{nth}")}, "data": {"a": "x".repeat(bytes)}});
        assert_eq!(fleet.ask(0, "POST", CONFIG_MAPS, &object).0, 201);
    }
}

/// What a flood came to.
#[derive(Debug, Default)]
struct Flood {
    served: AtomicUsize,
    sent_away: AtomicUsize,
    other: AtomicUsize,
}

/// Thousands of requests at a time, again and again until it is told to end. Who is sent away comes again after a second, as
/// he is told to.
fn flood(client: impl Fn() -> Client, end: &Arc<AtomicBool>) -> (thread::JoinHandle<()>, Arc<Flood>) {
    const CONNECTIONS: usize = 10;
    const STREAMS: usize = 200;
    let flood = Arc::new(Flood::default());
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| client()).collect();
    let (told, end) = (Arc::clone(&flood), Arc::clone(end));
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut asking = tokio::task::JoinSet::new();
            for client in &clients {
                let session = Session::open(client).await.expect("HTTP/2");
                for _ in 0..STREAMS {
                    let (session, told, end) = (session.clone(), Arc::clone(&told), Arc::clone(&end));
                    asking.spawn(async move {
                        while !end.load(Ordering::Relaxed) {
                            let reply = session.ask("GET", CONFIG_MAPS, &headers("alice", &[]), &[]).await;
                            let counter = match reply {
                                Ok(reply) if reply.status == 200 => &told.served,
                                Ok(reply) if reply.status == 429 && reply.header("retry-after") == "1" => {
                                    tokio::time::sleep(Duration::from_secs(1)).await;
                                    &told.sent_away
                                }
                                _ => &told.other,
                            };
                            counter.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
            while asking.join_next().await.is_some() {}
        });
    };
    (thread::spawn(run), flood)
}

#[test]
fn a_flood_of_one_user_keeps_no_other_user_waiting() {
    let fleet = up(&["--max-requests-inflight=6", "--max-mutating-requests-inflight=4"]);
    large(&fleet, 20, 2_000);
    let end = Arc::new(AtomicBool::new(false));
    let (running, flood) = flood(|| fleet.client(0), &end);
    until("the flood to be more than is served", || {
        (flood.sent_away.load(Ordering::Relaxed) > 100).then_some(())
    });
    let mut client = fleet.client(0);
    for nth in 0..15 {
        let name = format!("of-bob-{nth}");
        let object = json!({"metadata": {"name": name}}).to_string();
        let json = bob(&[("Content-Type", "application/json")]);
        let made = client.attempt("POST", CONFIG_MAPS, &json, object.as_bytes()).expect("an answer");
        assert_eq!(made.status, 201, "{nth}: {}", String::from_utf8_lossy(&made.body));
        let path = format!("{CONFIG_MAPS}/{name}");
        let read = client.attempt("GET", &path, &bob(&[]), &[]).expect("an answer");
        assert_eq!(read.status, 200, "{nth}: {}", String::from_utf8_lossy(&read.body));
    }
    let before = flood.sent_away.load(Ordering::Relaxed);
    until("the flood to go on", || (flood.sent_away.load(Ordering::Relaxed) > before).then_some(()));
    end.store(true, Ordering::Relaxed);
    running.join().expect("no panic");
    println!("{flood:?}");
    assert!(flood.served.load(Ordering::Relaxed) > 0, "who floods is served too: {flood:?}");
    assert_eq!(flood.other.load(Ordering::Relaxed), 0, "each is served or told to come again: {flood:?}");
}

/// Whether the server has ended a connection: whatever it says before that.
fn is_over(stream: &mut impl Read) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                let waits =
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                return !waits;
            }
        }
    }
}

/// The start of an upload that never goes on.
fn stalled(fleet: &Fleet) -> tests::apiserver::http::Stream {
    let token = &authorization("admin")[0].1;
    let mut stream = fleet.client(0).connect().expect("a connection");
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000\r\n\r\n{{\"metadata\":"
    );
    stream.get_mut().write_all(head.as_bytes()).and_then(|()| stream.get_mut().flush()).expect("it is sent");
    stream
}

#[test]
fn silent_clients_and_stalled_uploads_end_and_take_nobodys_place() {
    let fleet =
        up(&["--request-timeout=4s", "--max-requests-inflight=6", "--max-mutating-requests-inflight=4"]);
    // More stalled uploads than requests may run at a time: of alice, whose others wait.
    let uploads: Vec<_> = (0..30).map(|_| stalled(&fleet)).collect();
    let mut silent: Vec<_> =
        (0..50).map(|_| fleet.client(0).connect_plain().expect("a connection")).collect();
    let mut half: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = fleet.client(0).connect_plain().expect("a connection");
            // The first bytes of a ClientHello.
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).expect("it is sent");
            stream
        })
        .collect();
    for nth in 0..20 {
        let name = json!({"metadata": {"name": format!("of-bob-{nth}")}}).to_string();
        let json = bob(&[("Content-Type", "application/json")]);
        let made = fleet.client(0).attempt("POST", CONFIG_MAPS, &json, name.as_bytes()).expect("an answer");
        assert_eq!(made.status, 201, "{nth}: {}", String::from_utf8_lossy(&made.body));
    }
    // Each upload is answered, and none is done.
    for mut stream in uploads {
        let mut text = String::new();
        stream.get_ref().sock.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let _ = stream.read_to_string(&mut text);
        assert!(text.starts_with("HTTP/1.1 504") && text.contains("\"reason\":\"Timeout\""), "{text}");
    }
    for stream in silent.iter_mut().chain(&mut half) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        assert!(is_over(stream), "a connection without a handshake is kept");
    }
    let (code, _) = fleet.ask(0, "GET", CONFIG_MAPS, &serde_json::Value::Null);
    assert_eq!(code, 200);
}
