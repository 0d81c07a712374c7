//! Credentials that change, and the ways to a server.

mod common;

use apiclient::{Client, Event, EventRecorder, Failure, Reference, Reporter};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use common::{Folder, Server, object, refusal, tls_server, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATH: &str = "/api/v1/nodes/a";

async fn get(client: &Client) -> Result<Value, Failure> {
    client.get(PATH).await
}

fn has(token: &str) -> impl Fn(&Request<Body>) -> bool + Clone {
    let want = format!("Bearer {token}");
    move |request| request.headers().get("authorization").is_some_and(|value| *value == want)
}

fn event(reason: &'static str) -> Event {
    Event {
        regarding: Reference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: "n".to_owned(),
            ..Reference::default()
        },
        reason: reason.into(),
        action: "Test".into(),
        note: String::new(),
        warning: false,
    }
}

fn recorder(client: Client) -> EventRecorder {
    let reporter = Reporter { controller: "test".to_owned(), instance: "test-n".to_owned() };
    let (recorder, work) = EventRecorder::new(client, reporter);
    tokio::spawn(work);
    recorder
}

#[tokio::test]
async fn an_event_refused_with_an_old_token_is_told_with_the_new_one() {
    let good = has("new");
    let server =
        Server::start("127.0.0.1:0", move |request, _| if good(request) { object() } else { refusal(401) })
            .await;
    let folder = Folder::new();
    // As an editor leaves it.
    folder.write("token", "old\n\n");
    let client = folder.client(&format!("server: 'http://{}'", server.address), "tokenFile: token");
    recorder(client).emit(event("One"));
    until("a refusal", async || server.count() >= 2).await;
    assert!(server.tokens().iter().all(|token| token == "Bearer old"), "{:?}", server.tokens());
    folder.write("token", "new\n");
    until("the event", async || server.tokens().last().is_some_and(|token| token == "Bearer new")).await;
}

#[tokio::test]
async fn events_are_told_again_after_429_and_5xx_and_after_a_refusal_the_next_is_told() {
    let server = Server::start("127.0.0.1:0", |_, before| match before {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "slow down").into_response(),
        1 => refusal(503),
        // It was taken by the attempt before, whose answer was lost.
        2 => {
            let body = r#"{"kind":"Status","code":409,"reason":"AlreadyExists"}"#;
            (StatusCode::CONFLICT, body).into_response()
        }
        3 => refusal(403),
        _ => object(),
    })
    .await;
    let recorder = recorder(Folder::new().client(&format!("server: 'http://{}'", server.address), ""));
    ["One", "Two", "Three"].into_iter().for_each(|reason| recorder.emit(event(reason)));
    until("the third", async || server.count() >= 5).await;
    assert_eq!(server.paths(), vec!["/apis/events.k8s.io/v1/namespaces/default/events"; 5]);
}

#[tokio::test]
async fn a_rotated_authority_and_client_certificate_are_read_again() {
    let folder = Folder::new();
    let rsa = "-newkey rsa:2048";
    folder.certificates("one", "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1");
    folder.certificates("two", rsa);
    folder.traditional("two");
    let first = tls_server(folder.0.path(), "one", Some("one")).await;
    let use_of = |name: &str| {
        folder.write("ca", format!("# somebody's words\n{}", folder.read(&format!("{name}-ca.crt"))));
        folder.write("cert", folder.read(&format!("{name}.crt")));
        folder.write("key", folder.read(&format!("{name}.key")));
    };
    use_of("one");
    let cluster =
        |server: &Server| format!("server: 'https://{}', certificate-authority: ca", server.address);
    let user = "client-certificate: cert, client-key: key";
    let client = folder.client(&cluster(&first), user);
    get(&client).await.expect("the first authority");

    // Another server, of another authority, that wants other certificates: the kubeconfig's address changes as well.
    let second = tls_server(folder.0.path(), "two", Some("two")).await;
    folder.access(&cluster(&second), user);
    drop(first);
    until("the new address", async || {
        get(&client).await.is_ok() || client.server().ends_with(&format!("{}/", second.address))
    })
    .await;
    let refused = get(&client).await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("certificate")), "{refused:?}");
    // Half replaced: a key that is not the certificate's costs nothing but time.
    folder.write("key", folder.read("two.key"));
    let _ = get(&client).await;
    use_of("two");
    until("the new authority", async || get(&client).await.is_ok()).await;
    assert!(second.count() > 0);
}

