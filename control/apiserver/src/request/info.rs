//! What a request's path and method mean, before anything is known of the kind that it names.
//!
//! Owns: the forms of paths (`/api/VERSION/...`, `/apis/GROUP/VERSION/...`, `/watch/`, `namespaces/NS/...`) and the verb.
//! Facts: apiserver's `endpoints/request/requestinfo.go`. Begin at [`Info::of`].

use apiclient_core::names;
use apiclient_core::percent::decode;
use apiclient_core::selector::FieldSelector;
use http::Method;

use super::query::Query;

/// A request, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Decoded, as it came.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for what is no resource the
    /// method in lower case; empty for a method that no resource has.
    pub verb: String,
    /// `None` for a path that is no resource's.
    pub resource: Option<Resource>,
}

/// What of the API a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    /// Empty for cluster-scoped resources, and for all namespaces at once.
    pub namespace: String,
    /// Plural.
    pub resource: String,
    /// From the path; empty for a collection.
    pub name: String,
    pub subresource: String,
    /// What follows the subresource (`proxy`): segments without slashes at their ends.
    pub rest: String,
    /// By an old path, `/api/v1/watch/...`.
    pub old_watch: bool,
    /// The one object that a field selector admits; authorization counts it as the name.
    pub selected_name: String,
}

impl Resource {
    /// The name that authorization sees.
    pub fn any_name(&self) -> &str {
        if self.name.is_empty() { &self.selected_name } else { &self.name }
    }
}

/// Subresources of a namespace; every other third part is a resource in the namespace.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

/// Subresources that are streams for as long as both ends like.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

impl Info {
    /// A request that lasts, and is no watch.
    pub fn is_stream(&self) -> bool {
        self.resource.as_ref().is_some_and(|own| STREAMS.contains(&own.subresource.as_str()))
    }

