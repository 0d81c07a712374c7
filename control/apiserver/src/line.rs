//! A request's way: in at one end, an answer out at the other, through all stations in their order.
//!
//! Begin at [`Server::handle`]. Never: knows a kind by name.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use apiclient_core::wire::Status;
use control_core::access::{self, Attributes, User};
use control_core::fairness::work;
use control_core::refusal;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderValue, VARY, WARNING};
use http::request::Parts as Head;
use http_body::Body as _;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::access::impersonated;
use crate::call::{Call, Wire};
use crate::encoding::{gzip, status};
use crate::metrics::Labels;
use crate::negotiation::Media;
use crate::reply::{Request, Response, Upgrading, no_such_path};
use crate::request::info::Info;
use crate::request::query::Query;
use crate::server::{Peer, Server};
use crate::{discovery, dispatch, openapi};

/// Under what a request was counted, by the objects' UIDs.
const FLOW_SCHEMA: &str = "x-kubernetes-pf-flowschema-uid";
const PRIORITY_LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";

impl Server {
    /// The answer to a request. Its body is still to be read, and may be a stream that lasts.
    pub async fn handle(self: &Arc<Self>, request: Request, peer: &Peer) -> Response {
        let (begin, audit_id) = (Instant::now(), audit_id(request.headers()));
        let (head, body) = request.into_parts();
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let mut response = match Info::of(&head.method, head.uri.path(), &query) {
            Err(_) => crate::reply::text(400, "Bad Request"),
            Ok(info) => {
                let known = self.is_known(&info);
                let dry_run = query.get("dryRun").is_some();
                let labels = Labels::of(&head.method, &info, known, dry_run);
                // In a box, as below: callers' stacks hold what is not.
                let mut response = Box::pin(self.answer(&head, body, query, info, peer)).await;
                let (code, took) = (response.status().as_u16(), begin.elapsed());
                self.metrics.requests.observe(&labels, code, took, response.body().size_hint().exact());
                if response.extensions_mut().remove::<crate::reply::GivenUp>().is_some() {
                    self.metrics.requests.given_up(&labels, code);
                }
                pack(&head, &mut response);
                response
            }
        };
        if response.extensions_mut().remove::<Upgrading>().is_some() {
            return response;
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&audit_id) {
            headers.insert("audit-id", id);
        }
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        response
    }

    /// From who asks to a place among all that are served.
    async fn answer(
        self: &Arc<Self>,
        head: &Head,
        body: crate::reply::Body,
        query: Query,
        info: Info,
        peer: &Peer,
    ) -> Response {
        let refused = |refused: &Status| status::answer(refused, status_media(head, &query));
        // Nobody is told "forbidden" or "not found" by a server that knows nothing yet.
        if info.resource.is_some() && !self.store().loaded().await {
            return refused(&refusal::loading());
        }
        let user = match self.authenticate(head, peer).await {
            Ok(user) => user,
            Err(refusal) => return refused(&refusal),
        };
        let attributes = attributes(&info, &query);
        let user = match impersonated(&self.parts.authorizer, &head.headers, user, &attributes).await {
            Ok(user) => user,
            Err(refusal) => return unsniffed(refused(&refusal)),
        };
        let place = self.fairness.as_ref().filter(|_| !info.is_stream());
        let place = place.map(|fairness| fairness.classify(&attributes, &user));
        let seat = match (&self.fairness, &place) {
            (Some(fairness), Some(place)) => {
                fairness.enter(place.clone(), self.width(&info, &query)).await.map(Some)
            }
            _ => Some(None),
        };
        let counted = self.inflight.enter(&info);
        let mut response = match (&seat, &counted) {
            (Some(_), Some(_)) => self.serve(head, body, query, info, user, &attributes).await,
            _ => crate::reply::too_many_requests(),
        };
        if let Some(place) = place {
            for (name, uid) in [(FLOW_SCHEMA, &place.schema_uid), (PRIORITY_LEVEL, &place.level_uid)] {
                if let Ok(uid) = HeaderValue::from_str(uid) {
                    response.headers_mut().insert(name, uid);
                }
            }
        }
        response
    }

