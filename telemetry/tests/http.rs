//! The server from outside, through a plain socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use telemetry::http::{Health, Texts, serve};
use telemetry::metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TEXTS: Texts = Texts {
    alive: "flanneld is running",
    ready: "flanneld is ready",
    not_ready: "flanneld is not ready yet",
};

const ANYWHERE: &str = "127.0.0.1:0";

fn anywhere() -> SocketAddr {
    ANYWHERE.parse().expect("an address")
}

fn health() -> Health {
    Health::new(TEXTS, || Ok(String::new()))
}

/// The whole answer to `METHOD PATH`: status, head, body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn health_and_readiness_answer_with_the_daemons_own_texts() {
    let health = health();
    let readiness = health.readiness();
    let server = serve(anywhere(), health).await.expect("a server");
    let at = server.address();

    let (status, _, body) = ask(at, "GET", "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "flanneld is running"));
    let (status, _, body) = ask(at, "GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "flanneld is not ready yet"));

    readiness.set(true);
    let (status, _, body) = ask(at, "GET", "/readyz").await;
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
        Health::new(TEXTS, move || Ok(format!("weft_scrapes {}\n", seen.fetch_add(1, Ordering::Relaxed))));
    let server = serve(anywhere(), health).await.expect("a server");
    assert_eq!(scrapes.load(Ordering::Relaxed), 0);
    for want in ["weft_scrapes 0\n", "weft_scrapes 1\n"] {
        let (status, head, body) = ask(server.address(), "GET", "/metrics").await;
        assert_eq!((status, body.as_str()), (200, want));
        assert!(head.contains(metrics::CONTENT_TYPE), "{head}");
    }
}

#[tokio::test]
async fn metrics_that_fail_or_panic_leave_the_server_alive() {
    for broken in [
        Health::new(TEXTS, || Err(std::fmt::Error)),
        Health::new(TEXTS, || panic!("this panic is part of the test")),
    ] {
        let server = serve(anywhere(), broken).await.expect("a server");
        assert_eq!(ask(server.address(), "GET", "/metrics").await.0, 500);
        assert_eq!(ask(server.address(), "GET", "/healthz").await.0, 200);
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let holder = TcpListener::bind(ANYWHERE).await.expect("a port");
    let taken = holder.local_addr().expect("its address");
    let error = serve(taken, health()).await.expect_err("the port is taken");
    let text = error.to_string();
    assert!(text.contains(&taken.to_string()) && text.contains("ss -ltnp"), "{text}");

    // TEST-NET-1 (RFC 5737) is on no interface.
    let foreign = "192.0.2.1:0".parse().expect("an address");
    let text = serve(foreign, health()).await.expect_err("not ours").to_string();
    assert!(text.contains("192.0.2.1:0") && text.contains("no interface here has this address"), "{text}");
}

#[tokio::test]
async fn stop_frees_the_port_although_a_client_keeps_its_connection() {
    let server = serve(anywhere(), health()).await.expect("a server");
    let at = server.address();
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
    let server = serve(anywhere(), health()).await.expect("a server");
    let at = server.address();
    drop(server);
    let refused = async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("nobody listens any more");
}
