//! A server, as one of its service accounts.
//!
//! Owns: the account's token (TokenRequest), made with somebody else's rights and renewed before it ends. An account that
//! is not there is made. Never: sends a client certificate, which would count before the token.

use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::config::{Access, AccessError};
use crate::connection::Remote;
use crate::transport::{Pending, Request, Response, Transport};
use crate::{Client, Failure, Resource};

const ACCOUNTS: Resource = Resource::new("", "v1", "serviceaccounts", true);

/// How long a token is good, and after how long it is renewed.
const LIFE: Duration = Duration::from_secs(3600);
const RENEWAL: Duration = Duration::from_secs(2400);

/// A token that the server refused is asked for anew, but no sooner than this after the last.
const AGAIN: Duration = Duration::from_secs(1);

/// The way to a server as an account of a namespace.
pub struct Account {
    remote: Remote,
    asker: Client,
    namespace: String,
    name: String,
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Account {
    /// `asker` may make tokens of the account; `access` says where the server is, and whom to trust.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn new(access: &Access, asker: Client, namespace: &str, name: &str) -> Result<Self, AccessError> {
        let remote = Remote::open_without_user(access.clone())?;
        Ok(Self {
            remote,
            asker,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            token: Mutex::new(None),
        })
    }

    async fn token(&self) -> Result<HeaderValue, Failure> {
        let mut token = self.token.lock().await;
        if let Some((value, since)) = token.as_ref()
            && since.elapsed() < RENEWAL
        {
            return Ok(value.clone());
        }
        let value = match self.request().await {
            Err(Failure::Refused(status)) if status.is_not_found() => {
                self.make().await?;
                self.request().await?
            }
            requested => requested?,
        };
        *token = Some((value.clone(), Instant::now()));
        Ok(value)
    }

    async fn request(&self) -> Result<HeaderValue, Failure> {
        let path = ACCOUNTS.object_path(&self.namespace, &self.name, "token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFE.as_secs()},
        });
        let answer: Value = self.asker.create(&path, &request).await?;
        let token = answer["status"]["token"].as_str().unwrap_or_default();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Failure::Garbled("the token holds characters that no header may have".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn make(&self) -> Result<(), Failure> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"namespace": self.namespace, "name": self.name},
        });
        match self.asker.create::<Value>(&ACCOUNTS.path(&self.namespace), &account).await {
            Err(Failure::Refused(status)) if status.already_exists() => Ok(()),
            made => made.map(|_| ()),
        }
    }
}

impl Transport for Account {
    fn send(&self, mut request: Request) -> Pending<'_, Result<Response, Failure>> {
        Box::pin(async move {
            let token = self.token().await?;
            request.headers_mut().insert(AUTHORIZATION, token);
            self.remote.send(request).await
        })
    }

    fn renew(&self) -> Pending<'_, bool> {
        Box::pin(async move {
            let mut token = self.token.lock().await;
            let old = token.as_ref().is_some_and(|(_, since)| since.elapsed() >= AGAIN);
            if old {
                *token = None;
            }
            old
        })
    }

    fn server(&self) -> String {
        self.remote.server()
    }
}
