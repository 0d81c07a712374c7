//! The server from outside, through a plain socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use telemetry::http::{
    Answer, CertificateDer, Check, Checked, Connections, Guard, Health, Request, Routes, Server,
    ServerConfig, StatusCode, Texts, WhenTaken, bind, serve, serve_guarded,
};
use telemetry::metrics::Format;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TEXTS: Texts = Texts {
    alive: "flanneld is running",
    ready: "flanneld is ready",
    not_ready: "flanneld is not ready yet",
};

const ANYWHERE: &str = "127.0.0.1:0";

/// More than any test needs.
const DEADLINE: Duration = Duration::from_secs(60);

fn anywhere() -> SocketAddr {
    ANYWHERE.parse().expect("an address")
}

fn health() -> Health {
    Health::new(TEXTS, |_| Ok(String::new()))
}

async fn started(routes: Routes) -> (Server, SocketAddr) {
    let server = serve("health", anywhere(), routes, WhenTaken::Fail).await.expect("a server");
    let at = server.address().expect("it listens");
    (server, at)
}

/// The whole answer to a request as it is written: status, head, body.
async fn say(address: SocketAddr, request: &str) -> (u16, String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    say(address, &format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn health_and_readiness_answer_with_the_daemons_own_texts() {
    let health = health();
    let readiness = health.readiness();
    let (_server, at) = started(health.routes()).await;

    let (status, head, body) = ask(at, "GET", "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "flanneld is running"));
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    let (status, _, body) = ask(at, "GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "flanneld is not ready yet"));

    assert!(readiness.set(true) && !readiness.set(true));
    let (status, _, body) = ask(at, "GET", "/readyz?verbose").await;
    assert_eq!((status, body.as_str()), (200, "flanneld is ready"));
    // The original answers any method.
    assert_eq!(ask(at, "POST", "/healthz").await.0, 200);

    readiness.set(false);
    assert_eq!(ask(at, "GET", "/readyz").await.0, 503);
    assert_eq!(ask(at, "GET", "/nothing").await.0, 404);
}

#[tokio::test]
async fn metrics_are_read_at_every_scrape() {
    let scrapes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&scrapes);
    let health =
        Health::new(TEXTS, move |_| Ok(format!("weft_scrapes {}\n", seen.fetch_add(1, Ordering::Relaxed))));
    let (_server, at) = started(health.routes()).await;
    assert_eq!(scrapes.load(Ordering::Relaxed), 0);
    for want in ["weft_scrapes 0\n", "weft_scrapes 1\n"] {
        let (status, _, body) = ask(at, "GET", "/metrics").await;
        assert_eq!((status, body.as_str()), (200, want));
    }
    let (status, head, _) = ask(at, "POST", "/metrics").await;
    assert!(status == 405 && head.contains("allow: get, head"), "{status} {head}");
    assert_eq!(scrapes.load(Ordering::Relaxed), 2);
    let (status, head, body) = ask(at, "HEAD", "/metrics").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 15"), "{head}");
}

#[tokio::test]
async fn metrics_come_as_plain_text_unless_the_client_asks_for_openmetrics() {
    let text = "# TYPE weft_x counter\nweft_x_total 1\n# EOF\n";
    let (_server, at) = started(Health::new(TEXTS, move |_| Ok(text.to_owned())).routes()).await;
    for (accept, format, want) in [
        ("", Format::Text, "# TYPE weft_x_total counter\nweft_x_total 1\n"),
        ("Accept: */*\r\n", Format::Text, "# TYPE weft_x_total counter\nweft_x_total 1\n"),
        ("Accept: application/openmetrics-text; version=1.0.0\r\n", Format::OpenMetrics, text),
        ("Accept: text/plain;q=0.1\r\nAccept: application/openmetrics-text\r\n", Format::OpenMetrics, text),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: here\r\n{accept}Connection: close\r\n\r\n");
        let (status, head, body) = say(at, &request).await;
        assert_eq!((status, body.as_str()), (200, want), "{accept}");
        assert!(head.contains(&format!("content-type: {}", format.content_type())), "{accept}: {head}");
        assert!(head.contains("vary: accept"), "{head}");
    }
}

#[tokio::test]
async fn metrics_that_fail_or_panic_leave_the_server_alive() {
    for broken in [
        Health::new(TEXTS, |_| Err(std::fmt::Error)),
        Health::new(TEXTS, |_| panic!("this panic is part of the test")),
    ] {
        let (_server, at) = started(broken.routes()).await;
        assert_eq!(ask(at, "GET", "/metrics").await.0, 500);
        assert_eq!(ask(at, "GET", "/healthz").await.0, 200);
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let holder = TcpListener::bind(ANYWHERE).await.expect("a port");
    let taken = holder.local_addr().expect("its address");
    let fail = async |address| {
        let served = serve("health and metrics", address, health().routes(), WhenTaken::Fail).await;
        served.expect_err("it cannot listen").to_string()
    };
    let text = fail(taken).await;
    assert!(
        text.contains(&taken.to_string())
            && text.contains("ss -ltnp")
            && text.contains("for health and metrics"),
        "{text}"
    );

    // TEST-NET-1 (RFC 5737) is on no interface.
    let text = fail("192.0.2.1:0".parse().expect("an address")).await;
    assert!(text.contains("192.0.2.1:0") && text.contains("no interface here has this address"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_tried_again_until_it_is_free() {
    let holder = TcpListener::bind(ANYWHERE).await.expect("a port");
    let taken = holder.local_addr().expect("its address");
    let mut server =
        serve("health", taken, health().routes(), WhenTaken::Retry).await.expect("it goes on trying");
    assert_eq!(server.address(), None);
    drop(holder);
    let at = tokio::time::timeout(DEADLINE, server.listening()).await.expect("in time").expect("it listens");
    assert_eq!(ask(at, "GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn stop_frees_the_port_although_a_client_keeps_its_connection() {
    let (server, at) = started(health().routes()).await;
    let mut idle = TcpStream::connect(at).await.expect("connected");
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("asked");
    let mut first = [0; 1];
    idle.read_exact(&mut first).await.expect("an answer began");
    // This one never asks anything.
    let _silent = TcpStream::connect(at).await.expect("connected");

    server.stop().await;
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn dropping_the_server_stops_it() {
    let (server, at) = started(health().routes()).await;
    drop(server);
    let refused = async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("nobody listens any more");
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_no_probe_out() {
    let listener = bind(anywhere(), false).expect("a port");
    let at = listener.local_addr().expect("an address");
    let connections = Connections::at_most(8);
    let _server = Server::on(listener, health().routes(), connections.clone());
    let mut idle = Vec::new();
    for nth in 0..1_000 {
        let mut stream = TcpStream::connect(at).await.expect("connected");
        // Some begin a request and never end it.
        if nth % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.expect("written");
        }
        idle.push(stream);
        if nth % 100 == 0 {
            assert_eq!(ask(at, "GET", "/healthz").await.0, 200, "after {nth}");
        }
        assert!(connections.count() <= 8, "{} connections", connections.count());
    }
    assert_eq!(ask(at, "GET", "/healthz").await.0, 200);
    assert!(connections.count() <= 8, "{} connections", connections.count());
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let (_server, at) = started(health().routes()).await;
    let mut silent = TcpStream::connect(at).await.expect("connected");
    let mut slow = TcpStream::connect(at).await.expect("connected");
    let trickle = async {
        // A byte now and then does not keep it open.
        for byte in b"GET /healthz HTTP/1.1\r\nHost: here-and-on-and-on-and-on-and-on-and-on".iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut rest = Vec::new();
    let both = async { tokio::join!(silent.read_to_end(&mut rest), trickle).0 };
    let ended = tokio::time::timeout(DEADLINE, both).await.expect("both are closed");
    assert_eq!(ended.expect("closed without an error"), 0);
}

#[tokio::test]
async fn what_is_no_request_or_too_long_a_one_is_refused() {
    let (_server, at) = started(health().routes()).await;
    let long = "x".repeat(100_000);
    assert_eq!(say(at, &format!("GET /{long} HTTP/1.1\r\nHost: here\r\n\r\n")).await.0 / 100, 4);
    assert_eq!(say(at, "nonsense\r\n\r\n").await.0, 400);
    assert_eq!(ask(at, "GET", "/healthz").await.0, 200);
    // A body is not read.
    let request =
        "POST /healthz HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde";
    assert_eq!(say(at, request).await.0, 200);
}

#[tokio::test]
async fn a_client_of_this_host_is_told_from_others() {
    let routes = Routes::new()
        .fallback(|request| Answer::text(StatusCode::OK, request.is_from_this_host().to_string()));
    let server = serve("health", "0.0.0.0:0".parse().expect("an address"), routes, WhenTaken::Fail).await;
    let server = server.expect("a server");
    let port = server.address().expect("it listens").port();
    assert_eq!(ask(([127, 0, 0, 1], port).into(), "GET", "/").await.2, "true");
    assert_eq!(ask(([127, 9, 9, 9], port).into(), "GET", "/").await.2, "true");
}

/// Lets nobody see `/metrics`.
struct NoMetrics;

impl Check for NoMetrics {
    fn check<'a>(&'a self, request: &'a Request) -> Checked<'a> {
        let refused = request.path == "/metrics";
        Box::pin(async move {
            // As one that has to ask somebody.
            tokio::task::yield_now().await;
            if refused { Err(Answer::text(StatusCode::FORBIDDEN, "not you\n")) } else { Ok(()) }
        })
    }
}

#[tokio::test]
async fn a_guarded_listener_answers_those_whom_its_check_lets_in() {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let provider = Arc::new(default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["here".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a key");
    let guard = Guard { tls: Arc::new(tls), check: Arc::new(NoMetrics) };
    let server = serve_guarded("health", anywhere(), health().routes(), WhenTaken::Fail, guard).await;
    let server = server.expect("a server");
    let at = server.address().expect("it listens");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("an authority");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let ask = async |path: &str| {
        let stream = TcpStream::connect(at).await.expect("connected");
        let mut stream = connector.connect("here".try_into().expect("a name"), stream).await.expect("TLS");
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        // It may close without TLS's own good-bye.
        let _ = stream.read_to_string(&mut answer).await;
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("/healthz").await, "HTTP/1.1 200 OK");
    assert_eq!(ask("/metrics").await, "HTTP/1.1 403 Forbidden");
    let (status, _, body) = say(at, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (400, "Client sent an HTTP request to an HTTPS server.\n"));
    // Somebody who holds a connection without a word does not keep the end waiting.
    let silent = TcpStream::connect(at).await.expect("connected");
    tokio::time::timeout(DEADLINE, server.stop()).await.expect("it ends");
    drop(silent);
}
