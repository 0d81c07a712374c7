//! Events of a watch as they go over the wire.
//!
//! Owns: that a frame is made once for each encoding of an event, and shared by all who watch.

use apiclient_core::wire::Status;
use bytes::Bytes;
use control_schema::codec::watch;
use control_store::{Keep, Stored};
use serde_json::json;

use super::{object, status, table};
use crate::negotiation::{Encoding, Media, MetaVersion, Shape};
use crate::registry::Served;
use crate::request::options::IncludeObject;

/// What an event tells of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    Added,
    Modified,
    Deleted,
}

impl Tells {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    fn slot(self) -> u16 {
        match self {
            Self::Added => 1,
            Self::Modified => 2,
            Self::Deleted => 3,
        }
    }
}

/// The frame of an event. `headed` is true for the first table of a watch.
///
/// # Errors
/// 500: the object in storage is none.
pub fn of(
    served: &Served,
    tells: Tells,
    stored: &Stored,
    media: Media,
    include: IncludeObject,
    headed: bool,
) -> Result<Bytes, Status> {
    let frame = |object: &[u8]| framed(tells.name(), object, media.encoding);
    if media.shape == Shape::Table {
        let table = table::of_stored(served, stored, media.meta_version, include, headed)?;
        let api_version = media.meta_version.api_version();
        return Ok(frame(&object::write_meta(api_version, "Table", &table, media.encoding)));
    }
    let (shape, meta) = (media.shape, media.meta_version);
    let make = || Ok(frame(&object::encoded(served, stored, media.encoding, shape, meta, Keep::Not)?));
    if media.meta_version == MetaVersion::V1 {
        let slot = served.slot(media.encoding, media.shape, tells.slot());
        return stored.try_form(slot, Keep::WhileWanted, make);
    }
    make()
}

/// A bookmark: all that happened up to this version has been told. `initial_end`: so have all objects that there were at
/// the start.
pub fn bookmark(
    served: &Served,
    version: i64,
    initial_end: bool,
    media: Media,
    include: IncludeObject,
    headed: bool,
) -> Bytes {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut found = json!({"metadata": metadata});
    object::name_kind(&mut found, &served.stored_api_version(), &served.kind.kind);
    let form = match media.shape {
        Shape::Table => {
            let table = table::of_one(served, &found, media.meta_version, include, headed);
            object::write_meta(media.meta_version.api_version(), "Table", &table, media.encoding)
        }
        shape => object::encode(served, found, media.encoding, shape, media.meta_version),
    };
    framed("BOOKMARK", &form, media.encoding)
}

/// The end of a watch that cannot go on.
pub fn error(refused: &Status, encoding: Encoding) -> Bytes {
    framed("ERROR", &status::form(refused, encoding), encoding)
}

fn framed(name: &str, object: &[u8], encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::Protobuf => watch::protobuf(name, object).into(),
        Encoding::Json | Encoding::Yaml => watch::json(name, object).into(),
    }
}

/// The content type of a stream of frames.
pub fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => "application/json",
    }
}
