//! The OpenAPI documents of what is served: what clients validate, explain and merge with.
//!
//! Owns: `/openapi/v3`, what is below it, and `/openapi/v2`. A document is made when it is asked for, for clients keep it by
//! its hash; only the hashes are kept here, for the last table of kinds. Begin at [`answer`].

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

/// What is known of the documents of the tables that were last asked for.
#[derive(Debug, Default)]
pub struct Cache {
    index: Mutex<Option<(Arc<Table>, Index)>>,
    /// The hash of the document of version 2.
    v2: Mutex<Option<(Arc<Table>, String)>>,
}

/// Paths and hashes of the documents of version 3.
type Index = Arc<[(String, String)]>;

impl Cache {
    fn index(&self, table: &Arc<Table>) -> Index {
        let mut kept = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, index)) = kept.as_ref()
            && Arc::ptr_eq(of, table)
        {
            return Arc::clone(index);
        }
        // A definition changes one version or a few: the documents of all others are as they were.
        let former = |group: &str, version: &GroupVersion, path: &str| {
            let (of, index) = kept.as_ref()?;
            let same = of.version(group, &version.name).is_some_and(|own| serve_the_same(own, version));
            index.iter().find(|(own, _)| same && own == path).map(|(_, hash)| hash.clone())
        };
        let known = |(group, version): (&str, &GroupVersion)| {
            let path = v3::path(group, &version.name);
            let hash =
                former(group, version, &path).unwrap_or_else(|| hash(&bytes(&document(group, version))));
            (path, hash)
        };
        let index: Index = versions(table).map(known).collect();
        *kept = Some((Arc::clone(table), Arc::clone(&index)));
        index
    }

    /// The hash of the table's document of version 2, once it was made.
    fn v2(&self, table: &Arc<Table>) -> Option<String> {
        let kept = self.v2.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| Arc::ptr_eq(of, table)).map(|(_, hash)| hash.clone())
    }

    fn keep_v2(&self, table: &Arc<Table>, hash: String) {
        *self.v2.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(table), hash));
    }
}

fn serve_the_same(one: &GroupVersion, other: &GroupVersion) -> bool {
    let same = |(one, other): (&Arc<Served>, &Arc<Served>)| {
        Arc::ptr_eq(&one.kind, &other.kind) && one.version == other.version
    };
    one.resources.len() == other.resources.len()
        && one.resources.values().zip(other.resources.values()).all(same)
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
        let body = bytes(&v3::index(index.iter().map(|(path, hash)| (path.as_str(), hash.as_str()))));
        return tagged(&hash(&body), body, known);
    }
    if path == "v2" {
        if let Some(hash) = cache.v2(table)
            && known == Some(quoted(&hash).as_str())
        {
            return tagged(&hash, Bytes::new(), known);
        }
        let all: Vec<Value> = versions(table).map(|(group, version)| document(group, version)).collect();
        let body = bytes(&v2::document(&all, VERSION));
        let hash = hash(&body);
        cache.keep_v2(table, hash.clone());
        return tagged(&hash, body, known);
    }
    let wanted = path.strip_prefix("v3/").unwrap_or_default();
    let found = versions(table).find(|(group, version)| v3::path(group, &version.name) == wanted);
    let Some((group, version)) = found else { return no_such_path() };
    let body = bytes(&document(group, version));
    let hash = hash(&body);
    let is_it = !asked.is_empty() && asked == hash;
    let mut response = tagged(&hash, body, known);
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

/// A document under the hash of its bytes; without them where the client knows that one.
fn tagged(hash: &str, body: Bytes, known: Option<&str>) -> Response {
    let etag = quoted(hash);
    let mut response =
        if known == Some(etag.as_str()) { reply(304, JSON, Bytes::new()) } else { reply(200, JSON, body) };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn quoted(hash: &str) -> String {
    format!("\"{hash}\"")
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

#[cfg(test)]
mod tests {
    use control_core::kinds;

    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_document_that_a_client_knows_is_not_made_again_and_hashes_outlive_a_change_elsewhere() {
        let all: Vec<Arc<Kind>> = kinds::all(&builtin::library()).into_iter().map(Arc::new).collect();
        let registry = Registry::default();
        registry.replace(all.iter().cloned());
        let (cache, table) = (Cache::default(), registry.table());
        assert_eq!(cache.v2(&table), None);
        let whole = make(&cache, &table, "v2", "", None);
        let etag = whole.headers()[ETAG].to_str().expect("text").to_owned();
        assert_eq!(
            (whole.status().as_u16(), cache.v2(&table).map(|hash| quoted(&hash))),
            (200, Some(etag.clone()))
        );
        assert_eq!(make(&cache, &table, "v2", "", Some(&etag)).status().as_u16(), 304);
        let before = cache.index(&table);
        // One kind goes, and its version's hash alone is another.
        registry.replace(all.into_iter().filter(|kind| &*kind.kind != "Lease"));
        let table = registry.table();
        assert_eq!(cache.v2(&table), None);
        let after = cache.index(&table);
        assert_eq!(after, Cache::default().index(&table), "as if nothing had been known");
        let gone: Vec<_> = before.iter().filter(|known| !after.contains(known)).collect();
        assert!(gone.iter().all(|(path, _)| path.contains("coordination.k8s.io")), "{gone:?}");
        assert!(!gone.is_empty());
    }
}
