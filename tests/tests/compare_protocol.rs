//! HTTP beside kube-apiserver: the same requests by HTTP/1.1 and HTTP/2, by clients that unpack gzip and others, are answered
//! the same.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::io::{Read, Write};
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tests::apiserver::difference::compare;
use tests::apiserver::http::Reply;
use tests::apiserver::session::Session;
use tests::apiserver::{Pair, Side, authorization, normal};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LARGE: &str = "/api/v1/namespaces/large/configmaps";
/// How long a server may be quiet after its last byte.
const QUIET: Duration = Duration::from_secs(5);

fn headers(user: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    authorization(user).into_iter().chain(more).collect()
}

/// Small and large objects.
fn fill(side: &Side) {
    let create = |path: &str, body: Value| side.must("POST", path, "application/json", &body);
    create("/api/v1/namespaces", json!({"metadata": {"name": "large"}}));
    create(CONFIG_MAPS, json!({"metadata": {"name": "small"}, "data": {"a": "b"}}));
    // On both sides of the 128 KiB from which answers are packed, alone and as lists.
    for (name, size) in [("below", 129_000), ("above", 132_000)] {
        let data = json!({"a": "0123456789abcdef".repeat(size / 16)});
        create(LARGE, json!({"metadata": {"name": name}, "data": data}));
    }
}

/// As it compares: what came packed is unpacked, and said to have been.
fn shown(side: &Side, method: &str, mut reply: Reply) -> Value {
    if reply.header("content-encoding") == "gzip" && method != "HEAD" {
        let mut body = Vec::new();
        GzDecoder::new(reply.body.as_slice()).read_to_end(&mut body).expect("gzip");
        assert!(reply.body.len() < body.len());
        reply.body = body;
    } else if method != "HEAD"
        && let Some(length) = reply.headers.get("content-length")
    {
        assert_eq!(length, &reply.body.len().to_string());
    }
    normal::reply(&reply, side.address)
}

/// One request, in every way to ask it.
struct Case {
    method: &'static str,
    path: String,
    user: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
}

fn case(method: &'static str, path: &str) -> Case {
    Case { method, path: path.to_owned(), user: "admin", headers: Vec::new(), body: "" }
}

fn cases() -> Vec<Case> {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let with =
        |headers: &[(&'static str, &'static str)], case: Case| Case { headers: headers.to_vec(), ..case };
    let by = |user, case: Case| Case { user, ..case };
    let sends =
        |body: &'static str, case: Case| with(&[("Content-Type", "application/json")], Case { body, ..case });
    let mut all = vec![
        case("GET", &format!("{CONFIG_MAPS}/small")),
        case("GET", &format!("{CONFIG_MAPS}/none")),
        case("GET", &format!("{CONFIG_MAPS}?limit=1")),
        case("GET", &format!("{LARGE}/below")),
        case("GET", &format!("{LARGE}/above")),
        case("GET", LARGE),
        case("GET", &format!("{LARGE}?limit=1")),
        with(&[("Accept", PROTOBUF)], case("GET", LARGE)),
        with(&[("Accept", TABLE)], case("GET", LARGE)),
        with(&[("Accept", "application/yaml")], case("GET", LARGE)),
        case("GET", &format!("{LARGE}?watch=true&timeoutSeconds=1")),
        with(
            &[("Accept", "application/json;stream=watch")],
            case(
                "GET",
                &format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dsmall"),
            ),
        ),
        by("nobody", case("GET", CONFIG_MAPS)),
        by("alice", case("GET", CONFIG_MAPS)),
        by("nobody", with(&[("Authorization", "Bearer of-nobody")], case("GET", CONFIG_MAPS))),
        sends("{", case("POST", CONFIG_MAPS)),
        sends("{\"metadata\":{\"name\":\"small\"}}", case("POST", CONFIG_MAPS)),
        sends("{\"metadata\":{\"name\":\"A\"}}", case("POST", CONFIG_MAPS)),
        case("GET", "/livez"),
        case("GET", "/none"),
        case("GET", "/apis/none/v1/things"),
        case("GET", "/api/v1/things"),
    ];
    for method in ["HEAD", "OPTIONS", "TRACE", "QUERY", "POST"] {
        for path in
            [&format!("{CONFIG_MAPS}/small"), CONFIG_MAPS, "/livez", "/version", "/none", "/api/v1", "/apis"]
        {
            all.push(case(method, path));
        }
    }
    for accepted in [
        "gzip",
        "gzip, deflate",
        "deflate, gzip;q=1.0, *;q=0.5",
        "gzip;q=0",
        "identity",
        "*",
        "GZIP",
        "x-gzip",
        " gzip ",
        "br,gzip",
    ] {
        for path in [&format!("{LARGE}/above"), &format!("{LARGE}/below"), LARGE] {
            all.push(with(&[("Accept-Encoding", accepted)], case("GET", path)));
        }
    }
    all.push(with(&[("Accept-Encoding", "gzip"), ("Accept", PROTOBUF)], case("GET", LARGE)));
    all.push(with(
        &[("Accept-Encoding", "gzip")],
        case("GET", &format!("{LARGE}?watch=true&timeoutSeconds=1")),
    ));
    all
}

