//! `exec`, `attach` and `portforward`: streams between a client and a container, through the agent of its node.
//!
//! The connection becomes a pipe of bytes between client and agent, whichever protocol they agree on: SPDY/3.1, or
//! WebSocket where the agent speaks it. An agent that does not know a client's protocol says so, and clients fall back.
//! Facts: `pkg/registry/core/pod/rest/subresources.go` of the original.

use apiclient_core::wire::Status;
use control_core::access::{self, Attributes};
use control_core::kind::Subresource;
use control_core::location::agent::{self, Agent};
use control_core::location::url;
use control_core::refusal;

use crate::backend::{Trust, forward, pipe};
use crate::call::Call;
use crate::encoding::object;
use crate::reply::Response;
use crate::request::query::{Query, parse_uint};
use crate::verbs::get;

/// # Errors
/// Nothing can be streamed to or from there, or the agent is not reached.
pub async fn run(call: &mut Call, subresource: Subresource) -> Result<Response, Status> {
    if call.query.get("dryRun").is_some() {
        return Err(refusal::bad_request("dryRun is not supported"));
    }
    let forwards = subresource == Subresource::PortForward;
    let query = if forwards { ports(&call.query)? } else { streams(&call.query, subresource) };
    may_create(call).await?;
    let name = call.resource.name.as_str();
    let pod = object::decode(&call.served, &get::find(call).await?)?;
    let container = match forwards {
        true => String::new(),
        false => agent::container(call.query.text("container"), &pod)?,
    };
    let node = call.core_object("nodes", "", agent::node_of(&pod, name)?).await?;
    let backends = &call.server.parts.backends;
    let verb = match subresource {
        Subresource::Attach => "attach",
        Subresource::PortForward => "portForward",
        _ => "exec",
    };
    let location =
        Agent::of(&node, &backends.preferences)?.location(agent::path(verb, &pod, &container), query);
    if !forward::is_upgrade(&call.headers) {
        return Err(refusal::bad_request("Upgrade request required"));
    }
    let Some(client) = call.wire.upgrade.clone() else {
        return Err(refusal::unknown("request connection cannot be hijacked"));
    };
    let head = forward::upgrading(&call.method, &location.target(), &call.headers, &call.wire.sender());
    let upgraded = pipe::upgrade(backends, &location, Trust::Agent, head, client).await;
    upgraded.map_err(|error| refusal::unknown(error.to_string()))
}

/// Who may only `get` may not start what a `create` is: browsers' WebSockets are always GETs.
async fn may_create(call: &Call) -> Result<(), Status> {
    if call.method == http::Method::POST {
        return Ok(());
    }
    let resource = &call.resource;
    let attributes = Attributes {
        verb: "create".to_owned(),
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.resource.clone(),
        subresource: resource.subresource.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        path: call.wire.path.clone(),
        ..Attributes::default()
    };
    let verdict = call.server.parts.authorizer.verdict(&attributes, &call.user).await;
    if verdict.is_allowed() {
        return Ok(());
    }
    Err(access::forbidden_because(&resource.group, &resource.resource, &resource.name, &verdict.reason))
}

/// `PodExecOptions` and `PodAttachOptions`, in the agents' names.
fn streams(query: &Query, subresource: Subresource) -> String {
    let names = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    let mut pairs: Vec<(&str, &str)> = names
        .iter()
        .filter(|(name, _)| query.flag(name) == Some(true))
        .map(|(_, theirs)| (*theirs, "1"))
        .collect();
    if subresource == Subresource::Exec {
        pairs.extend(query.all("command").map(|word| ("command", word)));
    }
    url::query(&pairs)
}

/// `PodPortForwardOptions`: for WebSocket clients, which name their ports in the request.
fn ports(query: &Query) -> Result<String, Status> {
    let refuse = |why: String| refusal::bad_request(format!("cannot convert to []int32: {why}"));
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|value| value.split(',')) {
        let port = u16::try_from(parse_uint(text).map_err(refuse)?);
        let port =
            port.map_err(|_| refuse(format!("strconv.ParseUint: parsing {text:?}: value out of range")))?;
        ports.push(port.to_string());
    }
    let ports = ports.join(",");
    Ok(if ports.is_empty() { String::new() } else { url::query(&[("port", &ports)]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_asked_for_in_the_agents_words() {
        let query = Query::parse("stdin=true&stdout=1&stderr=false&tty=&command=a&command=b+c&container=x");
        assert_eq!(streams(&query, Subresource::Exec), "command=a&command=b+c&input=1&output=1&tty=1");
        assert_eq!(streams(&query, Subresource::Attach), "input=1&output=1&tty=1");
        assert_eq!(ports(&Query::parse("ports=80&ports=81,82")).as_deref(), Ok("port=80%2C81%2C82"));
        assert_eq!(ports(&Query::parse("")).as_deref(), Ok(""));
        assert!(ports(&Query::parse("ports=x")).is_err());
    }
}
