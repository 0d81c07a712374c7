//! One request for a resource, from authorization on: what all verbs need to know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use bytes::Bytes;
use control_core::access::User;
use control_core::kind::{Context, Subresource};
use control_core::refusal;
use control_store::{Freshness, Keep, Stored};
use http::header::HOST;
use http::request::Parts as Head;
use http::{HeaderMap, Method, Uri};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use crate::backend::forward::Sender;
use crate::decoding;
use crate::encoding::{object, table};
use crate::negotiation::{Encoding, Media, Shape};
use crate::registry::Served;
use crate::reply::{Body, From, Response, reply};
use crate::request::info::Resource;
use crate::request::options::{IncludeObject, manager_of_agent};
use crate::request::query::Query;
use crate::server::Server;
use crate::storage;

/// A request as it came, for what is handed on.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    pub uri: Uri,
    /// Decoded.
    pub path: String,
    /// The host that the client named.
    pub host: String,
    /// Who sent it; `None` within this process.
    pub from: Option<SocketAddr>,
    /// The connection, where it can become one of another protocol.
    pub upgrade: Option<OnUpgrade>,
}

impl Wire {
    pub fn of(head: &Head, path: &str) -> Self {
        Self {
            uri: head.uri.clone(),
            path: path.to_owned(),
            from: head.extensions.get::<From>().map(|from| from.0),
            upgrade: head.extensions.get::<OnUpgrade>().cloned(),
            host: match head.headers.get(HOST) {
                Some(host) => host.to_str().unwrap_or_default().to_owned(),
                // HTTP/2 has it in the URI.
                None => head.uri.authority().map(|host| host.as_str().to_owned()).unwrap_or_default(),
            },
        }
    }
}

impl Wire {
    /// Whose request it is, where it is handed on.
    pub fn sender(&self) -> Sender<'_> {
        Sender { address: self.from.map(|from| from.ip()), host: &self.host }
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Call {
    pub server: Arc<Server>,
    pub served: Arc<Served>,
    pub resource: Resource,
    pub query: Query,
    pub headers: HeaderMap,
    pub method: Method,
    pub wire: Wire,
    pub user: Arc<User>,
    pub media: Media,
    pub now: SystemTime,
    /// Lines for `Warning` headers.
    pub warnings: Vec<String>,
}

impl Call {
    /// The key of the object that the path names.
    ///
    /// # Errors
    /// 400 for a name that cannot be one.
    pub fn key(&self) -> Result<String, Status> {
        self.served.key(&self.resource.namespace, &self.resource.name)
    }

    /// The latest version of an object of the core group, as it is in storage. One that is not there is reported as one of
    /// the resource that was asked for, as by the original.
    ///
    /// # Errors
    /// 404, or that storage is away.
    pub async fn core_object(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let table = self.server.registry().table();
        let served = table.by_qualified(plural).ok_or_else(|| refusal::missing("", plural, name))?;
        let found = self.server.store().get(&served.key(namespace, name)?, Freshness::Latest).await;
        match found.map_err(|error| storage::read_failed(&error))? {
            Some(stored) => object::decode(served, &stored),
            None => Err(refusal::not_found(&self.served.kind, name)),
        }
    }

    /// The whole body of the request.
    ///
    /// # Errors
    /// As [`decoding::read`].
    pub async fn read(&self, body: Body) -> Result<Bytes, Status> {
        let bytes = decoding::read(body).await?;
        self.server.metrics.requests.read(&self.method, &self.resource, bytes.len());
        Ok(bytes)
    }

    pub fn not_found(&self) -> Status {
        refusal::not_found(&self.served.kind, &self.resource.name)
    }

    /// Who and when, for strategies.
    pub fn context(&self, subresource: Option<Subresource>) -> Context<'_> {
        Context { now: self.now, namespace: &self.resource.namespace, subresource, user: &self.user }
    }

    /// The manager of fields that a write is by: as it says, or by the name of the program.
    pub fn manager(&self, given: &str) -> String {
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = self.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        manager_of_agent(agent.unwrap_or_default())
    }

    pub fn warn(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            if !self.warnings.contains(&line) {
                self.warnings.push(line);
            }
        }
    }

    /// The answer that a stored object is, from the form that all share.
    ///
    /// # Errors
    /// 500: the object in storage is none.
    pub fn answer_stored(&self, code: u16, stored: &Stored) -> Result<Response, Status> {
        self.answer_kept(code, stored, Keep::WhileWanted)
    }

    /// As [`Call::answer_stored`], of a version that this request has written: who watches wants it next.
    ///
    /// # Errors
    /// As [`Call::answer_stored`].
    pub fn answer_written(&self, code: u16, stored: &Stored) -> Result<Response, Status> {
        let watched = self.server.store().is_watched(stored.key());
        self.answer_kept(code, stored, if watched { Keep::Briefly } else { Keep::Not })
    }

    fn answer_kept(&self, code: u16, stored: &Stored, keep: Keep) -> Result<Response, Status> {
        let Media { encoding, shape, meta_version, .. } = self.media;
        let form = match shape {
            Shape::Table => {
                let include = IncludeObject::decode(&self.query)?;
                let table = table::of_stored(&self.served, stored, meta_version, include, true)?;
                object::write_meta(meta_version.api_version(), "Table", &table, encoding)
            }
            _ => object::encoded(&self.served, stored, encoding, shape, meta_version, keep)?,
        };
        Ok(self.answer_form(code, form))
    }

    /// The answer that an object is which is not in storage, or no more. It is in the version of storage.
    ///
    /// # Errors
    /// 400 for a table that makes no sense.
    pub fn answer_value(&self, code: u16, object: Value) -> Result<Response, Status> {
        let Media { encoding, shape, meta_version, .. } = self.media;
        let form = match shape {
            Shape::Table => {
                let include = IncludeObject::decode(&self.query)?;
                let table = table::of_one(&self.served, &object, meta_version, include, true);
                object::write_meta(meta_version.api_version(), "Table", &table, encoding)
            }
            _ => object::encode(&self.served, object, encoding, shape, meta_version),
        };
        Ok(self.answer_form(code, form))
    }

    /// The answer that an object of another kind is: a `Scale`.
    pub fn answer_other(&self, code: u16, api_version: &str, kind: &str, object: &Value) -> Response {
        self.answer_form(code, object::write_meta(api_version, kind, object, self.media.encoding))
    }

    pub fn answer_form(&self, code: u16, form: Bytes) -> Response {
        let encoding: Encoding = self.media.encoding;
        reply(code, encoding.media_type(), object::body(form, self.media))
    }
}
