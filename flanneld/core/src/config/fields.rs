//! Typed access to the keys of a JSON object, with errors that name the key.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ConfigError;
use crate::go::Object;

pub(crate) struct Fields<'a>(Object<'a>);

impl<'a> Fields<'a> {
    pub fn parse(json: &'a [u8]) -> Result<Self, ConfigError> {
        Object::parse(json).map(Self).map_err(|error| ConfigError::Json(error.to_string()))
    }

    /// The value of `key`, its case aside; `null` is absent.
    pub fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.0.value(key)
    }

    /// The value of `key`, `null` included.
    pub fn last(&self, key: &str) -> Option<&'a RawValue> {
        self.0.last(key)
    }

    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, leaf(key), "true or false")
    }

    pub fn text(&self, key: &'static str, legal: &str) -> Result<Option<String>, ConfigError> {
        self.typed(key, leaf(key), legal)
    }

    pub fn number(&self, key: &'static str, legal: RangeInclusive<u32>) -> Result<Option<u32>, ConfigError> {
        let range = format!("a whole number from {} to {}", legal.start(), legal.end());
        match self.typed(key, leaf(key), &range)? {
            Some(number) if !legal.contains(&number) => {
                Err(bad(key, number, range, "correct it or leave it out"))
            }
            number => Ok(number),
        }
    }

    fn typed<T: for<'de> Deserialize<'de>>(
        &self,
        key: &'static str,
        name: &str,
        legal: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let wrong = |_| bad(key, raw.get(), legal, "correct it or leave it out");
        serde_json::from_str(raw.get()).map(Some).map_err(wrong)
    }
}

/// Errors name an option of the backend by its path, `Backend.VNI`.
fn leaf(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

pub(crate) fn bad(
    key: &'static str,
    value: impl ToString,
    legal: impl Into<String>,
    remedy: impl Into<String>,
) -> ConfigError {
    ConfigError::Bad { key, value: value.to_string(), legal: legal.into(), remedy: remedy.into() }
}
