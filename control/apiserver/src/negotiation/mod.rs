//! How a client wants its answer (`Accept`), and how its body is to be read (`Content-Type`).
//!
//! Owns: which encodings and shapes there are, and which one of those that a client accepts it gets.
//! Facts: apiserver's `endpoints/handlers/negotiation`. Begin at [`Media::of`].

use apiclient_core::wire::{JSON, PROTOBUF, Status};
use control_core::refusal;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use crate::request::query::Query;

/// How an object is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

pub const YAML: &str = "application/yaml";

impl Encoding {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
            Self::Protobuf => PROTOBUF,
        }
    }
}

/// What is written of an object, or of each object of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shape {
    #[default]
    Whole,
    /// A row of a table (`Table` of `meta.k8s.io`).
    Table,
    /// Its metadata (`PartialObjectMetadata`).
    Metadata,
}

/// An answer as it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    pub encoding: Encoding,
    pub shape: Shape,
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`, of shapes other than the whole object.
    pub meta_version: MetaVersion,
    /// JSON for people: indented.
    pub pretty: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    #[default]
    V1,
    V1beta1,
}

impl MetaVersion {
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// Which encodings a kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// All three: the built-in kinds.
    All,
    /// All three, and no rows of tables: built-in kinds of which nothing is stored (reviews, bindings).
    NoRows,
    /// No protobuf: what is defined at run time.
    Text,
}

impl Offer {
    fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::All | Self::NoRows => &[Encoding::Json, Encoding::Yaml, Encoding::Protobuf],
            Self::Text => &[Encoding::Json, Encoding::Yaml],
        }
    }

    fn names(self) -> String {
        self.encodings().iter().map(|one| one.media_type()).collect::<Vec<_>>().join(", ")
    }

    fn stream_names(self) -> String {
        let streams = self.encodings().iter().filter(|one| **one != Encoding::Yaml);
        streams.map(|one| format!("{};stream=watch", one.media_type())).collect::<Vec<_>>().join(", ")
    }
}

impl Media {
    /// # Errors
    /// 406 where nothing fits; `watch` wants a stream, and YAML has none.
    pub fn of(headers: &HeaderMap, query: &Query, offer: Offer, watch: bool) -> Result<Self, Status> {
        let accept = headers.get(ACCEPT).map(|value| value.to_str().unwrap_or("-")).unwrap_or_default();
        let refuse = || match has_form(accept, offer) {
            true => refusal::not_acceptable(&offer.names()),
            false => refusal::no_such_form(&offer.names()),
        };
        let found = choose(accept, offer).ok_or_else(refuse)?;
        if watch && found.encoding == Encoding::Yaml {
            return Err(refusal::not_acceptable(&offer.stream_names()));
        }
        Ok(Self { pretty: found.pretty || is_for_people(headers, query), ..found })
    }
}

/// Programs of people get indented JSON unless they ask otherwise.
fn is_for_people(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(pretty) = query.get("pretty").filter(|value| !value.is_empty()) {
        return matches!(pretty, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|program| agent.starts_with(program))
}

/// One of the media types of an `Accept`.
struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut all: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let (main, sub) = parts.next()?.split_once('/')?;
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(name, _)| *name == "q");
            let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(1.0));
            let parameters = parameters.into_iter().filter(|(name, _)| *name != "q").collect();
            Some(Clause { main: main.trim(), sub: sub.trim(), parameters, quality })
        })
        .collect();
    let rank = |clause: &Clause<'_>| (clause.main == "*", clause.sub == "*");
    all.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(rank(a).cmp(&rank(b))));
    all
}

fn choose(accept: &str, offer: Offer) -> Option<Media> {
    if accept.is_empty() {
        return Some(Media::default());
    }
    let clauses = clauses(accept);
    clauses
        .iter()
        .find_map(|clause| clause.encodings(offer).find_map(|encoding| shaped(encoding, clause, offer)))
}

/// Whether a client accepts one of the encodings, in some shape.
fn has_form(accept: &str, offer: Offer) -> bool {
    clauses(accept).iter().any(|clause| clause.encodings(offer).next().is_some())
}

impl Clause<'_> {
    /// Those that it names.
    fn encodings(&self, offer: Offer) -> impl Iterator<Item = Encoding> {
        let fits = |encoding: &Encoding| match (self.main, self.sub) {
            ("*", "*") | ("application", "*") => true,
            ("application", sub) => encoding.media_type().strip_prefix("application/") == Some(sub),
            _ => false,
        };
        offer.encodings().iter().copied().filter(fits)
    }
}

/// The media type, if there is such a shape of it.
fn shaped(encoding: Encoding, clause: &Clause<'_>, offer: Offer) -> Option<Media> {
    let mut media = Media { encoding, ..Media::default() };
    let (mut shape, mut group, mut version) = (None, None, None);
    for (name, value) in &clause.parameters {
        match *name {
            "as" => shape = Some(*value),
            "g" => group = Some(*value),
            "v" => version = Some(*value),
            "stream" if !value.is_empty() && *value != "watch" => return None,
            "stream" if encoding == Encoding::Yaml && !value.is_empty() => return None,
            "sv" if !matches!(*value, "" | "v1") => return None,
            "pretty" => media.pretty = *value == "1",
            _ => {}
        }
    }
    if shape.is_none() && group.is_none() && version.is_none() {
        return Some(media);
    }
    if group != Some("meta.k8s.io") {
        return None;
    }
    media.meta_version = match version {
        Some("v1") => MetaVersion::V1,
        Some("v1beta1") => MetaVersion::V1beta1,
        _ => return None,
    };
    media.shape = match shape {
        Some("Table") if encoding != Encoding::Protobuf && offer != Offer::NoRows => Shape::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Shape::Metadata,
        _ => return None,
    };
    Some(media)
}

/// How a request's body is to be read.
///
/// # Errors
/// 415 for what cannot be.
pub fn content_encoding(headers: &HeaderMap, offer: Offer) -> Result<Encoding, Status> {
    let Some(found) = headers.get(CONTENT_TYPE) else { return Ok(Encoding::Json) };
    let found = found.to_str().unwrap_or("-").split(';').next().unwrap_or_default().trim();
    if found.is_empty() {
        return Ok(Encoding::Json);
    }
    let known = offer.encodings().iter().find(|one| one.media_type().eq_ignore_ascii_case(found));
    known.copied().ok_or_else(|| refusal::unsupported_media_type(&offer.names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Option<(Encoding, Shape)> {
        choose(accept, Offer::All).map(|media| (media.encoding, media.shape))
    }

    #[test]
    fn a_client_gets_the_best_of_what_it_accepts() {
        use Encoding::{Json, Protobuf, Yaml};
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, want) in [
            ("", Some((Json, Shape::Whole))),
            ("*/*", Some((Json, Shape::Whole))),
            ("application/*", Some((Json, Shape::Whole))),
            ("application/yaml", Some((Yaml, Shape::Whole))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Protobuf, Shape::Whole))),
            ("application/json;q=0.5, application/yaml", Some((Yaml, Shape::Whole))),
            ("*/*, application/yaml", Some((Yaml, Shape::Whole))),
            ("text/html", None),
            ("application/cbor", None),
            (table, Some((Json, Shape::Table))),
            (&format!("{table},application/json"), Some((Json, Shape::Table))),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                Some((Protobuf, Shape::Metadata)),
            ),
            ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Some((Json, Shape::Whole))),
            ("application/json;as=Foo;v=v1;g=meta.k8s.io", None),
            ("application/json;stream=watch", Some((Json, Shape::Whole))),
        ] {
            assert_eq!(chosen(accept), want, "{accept}");
        }
    }

    #[test]
    fn what_is_not_stored_has_no_rows_of_a_table() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(choose(table, Offer::NoRows), None);
        let whole = choose(&format!("{table},application/json"), Offer::NoRows).map(|media| media.shape);
        assert_eq!(whole, Some(Shape::Whole));
    }

    #[test]
    fn what_cannot_be_read_or_written_is_refused_with_what_can() {
        let mut headers = HeaderMap::new();
        assert_eq!(content_encoding(&headers, Offer::All).ok(), Some(Encoding::Json));
        headers.insert(CONTENT_TYPE, "application/yaml; charset=utf-8".parse().expect("a value"));
        assert_eq!(content_encoding(&headers, Offer::All).ok(), Some(Encoding::Yaml));
        headers.insert(CONTENT_TYPE, "text/plain".parse().expect("a value"));
        let refused = content_encoding(&headers, Offer::All).expect_err("refused");
        assert_eq!(refused.code, 415);
        headers.insert(ACCEPT, "text/plain".parse().expect("a value"));
        let refused = Media::of(&headers, &Query::default(), Offer::Text, false).expect_err("refused");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (406, "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml")
        );
        headers.insert(ACCEPT, "application/json;as=Foo;v=v1;g=meta.k8s.io".parse().expect("a value"));
        let refused = Media::of(&headers, &Query::default(), Offer::Text, false).expect_err("refused");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (406, "only the following media types are accepted: application/json, application/yaml")
        );
    }
}
