//! Requests about any kind.
//!
//! A path comes from [`Resource::path`] (all objects, or those of a namespace) or [`Resource::object_path`] (one object,
//! or a part of it).

use std::sync::Arc;
use std::time::Duration;

use apiclient_core::selector::{FieldSelector, LabelSelector};
use apiclient_core::wire::{self, Details, ListMeta, Page, Status};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Access, AccessError};
use crate::connection::Remote;
use crate::items::Splitter;
use crate::resource::escape;
use crate::transport::{Body, Request, Transport};
use crate::{Ask, Failure, Resource, chain};

/// Objects in one page of a list (client-go's number).
pub(crate) const PAGE: usize = 500;

/// Longest line of a watch, and largest object of a list. etcd's largest object is far smaller.
pub(crate) const LARGEST: usize = 32 << 20;

/// An answer that pauses for this long in the middle of an object or a list is given up.
pub(crate) const STALL: Duration = Duration::from_secs(15);

/// A list that takes longer than this has no end.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// As much of a refusal is read, and of its text said.
const REFUSAL: usize = 64 << 10;
const SAID: usize = 300;

/// A client of one server, as one user. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

/// A change of some fields of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// Fields to set, and to remove where they are null (RFC 7386).
    Merge(Value),
    /// The same, where lists are merged by their keys.
    Strategic(Value),
    /// A list of operations (RFC 6902).
    Json(Value),
    /// What `manager` wants of an object. With `force` it takes fields over from other managers.
    Apply { manager: String, force: bool, object: Value },
}

impl Patch {
    fn content_type(&self) -> &'static str {
        match self {
            Patch::Merge(_) => "application/merge-patch+json",
            Patch::Strategic(_) => "application/strategic-merge-patch+json",
            Patch::Json(_) => "application/json-patch+json",
            Patch::Apply { .. } => "application/apply-patch+yaml",
        }
    }

    fn body(&self) -> &Value {
        match self {
            Patch::Merge(value) | Patch::Strategic(value) | Patch::Json(value) => value,
            Patch::Apply { object, .. } => object,
        }
    }
}

impl Client {
    /// The server may be away; credentials must be there.
    ///
    /// # Errors
    /// What cannot get better by waiting: a file that cannot be read or understood.
    pub fn connect(access: Access) -> Result<Self, AccessError> {
        Ok(Self::over(Remote::open(access)?))
    }

    /// The same, of a server whose answers begin within `limit`.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_within(access: Access, limit: Duration) -> Result<Self, AccessError> {
        Ok(Self::over(Remote::open(access)?.answering_within(limit)))
    }

    pub fn over(transport: impl Transport) -> Self {
        Self { transport: Arc::new(transport) }
    }

    /// The server's address, for messages.
    pub fn server(&self) -> String {
        self.transport.server()
    }

    /// One object, or what else a path gives.
    ///
    /// # Errors
    /// [`Failure`]; a refusal carries the server's Status.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, wire::JSON, None).await?.decode().await
    }

    /// All objects, page by page: for lists that are needed once. [`crate::Reflector`] follows changes.
    ///
    /// # Errors
    /// [`Failure`]; also where one object does not decode.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        labels: &LabelSelector,
        fields: &FieldSelector,
    ) -> Result<Vec<T>, Failure> {
        let (mut found, mut from, mut limit) = (Vec::new(), String::new(), PAGE);
        loop {
            let mut wrong = None;
            let path = resource.list_path(namespace, Ask::Page { limit, from: &from }, labels, fields);
            let page = self.page(&path, |item| match serde_json::from_slice(item) {
                Ok(object) => found.push(object),
                Err(error) => wrong = Some(error),
            });
            let page = match page.await {
                Err(Failure::Refused(status)) if status.is_expired() && !from.is_empty() => {
                    // The list took longer than the server remembers: take it in one piece.
                    (from, limit) = (String::new(), 0);
                    found.clear();
                    continue;
                }
                page => page?,
            };
            if let Some(error) = wrong {
                return Err(Failure::Garbled(format!("an object of the list: {error}")));
            }
            if page.next.is_empty() {
                return Ok(found);
            }
            from = page.next;
        }
    }

    /// Makes an object, or a subresource such as a Binding, or puts a question as an object; returns what the server made
    /// of it.
    ///
    /// # Errors
    /// [`Failure`]. After [`Failure::Away`] it may exist.
    pub async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(Method::POST, path, wire::JSON, object).await?.decode().await
    }

    /// Replaces an object, or a part of it. The version in its metadata must be the current one, if it has any.
    ///
    /// # Errors
    /// [`Failure`]; see [`Status::is_conflict`].
    pub async fn update<T: DeserializeOwned>(
        &self,
        path: &str,
        object: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(Method::PUT, path, wire::JSON, object).await?.decode().await
    }

    /// Changes fields of an object, or of a part of it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, patch: &Patch) -> Result<T, Failure> {
        let path = match patch {
            Patch::Apply { manager, force, .. } => {
                format!("{path}?fieldManager={}&force={force}", escape(manager))
            }
            _ => path.to_owned(),
        };
        self.send(Method::PATCH, &path, patch.content_type(), patch.body()).await?.decode().await
    }

    /// Deletes an object. `options` is a `DeleteOptions` (preconditions, propagation), or null.
    ///
    /// # Errors
    /// [`Failure`]; see [`Status::is_not_found`].
    pub async fn delete(&self, path: &str, options: &Value) -> Result<(), Failure> {
        let body = (!options.is_null()).then(|| (wire::JSON, options.to_string().into()));
        self.ask(Method::DELETE, path, wire::JSON, body).await?.whole().await?;
        Ok(())
    }

    /// The answer to a request for a list or a watch, as it comes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, wire::JSON, None).await
    }

    /// One answer with a list; `take` gets each item as it comes.
    pub(crate) async fn page(&self, path: &str, mut take: impl FnMut(&[u8])) -> Result<ListMeta, Failure> {
        let mut answer = self.open(path).await?;
        let mut splitter = Splitter::default();
        let read = async {
            loop {
                let part = tokio::time::timeout(STALL, answer.part()).await;
                match part.map_err(|_| Failure::Away(format!("the answer stopped for {STALL:?}")))?? {
                    Some(part) => splitter.feed(&part, &mut take),
                    None => return Ok(()),
                }
                if splitter.held() > LARGEST {
                    return Err(Failure::Garbled(format!("an object of more than {LARGEST} bytes")));
                }
            }
        };
        let endless = |_| Failure::Garbled(format!("the list did not end within {LONGEST:?}"));
        tokio::time::timeout(LONGEST, read).await.map_err(endless)??;
        let rest = splitter.rest().ok_or_else(|| Failure::Away("the list was cut off".to_owned()))?;
        Ok(read_json::<Page>(rest)?.metadata)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        object: &impl Serialize,
    ) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(object)
            .map_err(|error| Failure::Garbled(format!("what was to be sent is no JSON: {error}")))?;
        self.ask(method, path, wire::JSON, Some((content_type, body.into()))).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "identity");
        if let Some((content_type, _)) = &body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let request = request
            .body(body.map(|(_, body)| body).unwrap_or_default())
            .map_err(|error| Failure::Garbled(format!("{path} is no path: {error}")))?;
        match self.once(request.clone()).await {
            // A token that has run out is no reason to lose what was to be said.
            Err(failure) if failure.code() == 401 && self.transport.renew().await => self.once(request).await,
            answer => answer,
        }
    }

    async fn once(&self, request: Request) -> Result<Answer, Failure> {
        let (head, body) = self.transport.send(request).await?.into_parts();
        let answer = Answer { content_type: word(&head.headers, &CONTENT_TYPE), body };
        if head.status.is_success() {
            return Ok(answer);
        }
        let asked = word(&head.headers, &RETRY_AFTER).parse().unwrap_or(0);
        Err(Failure::Refused(Box::new(refusal(head.status, asked, answer).await)))
    }
}

