//! The API feed against a small server that misbehaves on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apiclient::{Event as Occurrence, Reference};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use proxy::feeds::{self, Event, Feed};
use proxy::options;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::objects::Kind;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// How long a test waits for what has to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server has and does.
struct World {
    services: BTreeMap<String, Value>,
    version: u64,
    /// It knows streaming lists.
    streams: bool,
    /// Objects in a page, whatever is asked for.
    page: usize,
    /// Answers everything, or ServiceCIDRs only, with this.
    refuse: Option<(u16, &'static str)>,
    refuse_cidrs: Option<u16>,
    /// Answers events with this.
    refuse_events: Option<u16>,
    requests: Vec<String>,
    lines: broadcast::Sender<String>,
}

#[derive(Clone)]
struct Server(Arc<Mutex<World>>);

impl Server {
    fn new(streams: bool) -> Self {
        let (lines, _) = broadcast::channel(64);
        Self(Arc::new(Mutex::new(World {
            services: BTreeMap::new(),
            version: 100,
            streams,
            page: 2,
            refuse: None,
            refuse_cidrs: None,
            refuse_events: None,
            requests: Vec::new(),
            lines,
        })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.0.lock().expect("no panic inside"))
    }

    async fn start(&self, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(answer).with_state(self.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        (address, task)
    }

    fn put(&self, name: &str, ip: &str) {
        self.with(|world| {
            world.version += 1;
            let service = service(name, ip, world.version);
            let what = if world.services.contains_key(name) { "MODIFIED" } else { "ADDED" };
            let _ = world.lines.send(json!({"type": what, "object": service}).to_string());
            world.services.insert(name.into(), service);
        });
    }

    fn send(&self, line: Value) {
        self.with(|world| _ = world.lines.send(line.to_string()));
    }

    fn asked(&self, what: &str) -> usize {
        self.with(|world| world.requests.iter().filter(|request| request.contains(what)).count())
    }
}

fn service(name: &str, ip: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": version.to_string()},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]}})
}

fn status(code: u16, reason: &str, message: &str) -> Response {
    let body =
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    (StatusCode::from_u16(code).expect("a code"), body.to_string()).into_response()
}

async fn answer(State(server): State<Server>, uri: Uri) -> Response {
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    server.with(|world| world.requests.push(uri.to_string()));
    if let Some((code, reason)) = server.with(|world| world.refuse) {
        return status(code, reason, "as a test wants");
    }
    if let Some(code) = server.with(|world| world.refuse_cidrs).filter(|_| path.ends_with("/servicecidrs")) {
        return status(code, "Forbidden", "as a test wants");
    }
    if let Some(code) = server.with(|world| world.refuse_events).filter(|_| path.ends_with("/events")) {
        return status(code, "Forbidden", "as a test wants");
    }
    let get = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let services = path.ends_with("/services");
    server.with(|world| {
        let objects: Vec<Value> =
            if services { world.services.values().cloned().collect() } else { Vec::new() };
        let version = world.version.to_string();
        if get("watch").is_none() {
            let from: usize = get("continue").and_then(|from| from.parse().ok()).unwrap_or(0);
            let page: Vec<_> = objects.iter().skip(from).take(world.page).cloned().collect();
            let next = if from + page.len() < objects.len() {
                (from + page.len()).to_string()
            } else {
                String::new()
            };
            return json!({"metadata": {"resourceVersion": version, "continue": next}, "items": page})
                .to_string()
                .into_response();
        }
        let mut first = String::new();
        if get("sendInitialEvents").is_some() {
            if !world.streams {
                return status(422, "Invalid", "sendInitialEvents is forbidden");
            }
            for object in objects {
                first += &format!("{}\n", json!({"type": "ADDED", "object": object}));
            }
            let end = json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version,
                "annotations": {"k8s.io/initial-events-end": "true"}}}});
            first += &format!("{end}\n");
        } else if get("resourceVersion").and_then(|since| since.parse().ok()).unwrap_or(0) > world.version {
            // As a real server: silent until it gets there.
            return Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>())
                .into_response();
        }
        let first = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
        if !services {
            return Body::from_stream(first.chain(futures::stream::pending())).into_response();
        }
        let lines = futures::stream::unfold(world.lines.subscribe(), |mut lines| async move {
            match lines.recv().await.ok()?.as_str() {
                "break" => Some((Err(std::io::Error::other("broken")), lines)),
                line => Some((Ok(format!("{line}\n")), lines)),
            }
        });
        Body::from_stream(first.chain(lines)).into_response()
    })
}

