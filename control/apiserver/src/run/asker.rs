//! The server as its own client: the same way through all stations as for everybody.

use std::sync::Arc;

use apiclient::Client;
use apiclient_core::wire::Status;
use control_core::access::User;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::in_process::InProcess;
use crate::reply::whole;
use crate::{Peer, Server};

/// The server itself, as who asks.
fn user() -> User {
    User { name: User::SERVER.to_owned(), groups: vec![User::MASTERS.to_owned()], ..User::default() }
}

/// The same for who wants a client.
pub fn client(server: &Arc<Server>) -> Client {
    InProcess::new(Arc::clone(server), user()).client().clone()
}

/// Asks as the server itself, which may do everything.
pub struct Asker<'a> {
    server: &'a Arc<Server>,
    peer: Peer,
}

impl<'a> Asker<'a> {
    pub fn new(server: &'a Arc<Server>) -> Self {
        Self { server, peer: Peer::Known(Arc::new(user())) }
    }

    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Status> {
        self.send(method, path, "application/json", body).await
    }

    /// Server-side apply; manager and force stand in the path.
    pub async fn apply(&self, path: &str, body: &Value) -> Result<Value, Status> {
        self.send(Method::PATCH, path, "application/apply-patch+yaml", body).await
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, Status> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("user-agent", "kube-apiserver")
            .body(whole(body));
        let internal = |why: String| control_core::refusal::internal(&why);
        let request = request.map_err(|error| internal(error.to_string()))?;
        let response = self.server.handle(request, &self.peer).await;
        let good = response.status().is_success();
        let bytes = response.into_body().collect().await.map_err(|error| internal(error.to_string()))?;
        let bytes = bytes.to_bytes();
        if good {
            return serde_json::from_slice(&bytes).map_err(|error| internal(error.to_string()));
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|error| internal(error.to_string())))
    }

    /// `None`: there is none.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Status> {
        match self.ask(Method::GET, path, &Value::Null).await {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.is_not_found() => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    pub async fn create(&self, collection: &str, object: &Value) -> Result<(), Status> {
        match self.ask(Method::POST, collection, object).await {
            // Another server was quicker.
            Err(refused) if refused.already_exists() => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
