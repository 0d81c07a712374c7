//! What no client should send, sent to a server that others use: each gets a clear refusal, memory stays bounded, and
//! everybody else is served.
//!
//! Needs the etcd of the originals in WEFT_PEERS (or peers/bin).

use std::process::Command;
use std::time::Duration;

use apiclient_core::wire::Status;
use serde_json::{Value, json};
use tests::apiserver::http::Client;
use tests::apiserver::{Side, Which, authorization};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// For what a server answers at once, on a busy machine.
const QUIET: Duration = Duration::from_secs(20);

fn up() -> Side {
    let side = Side::new(Which::Ours, &[]);
    side.start();
    side
}

fn headers(user: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    authorization(user).into_iter().chain(more).collect()
}

/// Most memory that the server has had, in MiB.
fn peak(side: &Side) -> u64 {
    let pid = side.pid().expect("it lives");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

fn serves(side: &Side) {
    let reply = side.client().ask("GET", CONFIG_MAPS, &authorization("admin"), &[]).expect("an answer");
    assert_eq!(reply.status, 200);
}

#[test]
fn whatever_a_body_is_the_answer_is_a_status_and_memory_stays_bounded() {
    let side = up();
    let before = peak(&side);
    let (json, yaml, protobuf) =
        ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf");
    let object = |data: &str| format!(r#"{{"metadata":{{"name":"a"}},"data":{data}}}"#).into_bytes();
    let level = |open: &str, close: &str| open.repeat(500_000) + &close.repeat(500_000);
    let bomb = (0..30).fold(String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n"), |text, nth| {
        let next = nth + 1;
        let many = vec![format!("*a{nth}"); 9].join(", ");
        text + &format!("a{next}: &a{next} [{many}]\n")
    });
    // A field that says it is 2 GiB long.
    let long = [b"k8s\0\x0a".as_slice(), &[0xff, 0xff, 0xff, 0xff, 0x07], b"x"].concat();
    let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("nothing", json, Vec::new(), 400),
        ("truncated", json, br#"{"metadata":{"name":"#.to_vec(), 400),
        ("no text", json, vec![0xff; 1000], 400),
        ("zeros", json, vec![0; 1000], 400),
        ("deep lists", json, object(&level("[", "]")), 400),
        ("deep objects", json, object(&level("{\"a\":", "}")), 400),
        ("a number of a megabyte", json, object(&format!("{{\"a\":{}}}", "9".repeat(1 << 20))), 400),
        ("a huge exponent", json, object(r#"{"a":1e999999999}"#), 400),
        ("a wrong type", json, object(r#"["a"]"#), 400),
        ("too large", json, object(&format!(r#"{{"a":"{}"}}"#, "x".repeat(4 << 20))), 413),
        (
            "larger than a ConfigMap may be",
            json,
            object(&format!(r#"{{"a":"{}"}}"#, "x".repeat(2 << 20))),
            422,
        ),
        ("truncated YAML", yaml, b"metadata: {name: [".to_vec(), 400),
        ("aliases of aliases", yaml, bomb.into_bytes(), 400),
        ("deep maps of YAML", yaml, "{a: ".repeat(500_000).into_bytes(), 400),
        ("whole maps of YAML", yaml, level("{a: ", "}").into_bytes(), 400),
        ("deep YAML", yaml, "[".repeat(1 << 20).into_bytes(), 400),
        ("truncated protobuf", protobuf, b"k8s\0\x0a\x10\x0a".to_vec(), 400),
        ("a length beyond the end", protobuf, long, 400),
        ("protobuf without its prefix", protobuf, vec![0x0a; 1000], 400),
        ("another type", "text/plain", b"x".to_vec(), 415),
    ];
    for (what, kind, body, want) in cases {
        let reply =
            side.client().ask("POST", CONFIG_MAPS, &headers("admin", &[("Content-Type", kind)]), &body);
        let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, want, "{what}: {:.300}", text);
        let status: Status =
            serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(u32::from(status.code), u32::from(want), "{what}");
        assert!(
            !status.message.is_empty() && reply.body.len() < 64 << 10,
            "{what}: {} bytes",
            reply.body.len()
        );
    }
    let after = peak(&side);
    assert!(after < before + 128, "{before} MiB became {after}");
    serves(&side);
}

#[test]
fn patches_that_grow_or_nest_without_end_are_refused() {
    let side = up();
    let body = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(200_000)}});
    side.must("POST", CONFIG_MAPS, "application/json", &body);
    let before = peak(&side);
    let path = format!("{CONFIG_MAPS}/a");
    let doubling: Vec<Value> =
        (0..40).map(|nth| json!({"op": "copy", "from": "/data", "path": format!("/data/x{nth}")})).collect();
    let many: Vec<Value> = vec![json!({"op": "test", "path": "/metadata/name", "value": "a"}); 20_000];
    let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    for (what, kind, body, wanted) in [
        (
            "an object that doubles forty times",
            "application/json-patch+json",
            json!(doubling).to_string(),
            400..=422,
        ),
        ("twenty thousand operations", "application/json-patch+json", json!(many).to_string(), 413..=413),
        ("a deep merge", "application/merge-patch+json", deep.clone(), 400..=422),
        ("a deep strategic merge", "application/strategic-merge-patch+json", deep.clone(), 400..=422),
        ("a deep apply", "application/apply-patch+yaml", deep, 400..=422),
    ] {
        let path = match kind {
            "application/apply-patch+yaml" => format!("{path}?fieldManager=x"),
            _ => path.clone(),
        };
        let reply =
            side.client().ask("PATCH", &path, &headers("admin", &[("Content-Type", kind)]), body.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{what}: {error}"));
        let text = String::from_utf8_lossy(&reply.body);
        assert!(wanted.contains(&reply.status), "{what}: {}: {:.300}", reply.status, text);
    }
    let after = peak(&side);
    assert!(after < before + 256, "{before} MiB became {after}");
    serves(&side);
}

#[test]
fn no_trick_with_a_path_leads_past_authorization() {
    let side = up();
    let secrets = "/api/v1/namespaces/default/secrets";
    side.must(
        "POST",
        secrets,
        "application/json",
        &json!({"metadata": {"name": "s"}, "stringData": {"a": "hidden"}}),
    );
    let (mut client, alice) = (side.client(), authorization("alice"));
    assert_eq!(client.ask("GET", "/healthz", &alice, &[]).expect("an answer").status, 200);
    for path in [
        secrets,
        "/healthz/../api/v1/namespaces/default/secrets/s",
        "/healthz/%2e%2e/api/v1/namespaces/default/secrets/s",
        "/healthz%2f..%2fapi/v1/namespaces/default/secrets/s",
        "//api/v1/namespaces/default/secrets/s",
        "/api//v1/namespaces/default/secrets/s",
        "/api/v1//namespaces/default/secrets/s",
        "/api/v1/namespaces//secrets",
        "/api/v1/namespaces/default//secrets/s",
        "/api/v1/namespaces/default/secrets//s",
        "/api/v1/namespaces/default/secrets/s/",
        "/api/v1/namespaces/default/secrets/./s",
        "/api/v1/namespaces/default/configmaps/../secrets/s",
        "/api/v1/namespaces/default/configmaps/..%2fsecrets%2fs",
        "/api/v1/namespaces/default%2fsecrets/s",
        "/api/v1/namespaces/x/../default/secrets/s",
        "/api/v1/namespaces/default/secrets/s%00",
        "/api/v1/namespaces/default/secrets/%73",
        "/api/v1/watch/namespaces/default/secrets/s",
        "/api/v1/proxy/namespaces/default/secrets/s",
        "/apis//v1/namespaces/default/secrets/s",
        "/API/v1/namespaces/default/secrets/s",
        "/api/v1/namespaces/default/secrets/s;/healthz",
        "/api/v1/namespaces/default/secrets/s?path=/healthz",
        "/openid/v1/../../api/v1/namespaces/default/secrets/s",
        "/%",
        "/api/v1/namespaces/default/secrets/%zz",
        "/\u{7f}",
    ] {
        for user in [&alice, &Vec::new()] {
            let reply = client.ask("GET", path, user, &[]).unwrap_or_else(|error| panic!("{path}: {error}"));
            let text = String::from_utf8_lossy(&reply.body);
            assert!((400..500).contains(&reply.status), "{path}: {}: {text}", reply.status);
            assert!(!text.contains("aGlkZGVu"), "{path}: {text}");
        }
    }
    // A path of etcd's is no path of ours, whoever asks.
    let out = format!("{secrets}/..%2f..%2f..%2fnamespaces%2fdefault");
    let reply = client.ask("GET", &out, &authorization("admin"), &[]).expect("an answer");
    assert!((400..500).contains(&reply.status), "{}", reply.status);
}

#[test]
fn two_readings_of_one_request_are_refused_and_nothing_is_smuggled() {
    let side = up();
    let client = side.client();
    let token = &authorization("admin")[0].1;
    let inner =
        format!("GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n");
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n";
    let length = inner.len();
    for (what, request) in [
        (
            "a length and chunks",
            format!("{head}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        ),
        ("two lengths", format!("{head}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}")),
        ("two lengths in one", format!("{head}Content-Length: 0, {length}\r\n\r\n{inner}")),
        ("a signed length", format!("{head}Content-Length: +0\r\n\r\n{inner}")),
        ("a space before the colon", format!("{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("an unknown coding", format!("{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}")),
        (
            "chunked, and then another",
            format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        ),
        ("a folded header", format!("{head}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("a huge chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{inner}")),
        ("a negative chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\n-1\r\n{inner}")),
        ("no version", format!("GET /healthz\r\n\r\n{inner}")),
        ("another protocol", "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03".repeat(20)),
    ] {
        let answer = client.send_raw(request.as_bytes(), QUIET).expect("a connection");
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("\"kind\":\"Namespace\""), "{what}: what was smuggled is answered: {text}");
        let first = text.lines().next().unwrap_or_default();
        let refused = first.is_empty()
            || ["HTTP/1.1 400", "HTTP/1.1 401", "HTTP/1.1 403"].iter().any(|code| first.starts_with(code));
        assert!(refused, "{what}: {first}");
    }
    serves(&side);
}

#[test]
fn floods_of_headers_are_refused() {
    let side = up();
    let before = peak(&side);
    let client = side.client();
    let many: String = (0..20_000).map(|nth| format!("X-{nth}: y\r\n")).collect();
    for (what, headers) in [
        ("many headers", many),
        ("a header of a megabyte", format!("X: {}\r\n", "y".repeat(1 << 20))),
        ("a token of a megabyte", format!("Authorization: Bearer {}\r\n", "y".repeat(1 << 20))),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let answer = client.send_raw(request.as_bytes(), QUIET).expect("a connection");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{what}: {:.200}", text);
    }
    let long = format!("/api/v1/namespaces/{}", "x".repeat(60_000));
    let reply = side.client().ask("GET", &long, &authorization("admin"), &[]).expect("an answer");
    assert!((400..500).contains(&reply.status), "{}", reply.status);
    let after = peak(&side);
    assert!(after < before + 64, "{before} MiB became {after}");
    serves(&side);
}

#[test]
fn who_holds_connections_and_asks_nothing_keeps_nobody_out() {
    let side = up();
    let pid = side.pid().expect("it lives");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count();
    // Room for some twenty connections: the next ones find no descriptor.
    let limit = format!("--nofile={}", open + 20);
    let done =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().expect("prlimit runs");
    assert!(done.success());
    let mut user = side.client();
    let config_map = json!({"metadata": {"name": "a"}}).to_string();
    let json = headers("admin", &[("Content-Type", "application/json")]);
    let made = user.ask("POST", CONFIG_MAPS, &json, config_map.as_bytes()).expect("an answer");
    assert_eq!(made.status, 201);
    let silent: Vec<_> = (0..200).map(|_| side.client().connect()).collect();
    let raw: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(side.address)).collect();
    for _ in 0..5 {
        let reply = side.client().ask("GET", CONFIG_MAPS, &authorization("admin"), &[]).expect("an answer");
        assert_eq!(reply.status, 200);
    }
    drop((silent, raw));
    serves(&side);
}

#[test]
fn tokens_that_were_tampered_with_are_not_believed() {
    let side = up();
    let path = "/api/v1/namespaces/default/serviceaccounts";
    side.must("POST", path, "application/json", &json!({"metadata": {"name": "app"}}));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = side.must("POST", &format!("{path}/app/token"), "application/json", &request);
    let token = made["status"]["token"].as_str().expect("a token").to_owned();
    let ask = |client: &mut Client, token: &str| {
        let headers = [("Authorization".to_owned(), format!("Bearer {token}"))];
        let review =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let reply = client.ask(
            "POST",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &[headers.as_slice(), &[("Content-Type".to_owned(), "application/json".to_owned())]].concat(),
            review.as_bytes(),
        );
        reply.expect("an answer")
    };
    let mut client = side.client();
    let good = ask(&mut client, &token);
    assert_eq!(good.status, 201);
    assert!(String::from_utf8_lossy(&good.body).contains("system:serviceaccount:default:app"));
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("three parts") };
    let flipped = |text: &str, at: usize| {
        let letter = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{letter}{}", &text[..at], &text[at + 1..])
    };
    // {"alg":"none"} and {"alg":"HS256"}
    for forged in [
        format!("{head}.{}.{signature}", flipped(claims, 20)),
        format!("{head}.{claims}.{}", flipped(signature, 10)),
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{signature}"),
        format!("{head}.{claims}.{signature}.{signature}"),
        format!("..{}", "A".repeat(30_000)),
        "token-of-the-admi".to_owned(),
        "TOKEN-OF-THE-ADMIN".to_owned(),
    ] {
        let reply = ask(&mut client, &forged);
        assert_eq!(reply.status, 401, "{forged:.100}: {}", String::from_utf8_lossy(&reply.body));
        let status: Status = serde_json::from_slice(&reply.body).expect("a status");
        assert_eq!(status.reason.as_str(), "Unauthorized");
    }
}
