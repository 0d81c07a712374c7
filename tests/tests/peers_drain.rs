//! The end of a server that is in use: what it accepted it answers, what it acknowledged is there, and watches end cleanly.
//!
//! Needs the etcd of the originals in WEFT_PEERS (or peers/bin).

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::{Side, Which, authorization};
use tests::wait::until_true;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 4;

/// Writes until nobody listens any more, and gives the names of what was acknowledged.
fn write(side: &Side, writer: usize, ready: &AtomicBool) -> Vec<String> {
    let mut headers = authorization("admin");
    headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    let mut client = side.client();
    let mut acknowledged = Vec::new();
    for nth in 0.. {
        let name = format!("w{writer}-{nth}");
        let body = json!({"metadata": {"name": name}}).to_string();
        match client.ask("POST", CONFIG_MAPS, &headers, body.as_bytes()) {
            Ok(reply) => {
                assert_eq!(reply.status, 201, "{name}: {}", String::from_utf8_lossy(&reply.body));
                acknowledged.push(name);
                ready.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{name} was not answered: {error}");
                break;
            }
        }
    }
    acknowledged
}

#[test]
fn a_server_that_is_told_to_end_serves_on_for_its_delay_and_loses_nothing() {
    let side = Side::new(Which::Ours, &["--shutdown-delay-duration=3s"]);
    side.start();
    let begun: Vec<AtomicBool> = (0..WRITERS).map(|_| AtomicBool::new(false)).collect();
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let path = format!("{CONFIG_MAPS}?watch=true");
            // Not quiet for long before its end, for the writers write on.
            side.client().follow(&path, &authorization("admin"), Duration::from_secs(60), |_| false)
        });
        let writers: Vec<_> = begun
            .iter()
            .enumerate()
            .map(|(nth, begun)| {
                let side = &side;
                scope.spawn(move || write(side, nth, begun))
            })
            .collect();
        until_true("all writers to write", || begun.iter().all(|begun| begun.load(Ordering::Relaxed)));
        let ending = scope.spawn(|| side.stop(Signal::SIGTERM));
        let mut client = side.client();
        let mut ready = || client.ask("GET", "/readyz", &authorization("admin"), &[]);
        until_true("the server to say that it is not ready", || {
            ready().is_ok_and(|reply| reply.status == 500)
        });
        // It serves on, and the watch with it.
        let reply = side.client().ask("GET", CONFIG_MAPS, &authorization("admin"), &[]).expect("an answer");
        assert_eq!(reply.status, 200);
        assert!(!watch.is_finished(), "the watch ended before the delay was over");
        let reply = watch.join().expect("no panic").expect("a watch that ends as it should");
        let events = reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for event in events {
            let event: Value = serde_json::from_slice(event).expect("whole events");
            assert_eq!(event["type"], "ADDED", "{event}");
        }
        ending.join().expect("it ends");
        writers.into_iter().flat_map(|writer| writer.join().expect("every request is answered")).collect()
    });
    side.start();
    let listed = side.must("GET", CONFIG_MAPS, "application/json", &Value::Null);
    let items = listed["items"].as_array().expect("a list");
    let names: std::collections::BTreeSet<&str> =
        items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
