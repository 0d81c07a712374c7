//! A server over a real etcd, asked in process.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use control_apiserver::allocation::Allocator;
use control_apiserver::authentication::chain::Chain;
use control_apiserver::authorization::{Authorizers, Mode};
use control_apiserver::registry::{Registry, settings};
use control_apiserver::reply::{Response, whole};
use control_apiserver::{Parts, Peer, Server, Times, access};
use control_core::access::User;
use control_core::allocation::addresses::AddressRange;
use control_core::allocation::ports::PortRange;
use control_core::{admission, kinds};
use control_schema::builtin;
use control_store::{Settings, Store};
use etcd::Client;
use host::netns::Namespace;
use host::programs::{Etcd as Program, Signal};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;

/// For everything that is waited for: long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server, and the etcd that it stands on.
pub struct Bed {
    pub server: Arc<Server>,
    pub etcd: Client,
    program: Program,
    _directory: TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.program.stop(Signal::SIGKILL);
    }
}

impl Bed {
    /// Everybody may do everything, and no plugin of admission looks.
    pub async fn start() -> Self {
        Self::with(Arc::new(Authorizers::of_modes(&[Mode::AlwaysAllow])), &none()).await
    }

    /// What holds of authorization and admission.
    pub async fn with(authorizer: Arc<Authorizers>, plugins: &admission::chain::Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program =
            Program::on_loopback(Namespace::current().unwrap(), directory.path(), free_port(), free_port());
        program.start().unwrap();
        program.wait_ready(SOON).unwrap();
        let endpoints = vec![program.endpoint().to_owned()];
        let etcd = Client::new(etcd::Settings { endpoints, ..etcd::Settings::default() }).unwrap();
        let server = server(etcd.clone(), authorizer, plugins).await;
        Self { server, etcd, program, _directory: directory }
    }

    /// Another server on the same etcd.
    pub async fn another(&self) -> Arc<Server> {
        server(self.etcd.clone(), Arc::new(Authorizers::of_modes(&[Mode::AlwaysAllow])), &none()).await
    }

    pub async fn ask(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.ask_as(method, path, &[("content-type", "application/json")], body).await
    }

    pub async fn ask_as(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let response = self.open(method, path, headers, body).await;
        Answer::of(response).await
    }

    /// The answer with its body still to be read.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response {
        open(&self.server, method, path, headers, body).await
    }

    /// A ConfigMap with one entry.
    pub async fn config_map(&self, name: &str, value: &str) -> Value {
        let body = serde_json::json!({"metadata": {"name": name}, "data": {"a": value}}).to_string();
        let answer = self.ask("POST", CONFIG_MAPS, body).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
        answer.json()
    }
}

/// Asks a server, as who may do everything, with a body in JSON.
pub async fn ask(server: &Arc<Server>, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::of(open(server, method, path, &[("content-type", "application/json")], body).await).await
}

async fn open(
    server: &Arc<Server>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Response {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    request = request.header("user-agent", "test/1.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(whole(body.into())).unwrap();
    let user = User { name: "test".to_owned(), groups: vec!["system:masters".to_owned()], ..User::default() };
    within(path, Box::pin(server.handle(request, &Peer::Known(Arc::new(user))))).await
}

async fn server(
    etcd: Client,
    authorizer: Arc<Authorizers>,
    plugins: &admission::chain::Settings,
) -> Arc<Server> {
    let kinds = kinds::all(&builtin::library());
    let store = Store::open(etcd, Settings { compaction: None, ..settings(&kinds) });
    within("the registry is loaded", store.ready()).await;
    Server::new(Parts {
        store,
        registry: Arc::new(Registry::new(kinds)),
        authentication: Chain::new(Vec::new(), true),
        authorizer,
        access: access::Services::default(),
        admission: admission::chain::Chain::new(plugins),
        services: Allocator::new(
            &AddressRange::new(Ipv4Addr::new(10, 96, 0, 0).into(), 16).into_iter().collect::<Vec<_>>(),
            PortRange { first: 30_000, last: 32_767 },
            false,
        ),
        json_storage: false,
        in_flight: (400, 200),
        fair: true,
        times: Times::default(),
        backends: Default::default(),
    })
}

/// No plugin of admission.
fn none() -> admission::chain::Settings {
    let disabled = admission::chain::known().into_iter().map(str::to_owned).collect();
    admission::chain::Settings { disabled, ..admission::chain::Settings::default() }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = within("the body", body.collect()).await.unwrap().to_bytes().to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { code: head.status.as_u16(), headers: head.headers, bytes, text }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// The events of a watch, read one by one.
pub struct Events {
    body: control_apiserver::reply::Body,
    rest: Vec<u8>,
}

impl Events {
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// The next one; `None` at the end of the watch.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = within("an event", self.body.frame()).await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// Type, name and version of the next one.
    pub async fn told(&mut self) -> (String, String, String) {
        let event = self.next().await.expect("an event");
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/type"), text("/object/metadata/name"), text("/object/metadata/resourceVersion"))
    }
}

fn free_port() -> u16 {
    host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).unwrap()
}

/// Waits for something with a deadline.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}
