//! VolumeAttachment.

use std::time::SystemTime;

use serde_json::Value;

use super::super::{cells, status};
use super::driver;
use crate::at::{At, Errors};
use crate::edit::{at, remove, restore, semantic_eq};
use crate::field::{FieldError, Path};
use crate::kind::Context;
use crate::metadata::IMMUTABLE;
use crate::table::BuiltIn;
use crate::{ages, names, shown};

const METADATA: usize = 256 * 1024;
const MESSAGE: usize = 1024;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, attachment: &mut Value, _: &Context<'_>) {
        remove(attachment, "status");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
        } else {
            restore(new, old, "status");
        }
    }

    fn validate_create(&self, attachment: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(attachment))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = validate(&new);
        let spec = new.get("spec");
        if !semantic_eq(spec.value, at(old, &["spec"])) {
            let source = spec.get("source");
            let source = shown::fields(&[
                ("PersistentVolumeName", shown::any(&source.get("persistentVolumeName"))),
                ("InlineVolumeSpec", shown::any(&source.get("inlineVolumeSpec"))),
            ]);
            let spec_shown = shown::fields(&[
                ("Attacher", shown::text(&spec.get("attacher"))),
                ("Source", source),
                ("NodeName", shown::text(&spec.get("nodeName"))),
            ]);
            errors.push(FieldError::invalid_shown(&spec.path, &spec_shown, IMMUTABLE));
        }
        errors
    }
}

fn validate(attachment: &At<'_>) -> Errors {
    let (spec, status) = (attachment.get("spec"), attachment.get("status"));
    let mut errors = driver::name(&spec.get("attacher"));
    let source = spec.get("source");
    let volume = source.get("persistentVolumeName");
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (volume.is_absent(), source.has("inlineVolumeSpec")) {
        (true, false) => errors.push(source.required(one)),
        (false, true) => errors.push(source.forbidden(one)),
        (false, false) if volume.is_empty() => {
            errors.push(volume.required("must specify non empty persistentVolumeName"));
        }
        _ => {}
    }
    let node = spec.get("nodeName");
    errors.extend(node.invalid_each(names::dns1123_subdomain(node.text())));
    let metadata = status.get("attachmentMetadata");
    let size: usize = metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > METADATA {
        errors.push(FieldError::too_long(&metadata.path, METADATA));
    }
    errors.extend(volume_error(&status.get("attachError")));
    errors.extend(volume_error(&status.get("detachError")));
    if !volume.is_absent() {
        let volume = At::new(volume.value, Path::new("spec.source.persistentVolumeName"));
        errors.extend(volume.invalid_each(names::dns1123_subdomain(volume.text())));
    }
    errors
}

fn volume_error(error: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (message, code) = (error.get("message"), error.get("errorCode"));
    if message.text().len() > MESSAGE {
        // The original names the limit of the metadata here.
        errors.push(FieldError::too_long(&message.path, METADATA));
    }
    if code.int().is_some_and(|code| code < 0) {
        errors.push(code.invalid("must be between 0 and 2147483647, inclusive"));
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn { format: "name", ..BuiltIn::new("Attacher", "string", "The driver that attaches the volume.") },
    BuiltIn::new("PV", "string", "The volume."),
    BuiltIn::new("Node", "string", "The node that it is attached to."),
    BuiltIn::new("Attached", "boolean", "Whether it is attached by now."),
    BuiltIn::age(),
];

pub fn row(attachment: &Value, now: SystemTime) -> Vec<Value> {
    vec![
        cells::name(attachment),
        cells::text_or(attachment, &["spec", "attacher"], ""),
        cells::text_or(attachment, &["spec", "source", "persistentVolumeName"], ""),
        cells::text_or(attachment, &["spec", "nodeName"], ""),
        cells::flag(attachment, &["status", "attached"]),
        ages::of(attachment, now).into(),
    ]
}
