//! The agent of a node (the kubelet), and what it is asked: logs, and streams to and from containers.

use std::time::SystemTime;

use apiclient_core::time;
use apiclient_core::wire::Status;
use serde_json::Value;

use super::{Location, Scheme, url};
use crate::field::{FieldError, Path};
use crate::{edit, refusal};

/// How agents are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// Types of a node's addresses, the preferred one first.
    pub address_types: Vec<String>,
    /// Where a node says no port.
    pub port: u16,
}

impl Default for Preferences {
    fn default() -> Self {
        let types = ["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"];
        Self { address_types: types.map(str::to_owned).to_vec(), port: 10_250 }
    }
}

/// Where the agent of a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub host: String,
    pub port: u16,
}

impl Agent {
    /// # Errors
    /// 500: the node has no address of a type that is wanted.
    pub fn of(node: &Value, preferences: &Preferences) -> Result<Self, Status> {
        let addresses = edit::list(node, &["status", "addresses"]);
        let field = |address: &Value, name: &str| edit::text(address, &[name]).to_owned();
        let mut wanted = preferences
            .address_types
            .iter()
            .filter_map(|wanted| addresses.iter().find(|address| edit::text(address, &["type"]) == wanted));
        let Some(found) = wanted.next() else {
            let known: Vec<_> = addresses
                .iter()
                .map(|address| format!("{{{} {}}}", field(address, "type"), field(address, "address")))
                .collect();
            return Err(refusal::unknown(format!(
                "no preferred addresses found; known addresses: [{}]",
                known.join(" ")
            )));
        };
        let port = edit::at(node, &["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).as_i64();
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        Ok(Self { host: field(found, "address"), port: port.unwrap_or(preferences.port) })
    }

    pub fn location(&self, path: String, query: String) -> Location {
        Location { scheme: Scheme::Https, host: self.host.clone(), port: self.port.to_string(), path, query }
    }
}

/// The container that is meant: the named one, or the only one.
///
/// # Errors
/// 400: there is no such container, or none is named where there are several.
pub fn container(wanted: &str, pod: &Value) -> Result<String, Status> {
    let pod_name = edit::text(pod, &["metadata", "name"]);
    let names = |field| {
        let all = edit::list(pod, &["spec", field]).iter();
        all.map(|container| edit::text(container, &["name"]))
    };
    let all = || names("initContainers").chain(names("containers")).chain(names("ephemeralContainers"));
    if !wanted.is_empty() {
        return match all().any(|name| name == wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(refusal::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
        };
    }
    let own: Vec<_> = names("containers").collect();
    match own.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(refusal::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        _ => Err(refusal::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            all().collect::<Vec<_>>().join(" ")
        ))),
    }
}

/// The node that a stream to a pod goes to.
///
/// # Errors
/// 400: the pod has none yet.
pub fn node_of<'a>(pod: &'a Value, name: &str) -> Result<&'a str, Status> {
    match edit::text(pod, &["spec", "nodeName"]) {
        "" => Err(refusal::bad_request(format!("pod {name} does not have a host assigned"))),
        node => Ok(node),
    }
}

/// `/VERB/NAMESPACE/POD/CONTAINER`, as agents know what is in a pod; the last part is left out for an empty container.
pub fn path(verb: &str, pod: &Value, container: &str) -> String {
    let own = |field| edit::text(pod, &["metadata", field]);
    let end = if container.is_empty() { String::new() } else { format!("/{container}") };
    format!("/{verb}/{}/{}{end}", own("namespace"), own("name"))
}

/// `PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub container: String,
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    pub since_time: Option<SystemTime>,
    pub tail_lines: Option<i64>,
    pub limit_bytes: Option<i64>,
    /// The agent's certificate need not be that of a known authority.
    pub unverified: bool,
    /// Nobody may ask for one stream: that is an alpha feature of the original.
    pub stream: bool,
}