struct Reader {
    feed: Feed,
    cluster: Cluster,
    troubles: Vec<String>,
    listed: Vec<Kind>,
    replaced: usize,
}

impl Reader {
    async fn new(address: SocketAddr) -> Self {
        let from = options::Feed::Kubernetes { kubeconfig: None, master: Some(format!("http://{address}")) };
        let feed = feeds::start(&from, "node").await.expect("a client");
        Self { feed, cluster: Cluster::default(), troubles: Vec::new(), listed: Vec::new(), replaced: 0 }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            let next = tokio::time::timeout_at(deadline, self.feed.next()).await;
            let arrival =
                next.unwrap_or_else(|_| panic!("{what} never came: {:?} {:?}", self.names(), self.troubles));
            match arrival.expect("the feed runs").event {
                Event::Change(change) => {
                    self.replaced += usize::from(matches!(change, Change::Replace(Kind::Service, _)));
                    self.cluster.apply(change);
                }
                Event::Listed(kind) => self.listed.push(kind),
                Event::Trouble(trouble) => self.troubles.push(trouble.to_string()),
            }
        }
    }

    async fn synced(&mut self) {
        self.until("all lists", |reader| Kind::ALL.iter().all(|kind| reader.listed.contains(kind))).await;
    }

    fn names(&self) -> Vec<String> {
        self.cluster.services().map(|service| service.name.name.to_string()).collect()
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn lists_by_stream_where_the_server_can_and_by_pages_where_it_cannot() {
    for streams in [true, false] {
        let server = Server::new(streams);
        for (nth, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            server.put(name, &format!("10.0.0.{}", nth + 1));
        }
        let bad = json!({"metadata": {"name": "bad", "namespace": "default"}, "spec": {"clusterIP": "10.0.0.9", "ports": 7}});
        server.with(|world| world.services.insert("bad".into(), bad));
        let (address, _task) = server.start(anywhere()).await;
        let mut reader = Reader::new(address).await;
        reader.synced().await;
        assert_eq!(reader.names(), ["a", "b", "c", "d", "e"], "streams: {streams}");
        assert_eq!(reader.troubles.len(), 1, "{:?}", reader.troubles);
        assert!(
            reader.troubles[0].contains("left out as a whole: Service default/bad"),
            "{:?}",
            reader.troubles
        );
        assert_eq!(server.asked("/services?limit") > 0, !streams);
        // From the server's memory at first; who has known more already asks for what is in its storage.
        assert_eq!(server.asked("/services?resourceVersion=0"), usize::from(!streams));
        reader.until_watching(&server).await;
        server.put("f", "10.0.0.6");
        reader.until("f", |reader| reader.names().contains(&"f".into())).await;
        server.send(json!({"type": "DELETED", "object": service("a", "10.0.0.1", 200)}));
        reader.until("a gone", |reader| !reader.names().contains(&"a".into())).await;
        assert_eq!(reader.replaced, 1);
        server.send(json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}));
        reader.until("another list", |reader| reader.replaced == 2).await;
        assert_eq!(server.asked("/services?resourceVersion=0"), usize::from(!streams));
    }
}

impl Reader {
    /// The server sends lines to nobody before a watch is there.
    async fn until_watching(&self, server: &Server) {
        let deadline = Instant::now() + PATIENCE;
        while server.with(|world| world.lines.receiver_count()) == 0 {
            assert!(Instant::now() < deadline, "no watch of services");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn an_expired_watch_lists_again_so_that_what_is_gone_goes() {
    let server = Server::new(true);
    server.put("a", "10.0.0.1");
    server.put("b", "10.0.0.2");
    let (address, _task) = server.start(anywhere()).await;
    let mut reader = Reader::new(address).await;
    reader.synced().await;
    server.with(|world| {
        world.services.remove("a");
        world.version = 500;
    });
    reader.until_watching(&server).await;
    server.send(json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}}));
    reader.until("a gone", |reader| reader.names() == ["b"]).await;
    assert_eq!((reader.replaced, reader.troubles.len()), (2, 0), "{:?}", reader.troubles);
}

#[tokio::test]
async fn a_malformed_change_takes_the_object_out_and_is_reported() {
    let server = Server::new(true);
    server.put("a", "10.0.0.1");
    server.put("b", "10.0.0.2");
    let (address, _task) = server.start(anywhere()).await;
    let mut reader = Reader::new(address).await;
    reader.synced().await;
    reader.until_watching(&server).await;
    server.send(json!({"type": "MODIFIED", "object": {"metadata": {"name": "a", "namespace": "default", "resourceVersion": "300"}, "spec": {"clusterIP": "10.0.0.1", "ports": 7}}}));
    reader.until("a gone", |reader| reader.names() == ["b"]).await;
    assert!(reader.troubles[0].contains("Service default/a"), "{:?}", reader.troubles);
    server.put("a", "10.0.0.1");
    reader.until("a back", |reader| reader.names() == ["a", "b"]).await;
}