#[test]
fn every_version_of_http_packed_or_not_is_answered_as_by_the_original() {
    let pair = Pair::up(&[]);
    fill(&pair.original);
    fill(&pair.ours);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut wrong = Vec::new();
    let sides = [&pair.original, &pair.ours];
    let mut clients = sides.map(Side::client);
    for Case { method, path, user, headers: more, body } in cases() {
        let asked = headers(user, &more);
        let mut answers = Vec::new();
        for nth in 0..2 {
            let one = clients[nth].ask(method, &path, &asked, body.as_bytes());
            // A connection each: the original ends those of strangers.
            let two = runtime.block_on(async {
                Session::open(&sides[nth].client()).await?.ask(method, &path, &asked, body.as_bytes()).await
            });
            for (version, reply) in [("HTTP/1.1", one), ("HTTP/2", two)] {
                let shown = reply.map_or_else(
                    |error| json!({"error": error.to_string()}),
                    |reply| shown(sides[nth], method, reply),
                );
                answers.push((version, shown));
            }
        }
        let [first, second, ours @ ..] = answers.as_slice() else { panic!("four answers") };
        for ((version, original), (_, ours)) in [first, second].into_iter().zip(ours) {
            for difference in compare(original, ours) {
                // Of columns, in our own words.
                if difference.place.ends_with("/description") {
                    continue;
                }
                wrong.push(format!("{version} {method} {path} {more:?} as {user}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What came back for bytes that are sent as they are: the head's lines that are no server's own, and the rest.
fn raw(side: &Side, parts: &[&str]) -> Value {
    let mut stream = side.client().connect().expect("a connection");
    stream.get_ref().sock.set_read_timeout(Some(QUIET)).expect("a limit");
    let (mut all, mut heads) = (Vec::new(), Vec::new());
    for part in parts {
        stream
            .get_mut()
            .write_all(part.as_bytes())
            .and_then(|()| stream.get_mut().flush())
            .expect("it is sent");
        // Until there is a head: then the next part is sent.
        let mut bytes = [0; 16 << 10];
        let seen = all.len();
        while !String::from_utf8_lossy(&all[seen..]).contains("\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(read) => all.extend_from_slice(&bytes[..read]),
            }
        }
    }
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all).into_owned();
    for line in text.lines() {
        let lower = line.to_ascii_lowercase();
        if line.starts_with("HTTP/") || lower.starts_with("connection:") || lower.starts_with("keep-alive:") {
            heads.push(if line.starts_with("HTTP/") { line.chars().take(12).collect() } else { lower });
        }
    }
    json!(heads)
}

#[test]
fn connections_are_kept_closed_and_continued_as_by_the_original() {
    let pair = Pair::up(&[]);
    let token = &authorization("admin")[0].1;
    let get = |version: &str, more: &str| {
        format!("GET /api/v1/namespaces/default {version}\r\nHost: x\r\nAuthorization: {token}\r\n{more}\r\n")
    };
    let post = |name: &str, user: &str, more: &str| {
        let body = format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}");
        let length = body.len();
        let head = format!(
            "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: {user}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n{more}\r\n"
        );
        (head, body)
    };
    let close = "Connection: close\r\n";
    let expected = post("expected", token, "Expect: 100-continue\r\n");
    let refused = post("refused", "Bearer of-nobody", "Expect: 100-continue\r\n");
    let odd = post("odd", token, "Expect: 200-ok\r\n");
    let whole = post("whole", token, "");
    let mut wrong = Vec::new();
    for (what, parts) in [
        ("two requests, one after the other", vec![get("HTTP/1.1", ""), get("HTTP/1.1", close)]),
        ("two requests at once", vec![get("HTTP/1.1", "") + &get("HTTP/1.1", close)]),
        ("HTTP/1.0", vec![get("HTTP/1.0", "")]),
        ("HTTP/1.0 that is kept", vec![get("HTTP/1.0", "Connection: keep-alive\r\n"), get("HTTP/1.0", "")]),
        ("a body that is asked for", vec![expected.0, expected.1]),
        ("a body that nobody wants", vec![refused.0]),
        ("another expectation", vec![odd.0 + &odd.1]),
        ("a body without being asked", vec![whole.0 + &whole.1]),
        ("no host", vec!["GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()]),
        (
            "two hosts",
            vec!["GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned()],
        ),
        ("a whole address", vec![format!("GET https://x/livez HTTP/1.1\r\nHost: x\r\n{close}\r\n")]),
        ("no path", vec![format!("GET * HTTP/1.1\r\nHost: x\r\n{close}\r\n")]),
    ] {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (original, ours) = (raw(&pair.original, &parts), raw(&pair.ours, &parts));
        if original != ours {
            wrong.push(format!("{what}: the original {original}, ours {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
