//! Lists: the forms of their objects, one behind the other.

use apiclient_core::wire::{ListMeta, Status};
use bytes::Bytes;
use control_schema::codec::{self, list::Meta};
use control_store::{Keep, Stored};
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
    let encoding = of_items(media.encoding);
    let (shape, meta) = (media.shape, media.meta_version);
    let form = |stored: &Stored| object::encoded(served, stored, encoding, shape, meta, Keep::WhileWanted);
    let items = list.objects.iter().map(form).collect::<Result<Vec<Bytes>, Status>>()?;
    Ok(join(served, &list.meta, &items, media))
}

/// What the objects of a list are encoded as: YAML is made of the whole.
pub fn of_items(encoding: Encoding) -> Encoding {
    if encoding == Encoding::Yaml { Encoding::Json } else { encoding }
}

/// The body of a list that is no table, from the forms of its objects.
pub fn join(served: &Served, meta: &ListMeta, items: &[Bytes], media: Media) -> Bytes {
    let encoding = of_items(media.encoding);
    let items = items.iter().map(AsRef::as_ref);
    let meta = Meta {
        resource_version: &meta.resource_version,
        next: &meta.next,
        remaining: meta.remaining_item_count,
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
        return yaml(api_version, kind, &body);
    }
    if media.encoding == Encoding::Json && !media.pretty && body.last() == Some(&b'\n') {
        return body.into();
    }
    object::body(body.into(), media)
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
