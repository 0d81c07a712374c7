//! The HTTP servers, asked over real sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use proxy::health::{NodePorts, ProxyHealth, Report, WhenTaken, probes, report, serve};
use proxy::metrics::Metrics;
use proxy::modes::Mode;
use proxy::options::{Fixture, resolve};
use proxy_core::names::{Family, ServiceName};
use proxy_core::table::HealthCheck;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Answer {
    code: u16,
    head: String,
    body: String,
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    try_get(address, path).await.unwrap_or_else(|error| panic!("{address}{path}: {error}"))
}

async fn try_get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok(Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_port() -> u16 {
    host::sockets::free_port(local(0).ip()).expect("a port")
}

#[tokio::test]
async fn healthz_also_asks_for_the_node_and_livez_does_not() {
    let (health, metrics) = (ProxyHealth::new(Duration::from_millis(20)), Metrics::new());
    let mut server = serve("probes", local(0), probes(health.clone(), metrics.clone()), WhenTaken::Fail)
        .await
        .expect("a port");
    let at = server.listening().await.expect("it listens");
    let answer = get(at, "/healthz").await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (answer.code, &body["nodeEligible"], &body["healthy"]),
        (200, &Value::Bool(true), &Value::Bool(true)),
        "no Node has said otherwise"
    );
    health.set_node_eligible(false);
    let answer = get(at, "/healthz").await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (answer.code, &body["nodeEligible"], &body["healthy"]),
        (503, &Value::Bool(false), &Value::Bool(true))
    );
    assert_eq!(body["lastUpdated"], "0001-01-01T00:00:00Z");
    assert_eq!(get(at, "/livez").await.code, 200);

    health.set_node_eligible(true);
    health.updated(Family::V4);
    let answer = get(at, "/healthz").await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer.code, 200);
    assert_eq!(body["lastUpdated"], body["currentTime"]);
    assert_eq!(body["status"]["IPv4"]["healthy"], true);
    assert!(
        answer.head.contains("content-type: application/json")
            && answer.head.contains("x-content-type-options: nosniff")
    );

    health.queued(Family::V4);
    while health.is_healthy() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for path in ["/healthz", "/livez"] {
        let answer = get(at, path).await;
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((answer.code, &body["healthy"]), (503, &Value::Bool(false)), "{path}");
        assert_eq!(body.get("nodeEligible").is_some(), path == "/healthz");
    }
    let text = metrics.encode().expect("text");
    assert!(text.contains("kubeproxy_proxy_healthz_total{code=\"503\"} 2"), "{text}");
    assert!(text.contains("kubeproxy_proxy_livez_total{code=\"200\"} 1"), "{text}");
}

#[tokio::test]
async fn reports_mode_configuration_and_metrics() {
    let options = resolve::<&str>(&["--proxy-mode=iptables"], &Fixture::named("n")).expect("options");
    let routes = report(Report {
        metrics: Metrics::new(),
        mode: Arc::new(|| Mode::find("iptables").unwrap()),
        configuration: options.configuration(),
        ready: Arc::new(|| false),
    });
    // As Go does: the IPv4 wildcard serves both families.
    let mut server =
        serve("report", SocketAddr::from(([0, 0, 0, 0], 0)), routes, WhenTaken::Fail).await.expect("a port");
    let port = server.listening().await.expect("it listens").port();
    let at = local(port);
    assert_eq!(get(at, "/proxyMode").await.body, "iptables");
    assert_eq!(
        get(SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), port), "/healthz").await.body,
        "ok"
    );
    assert_eq!(get(at, "/readyz").await.code, 503);
    let configuration: Value = serde_json::from_str(&get(at, "/configz").await.body).expect("JSON");
    assert_eq!(configuration["kubeproxy.config.k8s.io"]["mode"], "iptables");
    let metrics = get(at, "/metrics").await;
    assert!(
        metrics.code == 200 && metrics.body.contains("kubeproxy_sync_proxy_rules_service_changes_total 0")
    );
    assert_eq!(get(at, "/nothing").await.code, 404);
}

#[tokio::test]
async fn a_taken_port_is_an_error_only_where_that_was_asked_for() {
    let taken = TcpListener::bind(local(0)).expect("a port");
    let address = taken.local_addr().expect("an address");
    let routes = || probes(ProxyHealth::new(Duration::from_secs(1)), Metrics::new());
    let error = serve("probes", address, routes(), WhenTaken::Fail).await.expect_err("taken").to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("another process has this port"),
        "{error}"
    );
    let mut server = serve("probes", address, routes(), WhenTaken::Retry).await.expect("no error");
    assert_eq!(server.address(), None);
    drop(taken);
    let at = tokio::time::timeout(Duration::from_secs(60), server.listening()).await.expect("it tries again");
    assert_eq!(get(at.expect("an address"), "/livez").await.code, 200);
}

#[tokio::test]
async fn health_check_node_ports_open_answer_and_close() {
    let health = ProxyHealth::new(Duration::from_secs(30));
    let mut ports = NodePorts::new(health.clone());
    let (web, dns) = (ServiceName::new("default", "web"), ServiceName::new("kube-system", "dns"));
    let (first, second) = (free_port(), free_port());
    let check = |node_port, local_ready| HealthCheck { node_port, local_ready };
    let all = BTreeMap::from([
        (Family::V4, vec![IpAddr::from([0, 0, 0, 0])]),
        (Family::V6, vec![IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)]),
    ]);
    let want = BTreeMap::from([
        ((Family::V4, web.clone()), check(first, 2)),
        ((Family::V6, web.clone()), check(first, 1)),
        ((Family::V4, dns.clone()), check(second, 0)),
    ]);
    assert!(ports.sync(&want, &all).is_empty());
    let answer = get(local(first), "/anything").await;
    assert_eq!(answer.code, 200);
    assert!(answer.head.contains("x-load-balancing-endpoint-weight: 2"), "{}", answer.head);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({"service": {"namespace": "default", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": true})
    );
    let six = SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), first);
    assert!(get(six, "/").await.head.contains("x-load-balancing-endpoint-weight: 1"));
    assert_eq!(get(local(second), "/").await.code, 503);

    let want = BTreeMap::from([
        ((Family::V4, web.clone()), check(first, 0)),
        ((Family::V4, dns.clone()), check(second, 3)),
    ]);
    assert!(ports.sync(&want, &all).is_empty());
    assert_eq!((get(local(first), "/").await.code, get(local(second), "/").await.code), (503, 200));

    let taken = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).expect("a port");
    let third = taken.local_addr().expect("an address").port();
    let want =
        BTreeMap::from([((Family::V4, web.clone()), check(third, 1)), ((Family::V4, dns), check(second, 3))]);
    let failures = ports.sync(&want, &all);
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0]
            .to_string()
            .starts_with("default/web: cannot open its health-check node port at 0.0.0.0:"),
        "{}",
        failures[0]
    );
    assert!(ports.sync(&want, &all).is_empty(), "said once");
    assert!(try_get(local(first), "/").await.is_err(), "the old port is closed");
    assert_eq!(get(local(second), "/").await.code, 200);
    drop(taken);
    assert!(ports.sync(&want, &all).is_empty());
    assert_eq!(get(local(third), "/").await.code, 200);
}