    /// From what he may to what he gets.
    async fn serve(
        self: &Arc<Self>,
        head: &Head,
        body: crate::reply::Body,
        query: Query,
        info: Info,
        user: Arc<User>,
        attributes: &Attributes,
    ) -> Response {
        let refused = |refused: &Status| status::answer(refused, status_media(head, &query));
        let begin = Instant::now();
        let verdict = self.parts.authorizer.verdict(attributes, &user).await;
        self.metrics.access.decided(verdict.decision, begin.elapsed());
        if !verdict.is_allowed() {
            if !verdict.error.is_empty() {
                let uri = head.uri.path_and_query().map_or("/", |uri| uri.as_str());
                return crate::reply::text(500, &access::undecided(uri, &verdict.error));
            }
            return unsniffed(refused(&access::forbidden(attributes, &user, &verdict.reason)));
        }
        let Some(resource) = info.resource.clone() else {
            return self.no_resource(head, &info, &query).await;
        };
        let table = self.parts.registry.table();
        let Some(version) = table.version(&resource.group, &resource.version) else {
            let of_api = info.path.trim_start_matches('/').starts_with("api/");
            return if of_api { refused(&refusal::no_such_resource()) } else { no_such_path() };
        };
        let Some(served) = version.resources.get(&resource.resource).cloned() else {
            return refused(&refusal::no_such_resource());
        };
        let media = match Media::of(&head.headers, &query, served.offer, info.verb == "watch") {
            Ok(media) => media,
            // What a backend answers is the backend's affair.
            Err(_) if info.is_stream() => Media::default(),
            Err(refusal) => return refused(&refusal),
        };
        let deprecated = control_core::kinds::deprecated::warning(&served.kind, &served.of().name);
        if deprecated.is_some() {
            self.metrics.requests.deprecated(&resource);
        }
        let wire = Wire::of(head, &info.path);
        let mut call = Call {
            server: Arc::clone(self),
            served,
            resource,
            query,
            headers: head.headers.clone(),
            method: head.method.clone(),
            wire,
            user,
            media,
            now: SystemTime::now(),
            warnings: deprecated.into_iter().collect(),
        };
        // In a box: the verbs' states are large, and this one is moved about.
        let running = Box::pin(dispatch::run(&mut call, body));
        let outcome = match info.is_stream() {
            true => Some(running.await),
            false => tokio::time::timeout(self.parts.times.request, running).await.ok(),
        };
        let mut response = match outcome {
            Some(Ok(response)) => response,
            Some(Err(refused)) => status::answer(&refused, media),
            None => {
                let late = refusal::timeout("request did not complete within the allotted timeout", 0);
                crate::reply::given_up(status::answer(&late, media))
            }
        };
        for warning in &call.warnings {
            if let Ok(value) = HeaderValue::from_str(&warning_header(warning)) {
                response.headers_mut().append(WARNING, value);
            }
        }
        response
    }

    /// The path is of a resource that is served.
    fn is_known(&self, info: &Info) -> bool {
        let table = self.parts.registry.table();
        let found = info.resource.as_ref();
        found.is_some_and(|own| table.find(&own.group, &own.version, &own.resource).is_some())
    }

