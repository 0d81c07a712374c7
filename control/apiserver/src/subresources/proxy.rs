//! `proxy`: any HTTP request to a port of a pod, of a service's endpoint or of a node, through this server.
//!
//! Facts: the `proxy.go` of pods, services and nodes of the original, and apimachinery's `util/proxy`.

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::location::agent::Agent;
use control_core::location::port::{self, Named};
use control_core::location::{Location, url};
use control_core::refusal;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use rand::Rng;

use crate::backend::{self, Trust, exchange, forward, html, pipe, rewrite};
use crate::call::Call;
use crate::reply::{Body, Response, whole};

/// # Errors
/// There is no such port, or nobody answers there.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    if call.query.get("dryRun").is_some() {
        return Err(refusal::bad_request("dryRun is not supported"));
    }
    let (mut location, trust) = locate(call).await?;
    location.path = url::clean(&below(&call.resource.rest, &call.wire.path));
    let from = call.wire.sender();
    if forward::is_upgrade(&call.headers) {
        let Some(client) = call.wire.upgrade.clone() else {
            return Err(refusal::unknown("request connection cannot be hijacked"));
        };
        let head = forward::upgrading(&call.method, &location.target(), &call.headers, &from);
        let upgraded = pipe::upgrade(&call.server.parts.backends, &location, trust, head, client).await;
        return upgraded.map_err(|error| refusal::unknown(error.to_string()));
    }
    let query = call.wire.uri.query().unwrap_or_default();
    location.query = query.to_owned();
    if location.path.is_empty() && matches!(call.method, Method::GET | Method::HEAD) {
        return Ok(to_root(&call.wire.path, query));
    }
    let prefix = prefix(&call.wire.path, &location.path);
    let forwarded_uri = url::clean(&format!("{prefix}{}", url::encode_path(&location.path)));
    let head = forward::plain(&call.method, &location.target(), &call.headers, &from, &forwarded_uri);
    let answer = exchange::send(&call.server.parts.backends, &location, trust, head, body).await;
    let answer =
        answer.map_err(|error| refusal::unavailable(format!("error trying to reach service: {error}")))?;
    let (mut head, body) = answer.into_parts();
    forward::answer(&mut head.headers);
    let authority = location.authority();
    let source = rewrite::Source { prefix, authority: &authority, host: &call.wire.host };
    let mut body = body.map_err(Into::into).boxed_unsync();
    match head.headers.get(LOCATION).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty()) {
        Some(given) => {
            if let Ok(value) = HeaderValue::from_str(&rewrite::reference(given, &source)) {
                head.headers.insert(LOCATION, value);
            }
        }
        None => body = html::rewritten(&mut head.headers, body, &source).await?,
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = with_own(&head.headers);
    Ok(response)
}

/// This server's headers come first, and the backend's are added to them.
fn with_own(headers: &HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::new();
    all.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    for (name, value) in headers {
        all.append(name.clone(), value.clone());
    }
    all
}

/// The path behind `proxy`, with the slashes around it that the request had.
fn below(rest: &str, path: &str) -> String {
    let mut below = rest.to_owned();
    if !below.is_empty() && !below.starts_with('/') {
        below.insert(0, '/');
    }
    if path.ends_with('/') && !below.ends_with('/') {
        below.push('/');
    }
    below
}

/// The part of the request's path that leads to the backend.
fn prefix<'a>(path: &'a str, below: &str) -> &'a str {
    let suffix =
        if path.ends_with('/') && !below.ends_with('/') { format!("{below}/") } else { below.to_owned() };
    path.strip_suffix(suffix.as_str()).unwrap_or(path)
}

/// Relative references in the page at a backend's root lead astray without a slash at the end of its path.
fn to_root(path: &str, query: &str) -> Response {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(value) = HeaderValue::from_str(&format!("{path}/{query}")) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

async fn locate(call: &Call) -> Result<(Location, Trust), Status> {
    let (namespace, id) = (call.resource.namespace.as_str(), call.resource.name.as_str());
    match call.resource.resource.as_str() {
        "pods" => {
            let named = Named::parse(id, "pod")?;
            let pod = call.core_object("pods", namespace, named.name).await?;
            Ok((port::of_pod(&named, &pod)?, Trust::Anybody))
        }
        "services" => {
            let named = Named::parse(id, "service")?;
            let name = match named.port.parse::<i64>() {
                Ok(number) => {
                    let service = call.core_object("services", namespace, named.name).await?;
                    port::name_of_service_port(&named, number, &service)?
                }
                Err(_) => named.port.to_owned(),
            };
            let endpoints = call.core_object("endpoints", namespace, named.name).await?;
            let start = usize::from(rand::rng().random::<u16>());
            let pod = |name: &str| call.server.memory.get("pods", namespace, name).map(|pod| (*pod).clone());
            let location = port::of_service(&named, id, &name, &endpoints, namespace, start, pod)?;
            Ok((location, Trust::Anybody))
        }
        _ => {
            let named = Named::parse(id, "node")?;
            let node = call.core_object("nodes", "", named.name).await?;
            let agent = Agent::of(&node, &call.server.parts.backends.preferences)?;
            let resolved = backend::addresses(&agent.host).await.map_err(refusal::bad_request)?;
            let (location, is_agent) = port::of_node(&named, &agent, &resolved)?;
            Ok((location, if is_agent { Trust::Agent } else { Trust::Anybody }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_backend_is_what_follows_proxy() {
        assert_eq!(below("", "/api/v1/nodes/n/proxy"), "");
        assert_eq!(below("", "/api/v1/nodes/n/proxy/"), "/");
        assert_eq!(below("a/b", "/api/v1/nodes/n/proxy/a/b/"), "/a/b/");
        assert_eq!(prefix("/api/v1/nodes/n/proxy/a/b/", "/a/b/"), "/api/v1/nodes/n/proxy");
        assert_eq!(prefix("/api/v1/nodes/n/proxy/a//b", "/a/b"), "/api/v1/nodes/n/proxy/a//b");
    }
}
