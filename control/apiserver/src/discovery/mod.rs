//! What the server serves, for programs that ask: groups, versions, resources.
//!
//! Owns: `/api`, `/apis` and what is below them without being a resource, and `/version`. Documents are made once for
//! each table of kinds. Begin at [`Cache::answer`].

mod aggregated;
mod legacy;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts as Head;
use serde::Serialize;
use serde_json::Value;

use crate::encoding::{object, pretty, status};
use crate::negotiation::{Encoding, Media, Offer};
use crate::registry::Table;
use crate::reply::{Response, reply};
use crate::request::info;
use crate::request::query::Query;
use control_core::kind::{Kind, Subresource};
use control_core::refusal;

/// The version of Kubernetes whose protocol this is.
pub const VERSION: &str = "v1.36.3";

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Documents of the table that was last asked for.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<(Arc<Table>, [Document; 2])>>);

#[derive(Clone, Debug)]
struct Document {
    bytes: Bytes,
    etag: String,
}

impl Document {
    fn new(value: &Value) -> Self {
        let bytes = Bytes::from(format!("{value}\n"));
        let digest = ring::digest::digest(&ring::digest::SHA512, &bytes);
        let etag: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Self { bytes, etag }
    }
}

/// What documents say of the server itself.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Host and port by which clients outside reach it.
    pub address: &'a str,
    /// It shows the keys of tokens that it makes.
    pub makes_tokens: bool,
    /// Paths of checks of its health: `/livez/etcd`.
    pub checks: Vec<String>,
}

impl Cache {
    /// The answer to a path of discovery.
    pub fn answer(
        &self,
        table: &Arc<Table>,
        facts: &Facts<'_>,
        head: &Head,
        info: &info::Info,
        query: &Query,
    ) -> Option<Response> {
        let parts: Vec<&str> = info.path.split('/').filter(|part| !part.is_empty()).collect();
        let (kind, document) = match parts.as_slice() {
            [root @ ("api" | "apis")] => {
                if info.verb == "get" && wants_aggregated(head) {
                    return Some(self.aggregated_answer(head, table, *root == "api"));
                }
                match *root {
                    "api" => ("APIVersions", legacy::versions(facts.address)),
                    _ => ("APIGroupList", legacy::groups(table)),
                }
            }
            ["apis", group] => ("APIGroup", legacy::group(group, table.group(group)?)),
            ["api", version] if table.version("", version).is_some() => {
                ("APIResourceList", legacy::resources("", table.version("", version)?))
            }
            ["apis", group, version] => {
                ("APIResourceList", legacy::resources(group, table.version(group, version)?))
            }
            // Below /api everything is the API's, also what it has not.
            ["api", ..] => return Some(status::answer(&refusal::no_such_resource(), Media::default())),
            [] => ("", legacy::paths(table, facts)),
            _ => return None,
        };
        // The list of groups is the original's aggregator's, which asks for no method.
        if info.verb != "get" && kind != "APIGroupList" {
            return Some(status::answer(&refusal::method_not_allowed(), Media::default()));
        }
        Some(document_answer(head, query, kind, &document))
    }

    fn aggregated_answer(&self, head: &Head, table: &Arc<Table>, core: bool) -> Response {
        let document = self.document(table, core);
        let etag = format!("\"{}\"", document.etag);
        let known = head.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let mut response = match known == Some(etag.as_str()) {
            true => reply(304, AGGREGATED, Bytes::new()),
            false => reply(200, AGGREGATED, document.bytes),
        };
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
        response
    }

    /// The aggregated document of the core kinds, or of all others.
    fn document(&self, table: &Arc<Table>, core: bool) -> Document {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = kept.as_ref().is_some_and(|(own, _)| Arc::ptr_eq(own, table));
        if !fresh {
            let documents = [true, false].map(|core| Document::new(&aggregated::document(table, core)));
            *kept = Some((Arc::clone(table), documents));
        }
        let found = kept.as_ref().map(|(_, documents)| documents[usize::from(!core)].clone());
        found.unwrap_or_else(|| Document::new(&Value::Null))
    }
}

fn wants_aggregated(head: &Head) -> bool {
    let accepts = head.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut clauses = accepts.flat_map(|accept| accept.split(','));
    // The first of them decides, as far as it is one of both.
    clauses.any(|clause| {
        let has = |part: &str| clause.split(';').any(|own| own.trim() == part);
        has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") && has("v=v2")
    })
}

fn document_answer(head: &Head, query: &Query, kind: &str, document: &Value) -> Response {
    let media = Media::of(&head.headers, query, Offer::All, false).unwrap_or_default();
    let encoding = if kind.is_empty() { Encoding::Json } else { media.encoding };
    let media = Media { encoding, pretty: media.pretty || kind.is_empty(), ..media };
    let form = match kind {
        "" => document.to_string().into(),
        kind => object::write_meta("v1", kind, document, encoding),
    };
    reply(200, encoding.media_type(), object::body(form, media))
}

/// What `/version` tells (`version.Info`), in the original's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    major: &'static str,
    minor: &'static str,
    emulation_major: &'static str,
    emulation_minor: &'static str,
    min_compatibility_major: &'static str,
    min_compatibility_minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: String,
}

/// `/version`.
pub fn version() -> Response {
    let info = Info {
        major: "1",
        minor: "36",
        emulation_major: "1",
        emulation_minor: "36",
        min_compatibility_major: "1",
        min_compatibility_minor: "35",
        git_version: VERSION,
        git_commit: "",
        git_tree_state: "clean",
        build_date: "1970-01-01T00:00:00Z",
        go_version: "",
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, platform()),
    };
    reply(200, "application/json", pretty::indented(&serde_json::to_vec(&info).unwrap_or_default()))
}

/// As Go names it.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What can be done with a kind, in the order of the alphabet.
pub fn verbs_of(kind: &Kind) -> Vec<&'static str> {
    if kind.traits.only_create {
        return vec!["create"];
    }
    if kind.traits.only_read {
        return vec!["get", "list"];
    }
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    all.into_iter().filter(|verb| *verb != "deletecollection" || !kind.traits.no_delete_collection).collect()
}

/// A subresource: group, version and kind of what goes in or comes out (empty group and version: the kind's own), and
/// what can be done with it.
pub type Part = (&'static str, &'static str, String, &'static [&'static str]);

pub fn part(kind: &Kind, subresource: Subresource) -> Part {
    const CONNECT: &[&str] = &["create", "get"];
    const EDIT: &[&str] = &["get", "patch", "update"];
    const CREATE: &[&str] = &["create"];
    let own = kind.kind.to_string();
    match subresource {
        Subresource::Status
        | Subresource::EphemeralContainers
        | Subresource::Resize
        | Subresource::Approval => ("", "", own, EDIT),
        Subresource::Scale => ("autoscaling", "v1", "Scale".to_owned(), EDIT),
        Subresource::Binding => ("", "", "Binding".to_owned(), CREATE),
        Subresource::Eviction => ("policy", "v1", "Eviction".to_owned(), CREATE),
        Subresource::Log => ("", "", own, &["get"]),
        Subresource::Exec => ("", "", format!("{own}ExecOptions"), CONNECT),
        Subresource::Attach => ("", "", format!("{own}AttachOptions"), CONNECT),
        Subresource::PortForward => ("", "", format!("{own}PortForwardOptions"), CONNECT),
        Subresource::Proxy => {
            ("", "", format!("{own}ProxyOptions"), &["create", "delete", "get", "patch", "update"])
        }
        Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest".to_owned(), CREATE),
        Subresource::Finalize => ("", "", own, &["update"]),
    }
}
