//! The same over a wire: JSON in and out.

use std::sync::Arc;
use std::time::Duration;

use apiclient_core::wire::WatchEvent;
use serde_json::Value;

use super::{Api, Changed, Changes, Listed, Write, version};
use crate::client::{Lines, PAGE, read_json};
use crate::transport::Pending;
use crate::{Ask, Client, Failure, Query};

/// A watch ends after this many seconds; then the next begins.
const WATCH: u32 = 300;

/// A watch without a word for this long is not believed any more. Servers send a bookmark each minute.
const SILENCE: Duration = Duration::from_secs(150);

impl Api for Client {
    fn server(&self) -> String {
        Client::server(self)
    }

    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
        Box::pin(async move { self.get(path).await.map(Arc::new) })
    }

    fn list<'a>(&'a self, query: &'a Query, known: bool) -> Pending<'a, Result<Listed, Failure>> {
        Box::pin(async move {
            let (mut objects, mut from, mut limit) = (Vec::new(), String::new(), PAGE);
            loop {
                let ask = if known { Ask::Known } else { Ask::Page { limit, from: &from } };
                let mut wrong = None;
                let path = query.path(ask);
                let page = self.page(&path, |item| match read_json::<Value>(item) {
                    Ok(object) => objects.push(Arc::new(object)),
                    Err(failure) => wrong = Some(failure),
                });
                let page = match page.await {
                    Err(Failure::Refused(status)) if status.is_expired() && !from.is_empty() => {
                        // The list took longer than the server remembers: take it in one piece.
                        (from, limit) = (String::new(), 0);
                        objects.clear();
                        continue;
                    }
                    page => page?,
                };
                if let Some(failure) = wrong {
                    return Err(failure);
                }
                if page.next.is_empty() || page.next == from {
                    return Ok(Listed { version: page.resource_version, objects });
                }
                from = page.next;
            }
        })
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        since: &'a str,
    ) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
        Box::pin(async move {
            let answer = self.open(&query.path(Ask::Watch { since, seconds: WATCH })).await?;
            Ok(Box::new(Wire(answer.lines())) as Box<dyn Changes>)
        })
    }

    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>> {
        Box::pin(async move {
            let written: Value = match write {
                Write::Create { path, object } => self.create(path, object).await?,
                Write::Update { path, object } => self.update(path, object).await?,
                Write::Patch { path, patch } => self.patch(path, patch).await?,
                Write::Delete { path, options } => {
                    self.delete(path, options).await?;
                    Value::Null
                }
            };
            Ok(Arc::new(written))
        })
    }
}

struct Wire(Lines);

impl Changes for Wire {
    fn next(&mut self) -> Pending<'_, Result<Option<Changed>, Failure>> {
        Box::pin(async move {
            loop {
                let line = tokio::time::timeout(SILENCE, self.0.next()).await;
                let Some(line) = line.unwrap_or(Ok(None))? else { return Ok(None) };
                let event: WatchEvent<'_> = read_json(&line)?;
                let json = event.object.get().as_bytes();
                let changed = match event.what.as_ref() {
                    "ADDED" | "MODIFIED" => Changed::Put(Arc::new(read_json(json)?)),
                    "DELETED" => Changed::Gone(Arc::new(read_json(json)?)),
                    "BOOKMARK" => Changed::Until(version(&read_json::<Value>(json)?).to_owned()),
                    "ERROR" => return Err(Failure::Refused(Box::new(read_json(json)?))),
                    _ => continue,
                };
                return Ok(Some(changed));
            }
        })
    }
}
