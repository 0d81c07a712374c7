//! ComponentStatus: nothing of it is stored; who is asked for is asked itself.
//!
//! Facts: `pkg/registry/core/componentstatus` of the original: the scheduler and the controller manager are looked for on
//! this machine, at the ports that they have by default.

use std::collections::BTreeMap;
use std::time::Duration;

use apiclient_core::wire::{ListMeta, Status};
use control_core::location::{Location, Scheme};
use control_core::refusal;
use http::header::{HOST, HeaderValue};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use super::list;
use crate::backend::{Trust, exchange};
use crate::call::Call;
use crate::encoding::{self, object, table};
use crate::negotiation::Shape;
use crate::reply::{Response, reply, whole};
use crate::request::options::{IncludeObject, ListOptions};

/// How long a component may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(20);
/// As much of what it says is shown. In bytes.
const SHOWN: usize = 10 << 10;

/// Components by their names, in order, and where they say how they are. etcd is asked all the time.
const COMPONENTS: [(&str, Option<&str>); 3] =
    [("controller-manager", Some("10257")), (ETCD, None), ("scheduler", Some("10259"))];
const ETCD: &str = "etcd-0";

/// # Errors
/// 404.
pub async fn get(call: &Call) -> Result<Response, Status> {
    let wanted = call.resource.name.as_str();
    match COMPONENTS.iter().find(|(name, _)| *name == wanted) {
        Some((name, port)) => call.answer_value(200, status(call, name, *port).await),
        None => Err(refusal::missing("", "componentstatus", wanted)),
    }
}

/// # Errors
/// Parameters that make no sense.
pub async fn list(call: &Call) -> Result<Response, Status> {
    let options = ListOptions::decode(&call.query, false)?;
    let include = IncludeObject::decode(&call.query)?;
    let selection = list::selection(&call.served, &options)?;
    let [first, second, third] = COMPONENTS.map(|(name, port)| status(call, name, port));
    let (first, second, third) = tokio::join!(first, second, third);
    let mut found = vec![first, second, third];
    found.retain(|component| {
        let name = component["metadata"]["name"].as_str().unwrap_or_default();
        let field = |field: &str| if field == "metadata.name" { name } else { "" };
        selection.fields.matches(field) && selection.labels.matches(&BTreeMap::new())
    });
    Ok(collection(call, found, include))
}

/// A list of objects that are not in storage.
pub(super) fn collection(call: &Call, found: Vec<Value>, include: IncludeObject) -> Response {
    let (media, served) = (call.media, &*call.served);
    if media.shape == Shape::Table {
        let table = table::of_values(served, &found, media.meta_version, include);
        return call.answer_other(200, media.meta_version.api_version(), "Table", &table);
    }
    let encoding = encoding::list::of_items(media.encoding);
    let forms: Vec<_> = found
        .into_iter()
        .map(|component| object::encode(served, component, encoding, media.shape, media.meta_version))
        .collect();
    let body = encoding::list::join(served, &ListMeta::default(), &forms, media);
    reply(200, media.encoding.media_type(), body)
}

async fn status(call: &Call, name: &str, port: Option<&str>) -> Value {
    let (healthy, message, error) = match port {
        Some(port) => asked(call, port).await,
        None if call.server.store().is_connected() => (true, "ok".to_owned(), ""),
        None => (false, String::new(), "context deadline exceeded"),
    };
    let mut condition = json!({"type": "Healthy", "status": if healthy { "True" } else { "False" }});
    for (field, text) in [("message", message.as_str()), ("error", error)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition],
    })
}

/// Whether a component is well, and what it says.
async fn asked(call: &Call, port: &str) -> (bool, String, &'static str) {
    let location = Location {
        scheme: Scheme::Https,
        host: "127.0.0.1".to_owned(),
        port: port.to_owned(),
        path: "/healthz".to_owned(),
        query: String::new(),
    };
    let mut head = http::Request::new(());
    *head.uri_mut() = location.target().parse().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(&location.authority()) {
        head.headers_mut().insert(HOST, host);
    }
    let head = head.into_parts().0;
    let asking = async {
        let answer =
            exchange::send(&call.server.parts.backends, &location, Trust::Anybody, head, whole("")).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let code = answer.status().as_u16();
        let read = Limited::new(answer.into_body(), SHOWN).collect().await;
        let text = read.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
        Ok::<_, String>((code, text.unwrap_or_default()))
    };
    let failed = |why: &str| (false, format!("Get {:?}: {why}", location.url()), "");
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok((200..=399, text))) => (true, text, ""),
        Ok(Ok((code, _))) => (false, format!("HTTP probe failed with statuscode: {code}"), ""),
        Ok(Err(why)) => failed(&why),
        Err(_) => failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
    }
}