fn word(headers: &HeaderMap, name: &http::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// What stands between may answer with a page instead of a Status.
async fn refusal(code: http::StatusCode, retry_after: u64, mut answer: Answer) -> Status {
    let mut text = Vec::new();
    let read = async {
        while let Ok(Some(part)) = answer.part().await {
            text.extend_from_slice(&part);
            if text.len() > REFUSAL {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(STALL, read).await;
    let mut status: Status = serde_json::from_slice(&text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&text);
        let message = if answer.is_page() {
            "it sent a web page; is it an API server, or a proxy before one?".to_owned()
        } else {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Status { message, ..Status::default() }
    });
    status.code = code.as_u16();
    status.message = status.message.chars().take(SAID).collect();
    if status.reason.is_empty() {
        status.reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    }
    if retry_after > 0 {
        let details = status.details.get_or_insert_with(Details::default);
        details.retry_after_seconds = details.retry_after_seconds.max(retry_after);
    }
    status
}

/// A successful answer whose body is still to come.
pub struct Answer {
    content_type: String,
    body: Body,
}

impl Answer {
    /// The next bytes; `None` at the end. May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn part(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            let frame =
                frame.map_err(|error| Failure::Away(format!("the connection broke: {}", chain(&*error))))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Its lines, as of a watch.
    pub fn lines(self) -> Lines {
        Lines { answer: self, held: BytesMut::new(), searched: 0 }
    }

    async fn whole(mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        let read = async {
            while let Some(part) = self.part().await? {
                whole.extend_from_slice(&part);
                if whole.len() > LARGEST {
                    return Err(Failure::Garbled(format!("an object of more than {LARGEST} bytes")));
                }
            }
            Ok(())
        };
        let late = |_| Failure::Away(format!("the answer did not end within {STALL:?}"));
        tokio::time::timeout(STALL, read).await.map_err(late)??;
        Ok(whole)
    }

    async fn decode<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let page = self.is_page();
        read_json(&self.whole().await?).map_err(|failure| if page { web_page() } else { failure })
    }

    fn is_page(&self) -> bool {
        self.content_type.trim_start().to_ascii_lowercase().starts_with("text/html")
    }
}

fn web_page() -> Failure {
    Failure::Garbled("it sent a web page; is it an API server, or a proxy before one?".to_owned())
}

/// The lines of an answer, each without its end.
pub struct Lines {
    answer: Answer,
    held: BytesMut,
    /// Bytes of `held` that hold no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line that holds something; `None` at the end. What stands in an unfinished last line is not used.
    /// May be dropped and called again.
    ///
    /// # Errors
    /// The connection broke, or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let end = self.held[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.held.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.searched > LARGEST {
                return Err(Failure::Garbled(format!("a line of more than {LARGEST} bytes")));
            }
            match self.answer.part().await? {
                Some(part) => self.held.extend_from_slice(&part),
                None => return Ok(None),
            }
        }
    }
}

pub(crate) fn read_json<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        let start: String = String::from_utf8_lossy(&json[..json.len().min(60)]).chars().collect();
        match start.trim_start().starts_with('<') {
            true => web_page(),
            false => Failure::Garbled(error.to_string()),
        }
    })
}