    /// The seats that a request would like to have: a list more than one, if it is long.
    fn width(&self, info: &Info, query: &Query) -> usize {
        let Some(own) = info.resource.as_ref().filter(|own| info.verb == "list" && own.any_name().is_empty())
        else {
            return 1;
        };
        let table = self.parts.registry.table();
        let Some(served) = table.find(&own.group, &own.version, &own.resource) else { return 1 };
        let mut prefix = served.prefix.clone();
        if !own.namespace.is_empty() {
            prefix = format!("{prefix}{}/", own.namespace);
        }
        let limit = query.text("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let listed = self.store().peek_all(&prefix);
        work::of_list(listed.iter().take(limit).map(|stored| stored.bytes().len()))
    }

    async fn authenticate(&self, head: &Head, peer: &Peer) -> Result<Arc<User>, Status> {
        let certificates: &[CertificateDer<'static>] = match peer {
            Peer::Known(user) => return Ok(Arc::clone(user)),
            Peer::Certificates(chain, end) => {
                if let Some(end) = end {
                    self.metrics.access.certificate(*end, SystemTime::now());
                }
                chain
            }
            Peer::Unknown => &[],
        };
        let begin = Instant::now();
        let found = self.parts.authentication.authenticate(head, certificates).await;
        self.metrics.access.authenticated(found.as_ref().ok(), begin.elapsed());
        found.map(Arc::new).map_err(|why| {
            tracing::debug!(%why, "a request carries credentials that are not right");
            access::unauthorized()
        })
    }

    /// Paths of the server itself: discovery, health, metrics, version.
    async fn no_resource(self: &Arc<Self>, head: &Head, info: &Info, query: &Query) -> Response {
        if let Some(response) = self.health.answer(self.store(), info, query) {
            return response;
        }
        if let Some(response) =
            openapi::answer(&self.openapi, self.registry().table(), head, info, query).await
        {
            return response;
        }
        match info.path.trim_end_matches('/') {
            "/metrics" => {
                if let Some(fairness) = &self.fairness {
                    fairness.metrics.now(&fairness.now());
                }
                let (taken, all) = self.parts.services.node_ports(self.store());
                self.metrics.storage.node_ports(taken, all);
                self.metrics.answer(&self.inflight, self.registry(), self.store()).await
            }
            "/version" if info.verb == "get" => discovery::version(),
            "/version" => status::answer(&refusal::method_not_allowed(), status_media(head, query)),
            path => {
                let found = self.parts.access.document(path).filter(|_| info.verb == "get");
                let found = found.or_else(|| {
                    self.discovery.answer(&self.registry().table(), &self.facts(), head, info, query)
                });
                found.unwrap_or_else(no_such_path)
            }
        }
    }
}

impl Server {
    fn facts(&self) -> discovery::Facts<'_> {
        let below = |root: &'static str| {
            let checks = self.health.names(self.store(), root);
            checks.into_iter().map(move |check| format!("/{root}/{check}"))
        };
        discovery::Facts {
            address: &self.parts.access.address,
            makes_tokens: self.parts.access.accounts.is_some(),
            checks: ["healthz", "livez", "readyz"].into_iter().flat_map(below).collect(),
        }
    }
}

/// No browser takes a refusal of access for anything else than it says it is.
fn unsniffed(mut response: Response) -> Response {
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// What authorization decides on.
fn attributes(info: &Info, query: &Query) -> Attributes {
    let Some(resource) = &info.resource else {
        return Attributes { verb: info.verb.clone(), path: info.path.clone(), ..Attributes::default() };
    };
    let (fields, labels) = match info.verb.as_str() {
        "list" | "watch" | "deletecollection" => (
            query.text("fieldSelector").parse().unwrap_or_default(),
            query.text("labelSelector").parse().unwrap_or_default(),
        ),
        _ => Default::default(),
    };
    Attributes {
        verb: info.verb.clone(),
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.resource.clone(),
        subresource: resource.subresource.clone(),
        namespace: resource.namespace.clone(),
        name: resource.any_name().to_owned(),
        path: info.path.clone(),
        fields,
        labels,
    }
}

/// Statuses go out in the encoding that the client wants, and always whole.
fn status_media(head: &Head, query: &Query) -> Media {
    let found = Media::of(&head.headers, query, crate::negotiation::Offer::All, false).unwrap_or_default();
    Media { encoding: found.encoding, pretty: found.pretty, ..Media::default() }
}

/// `299 - "text"`, with quotes and backslashes escaped.
fn warning_header(text: &str) -> String {
    let plain: String = text.chars().filter(|letter| !letter.is_control()).collect();
    format!("299 - \"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The client's own, or a new one.
fn audit_id(headers: &http::HeaderMap) -> String {
    let given = headers.get("audit-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    given.map_or_else(crate::ids::uid, str::to_owned)
}

/// Packs a large answer that is there as a whole, for clients that want that.
fn pack(head: &Head, response: &mut Response) {
    let large = response.extensions_mut().remove::<crate::reply::Large>();
    if let Some(crate::reply::Large(body)) = large
        && gzip::is_wanted(&head.headers)
        && let Some(packed) = gzip::packed(&body)
    {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
        response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(packed.len()));
        *response.body_mut() = crate::reply::whole(packed);
    }
}