    /// `path` is as it came, with its `%XX`.
    ///
    /// # Errors
    /// The path cannot be decoded.
    pub fn of(method: &Method, path: &str, query: &Query) -> Result<Self, BadPath> {
        let path = decode(path, false).ok_or(BadPath)?;
        let other = Self { verb: method.as_str().to_ascii_lowercase(), path: path.clone(), resource: None };
        let trimmed = path.trim_matches('/');
        let parts: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        let (group, rest) = match parts.as_slice() {
            ["api", rest @ ..] => ("", rest),
            ["apis", group, rest @ ..] => (*group, rest),
            _ => return Ok(other),
        };
        let [version, rest @ ..] = rest else { return Ok(other) };
        let (old_watch, rest) = match rest {
            ["watch", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        if rest.is_empty() {
            return Ok(other);
        }
        let mut found = Resource {
            group: group.to_owned(),
            version: (*version).to_owned(),
            old_watch,
            ..Resource::default()
        };
        let rest = match rest {
            ["namespaces", namespace, inner @ ..] => {
                found.namespace = (*namespace).to_owned();
                match inner {
                    [first, ..] if !OF_NAMESPACES.contains(first) => inner,
                    _ => rest,
                }
            }
            rest => rest,
        };
        let mut parts = rest.iter();
        let mut next = |into: &mut String| {
            if let Some(part) = parts.next() {
                (*part).clone_into(into);
            }
        };
        next(&mut found.resource);
        next(&mut found.name);
        next(&mut found.subresource);
        found.rest = parts.copied().collect::<Vec<_>>().join("/");
        let verb = verb(method, &found, query);
        if found.name.is_empty() && matches!(verb, "list" | "watch") {
            found.selected_name = selected_name(query);
        }
        Ok(Self { path, verb: verb.to_owned(), resource: Some(found) })
    }
}

/// A path with a `%` that stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPath;

fn verb(method: &Method, resource: &Resource, query: &Query) -> &'static str {
    let one = !resource.name.is_empty();
    match *method {
        _ if resource.old_watch => "watch",
        Method::GET | Method::HEAD if one => "get",
        Method::GET | Method::HEAD if query.flag("watch") == Some(true) => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

fn selected_name(query: &Query) -> String {
    let selector = query.get("fieldSelector").and_then(|text| text.parse::<FieldSelector>().ok());
    let named = selector.as_ref().and_then(exact_name);
    named.filter(|name| names::path_segment(name).is_ok()).unwrap_or_default().to_owned()
}

/// The one name that a field selector admits.
pub fn exact_name(selector: &FieldSelector) -> Option<&str> {
    let mut all = selector.requirements().iter();
    all.find(|one| one.equal && one.field == "metadata.name").map(|one| one.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &str) -> Info {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Info::of(&method, path, &Query::parse(query)).expect("a path")
    }

    /// verb, group/version, namespace, resource, name, subresource, rest
    fn shown(method: Method, path: &str) -> String {
        let info = of(method, path);
        let Some(found) = info.resource else { return format!("{} {}", info.verb, info.path) };
        [
            info.verb,
            format!("{}/{}", found.group, found.version),
            found.namespace,
            found.resource,
            found.name,
            found.subresource,
            found.rest,
        ]
        .join(" ")
    }

    #[test]
    fn paths_are_taken_apart() {
        for (method, path, want) in [
            (Method::GET, "/api/v1/pods", "list /v1  pods   "),
            (Method::GET, "/api/v1/pods/", "list /v1  pods   "),
            (Method::GET, "/api/v1/pods?watch=1", "watch /v1  pods   "),
            (Method::GET, "/api/v1/pods?watch=false", "list /v1  pods   "),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch /v1 a pods   "),
            (Method::GET, "/api/v1/watch/namespaces/a/pods/b", "watch /v1 a pods b  "),
            (Method::GET, "/api/v1/namespaces/a/pods/b", "get /v1 a pods b  "),
            (Method::GET, "/api/v1/namespaces/a/pods/b/log", "get /v1 a pods b log "),
            (Method::POST, "/api/v1/namespaces/a/pods/b/proxy/x/y", "create /v1 a pods b proxy x/y"),
            (Method::GET, "/api/v1/namespaces", "list /v1  namespaces   "),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 a namespaces a  "),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 a namespaces a finalize "),
            (Method::GET, "/api/v1/namespaces/a/status", "get /v1 a namespaces a status "),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection apps/v1 a deployments   ",
            ),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/deployments/d", "delete apps/v1 a deployments d  "),
            (Method::PATCH, "/apis/g/v1/things/t%3A1", "patch g/v1  things t:1  "),
            (Method::OPTIONS, "/api/v1/pods", " /v1  pods   "),
            (Method::GET, "/healthz", "get /healthz"),
            (Method::GET, "/apis/apps/v1", "get /apis/apps/v1"),
            (Method::GET, "/api/v1", "get /api/v1"),
            (Method::GET, "/", "get /"),
        ] {
            assert_eq!(shown(method, path), want, "{path}");
        }
        assert_eq!(Info::of(&Method::GET, "/api/%zz", &Query::default()), Err(BadPath));
    }

    #[test]
    fn a_selector_for_one_name_names_it() {
        let name = |path| of(Method::GET, path).resource.expect("a resource").any_name().to_owned();
        assert_eq!(name("/api/v1/pods?fieldSelector=metadata.name%3Da"), "a");
        assert_eq!(name("/api/v1/pods?fieldSelector=metadata.name!%3Da"), "");
        assert_eq!(name("/api/v1/pods?fieldSelector=metadata.name%3Da%2Fb"), "");
        assert_eq!(name("/api/v1/pods?fieldSelector=%2C%2C"), "");
    }

    #[test]
    fn no_path_breaks_it() {
        for path in
            ["", "//", "/api", "/apis", "/api//", "/apis///", "/api/v1/watch", "/api/v1/namespaces/", "/%C3"]
        {
            let _ = Info::of(&Method::GET, path, &Query::default());
        }
    }
}
