//! Lists: the forms of their objects, one behind the other.

use apiclient_core::wire::{ListMeta, Status};
use bytes::Bytes;
use control_schema::codec::{self, list::Meta};
use control_store::Stored;
use serde_json::{Value, json};

use super::{object, table};
use crate::negotiation::{Encoding, Media, Offer, Shape};
use crate::registry::Served;
use crate::request::options::IncludeObject;

/// Objects of one kind at one version of storage.
#[derive(Debug, Default)]
pub struct List {
    pub meta: ListMeta,
    pub objects: Vec<Stored>,
}

/// The body of a list.
///
/// # Errors
/// 500: an object in storage is none.
pub fn encode(served: &Served, list: &List, media: Media, include: IncludeObject) -> Result<Bytes, Status> {
    if media.shape == Shape::Table {
        let table = table::of_list(served, list, media.meta_version, include)?;
        let form = object::write_meta(media.meta_version.api_version(), "Table", &table, media.encoding);
        return Ok(object::body(form, media));
    }
    let encoding = if media.encoding == Encoding::Yaml { Encoding::Json } else { media.encoding };
    let form = |stored: &Stored| object::encoded(served, stored, encoding, media.shape, media.meta_version);
    let items = list.objects.iter().map(form).collect::<Result<Vec<Bytes>, Status>>()?;
    let items = items.iter().map(AsRef::as_ref);
    let meta = Meta {
        resource_version: &list.meta.resource_version,
        next: &list.meta.next,
        remaining: list.meta.remaining_item_count,
    };
    let (api_version, kind) = match media.shape {
        Shape::Metadata => (media.meta_version.api_version(), "PartialObjectMetadataList"),
        _ => (served.api_version.as_str(), served.list_kind.as_str()),
    };
    let sorted = served.offer == Offer::Text && media.shape == Shape::Whole;
    let body = match encoding {
        Encoding::Protobuf => codec::list::protobuf(api_version, kind, &meta, items),
        _ if sorted => codec::list::json_sorted(api_version, kind, &meta, items),
        _ => codec::list::json(api_version, kind, &meta, items),
    };
    if media.encoding == Encoding::Yaml {
        return Ok(yaml(api_version, kind, &body));
    }
    if media.encoding == Encoding::Json && !media.pretty && body.last() == Some(&b'\n') {
        return Ok(body.into());
    }
    Ok(object::body(body.into(), media))
}

/// YAML of JSON.
fn yaml(api_version: &str, kind: &str, json: &[u8]) -> Bytes {
    let value: Value = serde_json::from_slice(json).unwrap_or_else(|_| json!({}));
    let has_schema = control_schema::builtin::kind(api_version, kind).is_some();
    match has_schema {
        true => object::write_meta(api_version, kind, &value, Encoding::Yaml),
        false => serde_saphyr::to_string(&value).unwrap_or_default().into(),
    }
}
