//! The OpenAPI documents of what is served: what clients validate, explain and merge with.
//!
//! Owns: `/openapi/v3`, what is below it, and `/openapi/v2`. A document is made when it is asked for, for clients keep it by
//! its hash; only the hashes are kept here, for each table of kinds. Begin at [`answer`].

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use control_core::kind::{Kind, Subresource};
use control_schema::builtin;
use control_schema::library::Schema;
use control_schema::openapi::{self, Body, Resource, v2, v3};
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts as Head;
use serde_json::Value;

use crate::discovery::{VERSION, part, verbs_of};
use crate::registry::{GroupVersion, Served, Table};
use crate::reply::{Response, no_such_path, reply};
use crate::request::info::Info;
use crate::request::query::Query;

const JSON: &str = "application/json";

/// The paths and hashes of the documents of the table that was last asked for.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<(Arc<Table>, Index)>>);

/// Paths and hashes.
type Index = Arc<[(String, String)]>;

impl Cache {
    fn index(&self, table: &Arc<Table>) -> Index {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, index)) = kept.as_ref()
            && Arc::ptr_eq(of, table)
        {
            return Arc::clone(index);
        }
        let index: Index = versions(table)
            .map(|(group, version)| (v3::path(group, &version.name), hash(&bytes(&document(group, version)))))
            .collect();
        *kept = Some((Arc::clone(table), Arc::clone(&index)));
        index
    }
}

/// The answer to a path below `/openapi`; `None` for any other. Making one takes some milliseconds, and is done aside.
pub async fn answer(
    cache: &Arc<Cache>,
    table: Arc<Table>,
    head: &Head,
    info: &Info,
    query: &Query,
) -> Option<Response> {
    let path = info.path.trim_end_matches('/').strip_prefix("/openapi/")?.to_owned();
    if info.verb != "get" {
        return None;
    }
    let known = head.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = query.text("hash").to_owned();
    let cache = Arc::clone(cache);
    let made =
        tokio::task::spawn_blocking(move || make(&cache, &table, &path, &asked, known.as_deref())).await;
    Some(made.unwrap_or_else(|_| no_such_path()))
}

fn make(cache: &Cache, table: &Arc<Table>, path: &str, asked: &str, known: Option<&str>) -> Response {
    if path == "v3" {
        let index = cache.index(table);
        return cached(
            bytes(&v3::index(index.iter().map(|(path, hash)| (path.as_str(), hash.as_str())))),
            known,
        );
    }
    if path == "v2" {
        let all: Vec<Value> = versions(table).map(|(group, version)| document(group, version)).collect();
        return cached(bytes(&v2::document(&all, VERSION)), known);
    }
    let wanted = path.strip_prefix("v3/").unwrap_or_default();
    let found = versions(table).find(|(group, version)| v3::path(group, &version.name) == wanted);
    let Some((group, version)) = found else { return no_such_path() };
    let body = bytes(&document(group, version));
    let is_it = !asked.is_empty() && asked == hash(&body);
    let mut response = cached(body, known);
    if is_it {
        // Under this hash there will never be another.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        let year = std::time::SystemTime::now() + std::time::Duration::from_secs(365 * 24 * 3_600);
        if let Ok(expires) = HeaderValue::from_str(&httpdate::fmt_http_date(year)) {
            response.headers_mut().insert(EXPIRES, expires);
        }
    }
    response
}

fn cached(body: Bytes, known: Option<&str>) -> Response {
    let etag = format!("\"{}\"", hash(&body));
    let mut response =
        if known == Some(etag.as_str()) { reply(304, JSON, Bytes::new()) } else { reply(200, JSON, body) };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn bytes(document: &Value) -> Bytes {
    document.to_string().into()
}

fn hash(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA512, body);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn versions(table: &Table) -> impl Iterator<Item = (&str, &GroupVersion)> {
    table.groups().flat_map(|(name, group)| group.versions.iter().map(move |version| (name, version)))
}

/// The document of one version of a group.
fn document(group: &str, version: &GroupVersion) -> Value {
    let parts: Vec<Vec<Part>> =
        version.resources.values().map(|served| Part::of_kind(&served.kind, group, &version.name)).collect();
    let resources: Vec<Resource<'_>> = version
        .resources
        .values()
        .zip(&parts)
        .map(|(served, parts)| resource(served, group, &version.name, parts))
        .collect();
    v3::document(&resources, VERSION)
}

fn resource<'a>(served: &'a Served, group: &'a str, version: &'a str, parts: &'a [Part]) -> Resource<'a> {
    let schema = &served.of().schema;
    let defined = served.kind.strategy.defined_fields().iter();
    let selectable = defined.filter(|field| field.versions.iter().any(|own| own == version));
    Resource {
        group,
        version,
        kind: &served.kind.kind,
        plural: &served.kind.plural,
        namespaced: served.kind.namespaced,
        verbs: verbs_of(&served.kind),
        schema,
        strategic: served.is_built_in(),
        selectable: selectable.map(|field| field.name.as_str()).collect(),
        subresources: parts.iter().map(|part| part.described(schema)).collect(),
    }
}

/// A subresource and what goes in or comes out.
struct Part {
    subresource: Subresource,
    group: String,
    version: String,
    kind: String,
    verbs: Vec<&'static str>,
    /// Where it is not the resource's own.
    schema: Option<Schema>,
}

impl Part {
    fn of_kind(kind: &Kind, group: &str, version: &str) -> Vec<Self> {
        let mut all: Vec<Self> =
            kind.subresources.iter().map(|one| Self::new(kind, *one, group, version)).collect();
        all.sort_by_key(|part| part.subresource.name());
        all
    }

    fn new(of: &Kind, subresource: Subresource, group: &str, version: &str) -> Self {
        let (own_group, own_version, kind, verbs) = part(of, subresource);
        let (group, version) =
            if own_version.is_empty() { (group, version) } else { (own_group, own_version) };
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let schema = (*kind != *of.kind).then(|| builtin::kind(&api_version, &kind)).flatten();
        Self {
            subresource,
            group: group.to_owned(),
            version: version.to_owned(),
            kind,
            verbs: verbs.to_vec(),
            schema,
        }
    }

    fn described<'a>(&'a self, own: &'a Schema) -> openapi::Subresource<'a> {
        let body = match self.subresource {
            Subresource::Log => Body::Text,
            Subresource::Exec | Subresource::Attach | Subresource::PortForward | Subresource::Proxy => {
                Body::Connection
            }
            _ => Body::Object(self.schema.as_ref().unwrap_or(own)),
        };
        openapi::Subresource {
            name: self.subresource.name(),
            group: &self.group,
            version: &self.version,
            kind: &self.kind,
            body,
            verbs: self.verbs.clone(),
        }
    }
}
