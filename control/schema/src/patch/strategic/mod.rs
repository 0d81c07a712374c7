//! Strategic merge patch: a merge patch that knows by which of their fields the items of a list are told apart.
//!
//! Owns: the directives (`$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`) and the merging of
//! objects. Lists are in `list`, their order in `order`.

mod list;
mod order;
mod show;

use serde_json::{Map, Value};

pub use self::show::show;
use super::{PatchError, go_kind};
use crate::library::{Library, Patch, Schema, Shape, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Members = Map<String, Value>;

/// The object that the patch makes of `object`, which is of the kind that `schema` describes.
///
/// # Errors
/// A directive that makes no sense; an item of a list without the field that tells it apart.
pub fn apply(schema: &Schema, object: Value, patch: Value) -> Result<Value, PatchError> {
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => return Ok(object),
        other => {
            let kind = go_kind(&other);
            return Err(PatchError::BadRequest(format!(
                "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )));
        }
    };
    let object = match object {
        Value::Object(object) => object,
        _ => Members::new(),
    };
    let root = Type::new(Shape::Struct { id: schema.root, atomic: false });
    Merger { library: &schema.library }.objects(object, patch, &root).map(Value::Object)
}

/// How a patch merges into what is there: by the fields of one library.
struct Merger<'a> {
    library: &'a Library,
}

impl<'a> Merger<'a> {
    fn objects(&self, mut object: Members, mut patch: Members, of: &Type) -> Result<Members, PatchError> {
        if let Some(directive) = patch.get(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => {
                    patch.remove(DIRECTIVE);
                    Ok(patch)
                }
                Some("delete") => Ok(Members::new()),
                _ => Err(unknown_directive(directive, &patch)),
            };
        }
        retain_keys(&mut object, &mut patch)?;
        self.ordered_lists(&mut object, &mut patch, of)?;
        for (name, value) in patch {
            let (name, deletes) = match name.starts_with(DELETE_FROM_LIST) {
                true => (parallel_name(&name, DELETE_FROM_LIST)?.to_owned(), true),
                false => (name, false),
            };
            if value.is_null() {
                object.remove(&name);
                continue;
            }
            let merged = match (object.remove(&name), value) {
                (Some(Value::Object(have)), Value::Object(want)) => {
                    let (of, how) = self.field(of, &name)?;
                    Some(Value::Object(if how.replace { want } else { self.objects(have, want, of)? }))
                }
                (Some(Value::Array(have)), Value::Array(want)) => {
                    let (items, patch) = self.items(of, &name)?;
                    Some(Value::Array(self.lists(have, want, items, patch, deletes)?))
                }
                (have, _) if deletes => have,
                (_, mut want) => {
                    discard_nulls(&mut want);
                    without_directives(want)
                }
            };
            if let Some(value) = merged {
                object.insert(name, value);
            }
        }
        Ok(object)
    }

    /// A field by its name in JSON, and how it merges.
    fn field<'t>(&self, of: &'t Type, name: &str) -> Result<(&'t Type, &'t Patch), PatchError>
    where
        'a: 't,
    {
        let not = |kind: &str| {
            PatchError::Internal(format!(
                "merging an object in json but data type is not struct, instead is: {kind}"
            ))
        };
        match &of.shape {
            Shape::Struct { id, .. } => {
                let of = self.library.get(*id);
                match self.library.field(*id, name) {
                    Some(field) => Ok((&field.of, &field.patch)),
                    None => Err(no_field(of.name.rsplit('.').next().unwrap_or_default(), name)),
                }
            }
            Shape::Any(_) => Err(no_field("RawExtension", name)),
            Shape::Map { .. } => Err(not("map")),
            Shape::List { .. } => Err(not("slice")),
            Shape::Scalar(_) => Err(not("string")),
        }
    }

    /// The items of a field that is a list.
    fn items<'t>(&self, of: &'t Type, name: &str) -> Result<(&'t Type, &'t Patch), PatchError>
    where
        'a: 't,
    {
        match self.field(of, name)? {
            (Type { shape: Shape::List { items, .. }, .. }, patch) => Ok((items, patch)),
            _ => Err(PatchError::Internal("expected slice or array type, but got: struct".to_owned())),
        }
    }
}

fn no_field(of: &str, name: &str) -> PatchError {
    PatchError::Internal(format!("unable to find api field in struct {of} for the json field {name:?}"))
}

fn unknown_directive(directive: &Value, patch: &Members) -> PatchError {
    let patch = Value::Object(patch.clone());
    PatchError::Internal(format!("unknown patch type: {} in map: {}", show(directive), show(&patch)))
}

/// `$retainKeys`: members of the object that are not named in it go.
fn retain_keys(object: &mut Members, patch: &mut Members) -> Result<(), PatchError> {
    let bad = || PatchError::BadRequest("invalid patch format of retainKeys".to_owned());
    let Some(keep) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keep = keep.as_array().ok_or_else(bad)?;
    let kept = |name: &str| keep.iter().any(|kept| kept == name);
    let patches = |name: &str| name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !patches(name) && !kept(name)) {
        return Err(bad());
    }
    object.retain(|name, _| kept(name));
    Ok(())
}

/// The name of the list that `$setElementOrder/x` or `$deleteFromPrimitiveList/x` is about.
fn parallel_name<'n>(name: &'n str, prefix: &str) -> Result<&'n str, PatchError> {
    match name.split_once('/') {
        Some((before, name)) if before == prefix => Ok(name),
        _ => {
            let what = if prefix == SET_ORDER { "setElementOrder" } else { "primitive" };
            Err(PatchError::BadRequest(format!("invalid patch format of {what} list")))
        }
    }
}

/// Members that are null do not arrive where nothing was.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// What is left of a value of a patch where there is nothing to merge it into.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let members = members.into_iter();
            let kept = members.filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