impl LogOptions {
    /// # Errors
    /// 422 for what makes no sense; `pod` is its name.
    pub fn validate(&self, pod: &str) -> Result<(), Status> {
        let mut faults = Vec::new();
        let mut invalid = |field: &str, value: i64, why: &str| {
            faults.push(FieldError::invalid(&Path::new(field), &value.into(), why));
        };
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            invalid("tailLines", lines, "must be greater than or equal to 0");
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            invalid("limitBytes", bytes, "must be greater than 0");
        }
        match (self.since_seconds, self.since_time) {
            (Some(_), Some(_)) => faults.push(FieldError::forbidden(
                // The original's path has one name, which is empty.
                &Path::new("[]"),
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            )),
            (Some(seconds), None) if seconds < 1 => {
                invalid("sinceSeconds", seconds, "must be greater than 0")
            }
            _ => {}
        }
        if self.stream {
            faults.push(FieldError::forbidden(&Path::new("stream"), "may not be specified"));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(refusal::invalid_kind("", "PodLogOptions", pod, &faults))
    }

    /// What the agent is asked.
    pub fn query(&self) -> String {
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let truth = |value: bool| value.then(|| "true".to_owned());
        let pairs = [
            ("follow", truth(self.follow)),
            ("previous", truth(self.previous)),
            ("timestamps", truth(self.timestamps)),
            ("sinceSeconds", number(self.since_seconds)),
            ("sinceTime", self.since_time.map(time::seconds)),
            ("tailLines", number(self.tail_lines)),
            ("limitBytes", number(self.limit_bytes)),
        ];
        let given: Vec<_> =
            pairs.iter().filter_map(|(name, value)| value.as_deref().map(|value| (*name, value))).collect();
        url::query(&given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Value {
        json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}},
        }})
    }

    #[test]
    fn an_agent_is_found_by_the_preferred_address_and_its_own_port() {
        let found = Agent::of(&node(), &Preferences::default()).expect("an address");
        assert_eq!(found, Agent { host: "n1".to_owned(), port: 1234 });
        let internal = Preferences { address_types: vec!["InternalIP".to_owned()], port: 10_250 };
        assert_eq!(Agent::of(&node(), &internal).expect("an address").host, "10.0.0.1");
        let mut silent = node();
        silent["status"]["daemonEndpoints"] = Value::Null;
        assert_eq!(Agent::of(&silent, &internal).expect("an address").port, 10_250);
        let external = Preferences { address_types: vec!["ExternalIP".to_owned()], port: 1 };
        let refused = Agent::of(&node(), &external).expect_err("none");
        assert_eq!(
            refused.message,
            "no preferred addresses found; known addresses: [{InternalIP 10.0.0.1} {Hostname n1}]"
        );
    }

    #[test]
    fn a_container_is_the_named_one_or_the_only_one() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}],
        }});
        assert_eq!(container("", &pod).as_deref(), Ok("a"));
        assert_eq!(container("e", &pod).as_deref(), Ok("e"));
        assert_eq!(
            container("x", &pod).expect_err("no container").message,
            "container x is not valid for pod p"
        );
        let mut two = pod;
        two["spec"]["containers"] = json!([{"name": "a"}, {"name": "b"}]);
        assert_eq!(
            container("", &two).expect_err("several").message,
            "a container name must be specified for pod p, choose one of: [i a b e]"
        );
    }

    #[test]
    fn options_of_logs_are_checked_and_handed_on() {
        let options =
            LogOptions { follow: true, tail_lines: Some(0), limit_bytes: Some(9), ..LogOptions::default() };
        assert_eq!(options.validate("p"), Ok(()));
        assert_eq!(options.query(), "follow=true&limitBytes=9&tailLines=0");
        let wrong = LogOptions { tail_lines: Some(-1), since_seconds: Some(0), ..LogOptions::default() };
        let refused = wrong.validate("p").expect_err("wrong");
        assert_eq!(refused.code, 422);
        assert!(refused.message.contains("tailLines: Invalid value: -1"), "{}", refused.message);
    }
}