#[tokio::test]
async fn a_server_that_was_away_is_asked_again_soon_and_may_be_another_one() {
    let server = Server::new(true);
    // Nobody there at first.
    let free =
        std::net::TcpListener::bind(anywhere()).and_then(|listener| listener.local_addr()).expect("a port");
    let mut reader = Reader::new(free).await;
    reader.until("a report", |reader| !reader.troubles.is_empty()).await;
    assert!(
        reader.troubles[0].contains("cannot reach the API server http://127.0.0.1"),
        "{:?}",
        reader.troubles
    );
    server.put("a", "10.0.0.1");
    // How soon: apiclient's tests of its pace hold the longest wait between two attempts.
    let (_, task) = server.start(free).await;
    reader.synced().await;

    // Gone, and back with a younger history: a watch from our version would be silent for ever.
    reader.until_watching(&server).await;
    task.abort();
    server.with(|world| _ = world.lines.send("break".into()));
    let other = Server::new(true);
    other.with(|world| world.version = 5);
    other.put("b", "10.0.0.2");
    let _ = task.await;
    let (_, _task) = other.start(free).await;
    reader.until("b instead of a", |reader| reader.names() == ["b"]).await;
    assert!(reader.troubles.len() < 20, "each failure once: {:?}", reader.troubles);
}

#[tokio::test]
async fn refusals_are_named_and_do_not_delete_anything() {
    let server = Server::new(true);
    server.put("a", "10.0.0.1");
    server.with(|world| world.refuse = Some((401, "Unauthorized")));
    let (address, _task) = server.start(anywhere()).await;
    let mut reader = Reader::new(address).await;
    reader.until("a report of each kind", |reader| reader.troubles.len() >= 4).await;
    assert!(
        reader
            .troubles
            .iter()
            .all(|trouble| trouble.contains("does not know these credentials (401 Unauthorized)")),
        "{:?}",
        reader.troubles
    );
    assert!(reader.listed.is_empty());
    server.with(|world| world.refuse = None);
    reader.synced().await;
    assert_eq!(reader.names(), ["a"]);
    reader.until_watching(&server).await;
    server.with(|world| world.refuse = Some((503, "ServiceUnavailable")));
    server.with(|world| _ = world.lines.send("break".into()));
    reader
        .until("a report", |reader| {
            reader.troubles.iter().any(|trouble| trouble.contains("503 ServiceUnavailable"))
        })
        .await;
    assert_eq!(reader.names(), ["a"]);
}

#[tokio::test]
async fn a_server_without_service_cidrs_holds_nothing_up() {
    for code in [403, 404] {
        let server = Server::new(false);
        server.with(|world| world.refuse_cidrs = Some(code));
        let (address, _task) = server.start(anywhere()).await;
        let mut reader = Reader::new(address).await;
        reader.synced().await;
        assert!(
            reader
                .troubles
                .iter()
                .any(|trouble| trouble.starts_with("ServiceCIDR: ") && trouble.contains(&code.to_string())),
            "{:?}",
            reader.troubles
        );
        assert!(server.asked("/servicecidrs") < 10, "asked for seldom");
    }
}

#[tokio::test]
async fn events_that_the_server_does_not_take_hold_nothing_up() {
    let server = Server::new(true);
    server.put("a", "10.0.0.1");
    server.with(|world| world.refuse_events = Some(403));
    let (address, _task) = server.start(anywhere()).await;
    let mut reader = Reader::new(address).await;
    reader.synced().await;
    let events = reader.feed.events();
    let event = |reason: &'static str| Occurrence {
        regarding: Reference {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: "default".into(),
            name: "a".into(),
            uid: String::new(),
        },
        reason: reason.into(),
        action: "Listen".into(),
        note: String::new(),
        warning: true,
    };
    events.emit(event("One"));
    events.emit(event("Two"));
    let deadline = Instant::now() + PATIENCE;
    while server.asked("/apis/events.k8s.io/v1/namespaces/default/events") < 2 {
        assert!(Instant::now() < deadline, "each is told once");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    reader.until_watching(&server).await;
    server.put("b", "10.0.0.2");
    reader.until("b", |reader| reader.names() == ["a", "b"]).await;
    assert_eq!(server.asked("/events"), 2, "a refusal is final");
    assert_eq!(reader.troubles.len(), 0, "{:?}", reader.troubles);
}
