//! Fields of an object's JSON, absent or `null` alike, with errors that name the field.

use std::str::FromStr;
use std::sync::Arc;

use apiclient_core::names::{Name, quoted};
use apiclient_core::quantity::Quantity;
use apiclient_core::selector::LabelSelector;
use apiclient_core::time;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Labels;

/// Why an object cannot be used. API servers do not let such objects in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadObject {
    /// From the top, with points between.
    pub field: String,
    pub problem: String,
}

pub fn bad(field: impl Into<String>, problem: impl Into<String>) -> BadObject {
    BadObject { field: field.into(), problem: problem.into() }
}

/// The text there, else an empty one.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

pub fn name(value: &Value, field: &str) -> Name {
    Arc::from(text(value, field))
}

/// The same where it is not empty.
pub fn some_name(value: &Value, field: &str) -> Option<Name> {
    Some(text(value, field)).filter(|text| !text.is_empty()).map(Arc::from)
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

pub fn is_set(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty())
}

pub fn labels(value: &Value) -> Labels {
    map(value).filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

pub fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub fn int32(value: &Value, field: &str) -> Result<Option<i32>, BadObject> {
    match &value[field] {
        Value::Null => Ok(None),
        number => number
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| bad(field, "not a whole number of 32 bits")),
    }
}

pub fn quantity(field: &str, value: &Value) -> Result<Quantity, BadObject> {
    match value {
        Value::String(text) => Quantity::from_str(text).map_err(|error| bad(field, error.to_string())),
        Value::Number(number) => {
            Quantity::from_str(&number.to_string()).map_err(|error| bad(field, error.to_string()))
        }
        other => Err(bad(field, format!("{} is not a quantity", quoted(&other.to_string())))),
    }
}

/// `None` where there is no selector, which selects nothing.
pub fn selector(field: &str, value: &Value) -> Result<Option<LabelSelector>, BadObject> {
    if value.is_null() {
        return Ok(None);
    }
    LabelSelector::deserialize(value).map(Some).map_err(|error| bad(field, error.to_string()))
}

/// Seconds since 1970; `None` where it is absent or no time.
pub fn seconds(value: &Value) -> Option<i64> {
    let at = time::parse(value.as_str()?)?;
    match at.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).ok(),
        Err(before) => i64::try_from(before.duration().as_secs()).ok().map(|seconds| -seconds),
    }
}