#[tokio::test]
async fn a_bundle_and_a_name_of_the_certificate_are_used() {
    let folder = Folder::new();
    folder.certificates("one", "-newkey rsa:2048");
    folder.certificates("two", "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1");
    folder.traditional("two");
    let server = tls_server(folder.0.path(), "two", None).await;
    folder.write("ca", format!("one:\n{}\n# and\n{}", folder.read("one-ca.crt"), folder.read("two-ca.crt")));
    let port = server.address.port();
    let cluster = format!("server: 'https://localhost:{port}', certificate-authority: ca");
    let wrong = get(&folder.client(&cluster, "")).await;
    assert!(wrong.as_ref().is_err_and(|error| error.to_string().contains("not valid for name")), "{wrong:?}");
    get(&folder.client(&format!("{cluster}, tls-server-name: known.example"), ""))
        .await
        .expect("the other name");
    let anything = format!("server: 'https://localhost:{port}', insecure-skip-tls-verify: true");
    get(&folder.client(&anything, "")).await.expect("any certificate");
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_answer_runs_out_or_is_refused() {
    let folder = Folder::new();
    let plugin = |token: &str, end: &str| {
        let answer = format!(
            r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{token}","expirationTimestamp":"{end}"}}}}"#
        );
        folder.write("answer", answer);
    };
    std::fs::write(folder.path("plugin"), "#!/bin/sh\necho x >> \"$1/runs\"\ncat \"$1/answer\"\n")
        .expect("write");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path("plugin"), permissions).expect("chmod");
    let runs = || std::fs::read_to_string(folder.path("runs")).unwrap_or_default().lines().count();
    let good = has("second");
    let server =
        Server::start("127.0.0.1:0", move |request, _| if good(request) { object() } else { refusal(401) })
            .await;
    plugin("first", "2999-01-01T00:00:00Z");
    let client = folder.client(
        &format!("server: 'http://{}'", server.address),
        &format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: ['{}'], interactiveMode: IfAvailable}}",
            folder.0.path().display()
        ),
    );
    assert!(get(&client).await.is_err_and(|failure| failure.code() == 401));
    assert_eq!(runs(), 1, "what was given just now is not asked for again");
    plugin("second", "2000-01-01T00:00:00Z");
    until("the second token", async || get(&client).await.is_ok()).await;
    let before = runs();
    get(&client).await.expect("the second token");
    assert_eq!(runs(), before + 1, "it has run out");
    plugin("second", "2999-01-01T00:00:00Z");
    for _ in 0..3 {
        get(&client).await.expect("the second token");
    }
    assert_eq!(runs(), before + 2);
}

/// Notes the first bytes of each connection, and joins it to `to`.
async fn proxy(to: std::net::SocketAddr, socks: bool) -> (std::net::SocketAddr, common::Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = common::Asked::default();
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut part = vec![0; 4096];
                if socks {
                    let mut heard = Vec::new();
                    // Greeting, user and password, request.
                    for answer in [&[5, 2][..], &[1, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]] {
                        let size = client.read(&mut part).await.unwrap_or(0);
                        heard.extend_from_slice(&part[..size]);
                        let _ = client.write_all(answer).await;
                    }
                    let heard = String::from_utf8_lossy(&heard).into_owned();
                    noted.lock().expect("no panic inside").push((heard, String::new(), String::new()));
                } else {
                    let size = client.read(&mut part).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&part[..size]).into_owned();
                    let connects = head.starts_with("CONNECT");
                    noted.lock().expect("no panic inside").push((head.clone(), String::new(), String::new()));
                    if !connects {
                        let mut server = TcpStream::connect(to).await.expect("the server");
                        let _ = server.write_all(head.as_bytes()).await;
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        return;
                    }
                    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                }
                let mut server = TcpStream::connect(to).await.expect("the server");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn the_kubeconfigs_proxy_is_used_for_https_http_and_by_socks() {
    let folder = Folder::new();
    folder.certificates("one", "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1");
    let secure = tls_server(folder.0.path(), "one", None).await;
    let plain = Server::start("127.0.0.1:0", |_, _| object()).await;
    let heard = |asked: &common::Asked| {
        asked.lock().expect("no panic inside").iter().map(|(head, _, _)| head.clone()).collect::<Vec<_>>()
    };
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("me:p@ss"));
    // Nobody resolves this name but the proxy.
    let https = "server: 'https://known.example:6443', certificate-authority: one-ca.crt";

    let (address, asked) = proxy(secure.address, false).await;
    get(&folder.client(&format!("{https}, proxy-url: 'http://me:p%40ss@{address}'"), ""))
        .await
        .expect("by CONNECT");
    let head = heard(&asked).remove(0).to_lowercase();
    assert!(head.starts_with("connect known.example:6443 http/1.1\r\n"), "{head}");
    assert!(head.contains(&basic.to_lowercase()), "{head}");

    let (address, asked) = proxy(plain.address, false).await;
    get(&folder.client(
        &format!("server: 'http://known.example:8080', proxy-url: 'http://me:p%40ss@{address}'"),
        "token: t",
    ))
    .await
    .expect("by a whole URL");
    let head = heard(&asked).remove(0);
    assert!(head.starts_with(&format!("GET http://known.example:8080{PATH} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains(&basic) && head.contains("Bearer t"), "{head}");

    let (address, asked) = proxy(secure.address, true).await;
    get(&folder.client(&format!("{https}, proxy-url: 'socks5://me:p%40ss@{address}'"), ""))
        .await
        .expect("by SOCKS");
    let head = heard(&asked).remove(0);
    assert!(head.contains("known.example") && head.contains("p@ss"), "{head:?}");

    let gone = get(&folder.client(&format!("{https}, proxy-url: 'http://me:secret@127.0.0.1:1'"), "")).await;
    let gone = gone.expect_err("nobody there").to_string();
    assert!(gone.contains("through the proxy http://127.0.0.1:1: ") && !gone.contains("secret"), "{gone}");
}

#[tokio::test]
async fn a_server_may_have_a_path_and_an_ipv6_literal() {
    let server = Server::start("[::1]:0", |_, _| object()).await;
    let client = Folder::new().client(&format!("server: 'http://{}/k8s/clusters/c-1/'", server.address), "");
    get(&client).await.expect("an object");
    assert_eq!(server.paths(), [format!("/k8s/clusters/c-1{PATH}")]);
}
