//! `log`: what a container has written, from the agent of its node.
//!
//! Facts: `pkg/registry/core/pod/rest/log.go` of the original, and its `LocationStreamer`.

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::location::agent::{self, Agent, LogOptions};
use control_core::refusal;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use crate::backend::{Trust, exchange};
use crate::call::Call;
use crate::encoding::object;
use crate::reply::{Response, whole};
use crate::request::query::Query;
use crate::verbs::get;
use crate::websocket;

/// As much of an agent's refusal is shown. In bytes.
const SHOWN: usize = 50_000;

fn decode(query: &Query) -> Result<LogOptions, Status> {
    let flag = |name| query.flag(name).unwrap_or(false);
    let number = |name| query.number(name).map_err(refusal::bad_request);
    Ok(LogOptions {
        container: query.text("container").to_owned(),
        follow: flag("follow"),
        previous: flag("previous"),
        since_seconds: number("sinceSeconds")?,
        since_time: match query.get("sinceTime") {
            None => None,
            Some("" | "null") => Some(std::time::UNIX_EPOCH),
            Some(text) => Some(time::parse(text).ok_or_else(|| {
                refusal::bad_request(format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                ))
            })?),
        },
        timestamps: flag("timestamps"),
        tail_lines: number("tailLines")?,
        limit_bytes: number("limitBytes")?,
        unverified: flag("insecureSkipTLSVerifyBackend"),
        stream: query.get("stream").is_some(),
    })
}

/// # Errors
/// Options that make no sense, a pod or container that is not there, or an agent that gives nothing.
pub async fn run(call: &Call) -> Result<Response, Status> {
    let options = decode(&call.query)?;
    let name = call.resource.name.as_str();
    options.validate(name)?;
    let pod = object::decode(&call.served, &get::find(call).await?)?;
    let container = agent::container(&options.container, &pod)?;
    let Ok(node) = agent::node_of(&pod, name) else {
        // Nobody has run it yet.
        let mut response = Response::new(whole(""));
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let node = call.core_object("nodes", "", node).await?;
    let backends = &call.server.parts.backends;
    let agent = Agent::of(&node, &backends.preferences)?;
    let location = agent.location(agent::path("containerLogs", &pod, &container), options.query());
    let mut head = http::Request::new(());
    *head.uri_mut() = location.target().parse().unwrap_or_default();
    let headers = head.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&location.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("weft"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let trust = if options.unverified { Trust::AnyAgent } else { Trust::Agent };
    let answer = exchange::send(backends, &location, trust, head.into_parts().0, whole("")).await;
    let answer = answer.map_err(|error| refusal::unknown(format!("Get {:?}: {error}", location.url())))?;
    let code = answer.status().as_u16();
    let elsewhere = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(elsewhere) = elsewhere.filter(|_| answer.status().is_redirection()) {
        return Err(refusal::unknown(format!("Get {elsewhere:?}: redirects forbidden")));
    }
    if !(200..=206).contains(&code) {
        return Err(refused(code, name, answer.into_body()).await);
    }
    let body = answer.into_body().map_err(Into::into).boxed_unsync();
    if websocket::is_asked_for(&call.headers) {
        return Ok(websocket::serve(call, body, websocket::Messages::Reader));
    }
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// The agent's refusal as one of this server's.
async fn refused(code: u16, name: &str, body: Incoming) -> Status {
    let text = match Limited::new(body, SHOWN).collect().await {
        Ok(read) => String::from_utf8_lossy(&read.to_bytes()).into_owned(),
        Err(error) => return refusal::internal(&error.to_string()),
    };
    match code {
        500 => refusal::internal(&text),
        400 => refusal::bad_request(text),
        code => refusal::of_server(code, "pods/log", name, &text),
    }
}
