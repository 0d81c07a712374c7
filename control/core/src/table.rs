//! Tables: what `kubectl get` prints, made by the server.

use std::time::SystemTime;

use apiclient_core::time;
use serde_json::Value;

use crate::ages;
use crate::jsonpath::JsonPath;

/// A column's heading (`TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub of: String,
    pub format: String,
    pub description: String,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

/// How the rows of a kind's table are made.
#[derive(Clone, Debug)]
pub enum Columns {
    /// Name and `Created At`: what a kind without a printer has.
    Plain,
    BuiltIn {
        columns: &'static [BuiltIn],
        /// One cell a column. Ages are counted from now.
        cells: fn(&Value, SystemTime) -> Vec<Value>,
    },
    /// `additionalPrinterColumns`: a column and its path.
    Custom(Vec<(Column, JsonPath)>),
}

/// A cell of a kind that is defined at run time: the first value at the column's path.
pub fn cell(object: &Value, column: &Column, path: &JsonPath, now: SystemTime) -> Value {
    let Some(found) = path.first(object) else { return Value::Null };
    let found = &*found;
    let float = |number: f64| match number.trunc() == number && number.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and not large")]
        true => Value::from(number as i64),
        false => number.into(),
    };
    match column.of.as_str() {
        "string" => match found {
            Value::String(_) => found.clone(),
            Value::Null => "<no value>".into(),
            // As Go writes JSON, which HTML may hold.
            Value::Array(_) | Value::Object(_) => {
                let text = found.to_string();
                text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into()
            }
            other => other.to_string().into(),
        },
        "integer" => match (found.as_i64(), found.as_f64()) {
            (Some(whole), _) => whole.into(),
            #[expect(clippy::cast_possible_truncation, reason = "as the original")]
            (None, Some(number)) => (number as i64).into(),
            _ => Value::Null,
        },
        "number" => found.as_f64().map_or(Value::Null, float),
        "boolean" => found.as_bool().map_or(Value::Null, Value::from),
        "date" => match found.as_str() {
            None => Value::Null,
            Some("") => "<unknown>".into(),
            Some(text) if time::parse(text).is_none() => "<invalid>".into(),
            Some(_) => ages::since(found, now).into(),
        },
        _ => Value::Null,
    }
}

/// A column of a built-in kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    pub name: &'static str,
    pub of: &'static str,
    pub format: &'static str,
    pub description: &'static str,
    pub priority: i32,
}

impl BuiltIn {
    /// `name`, `string` and so on: see [`Column`].
    pub const fn new(name: &'static str, of: &'static str, description: &'static str) -> Self {
        Self { name, of, format: "", description, priority: 0 }
    }

    /// The column of the object's name.
    pub const fn name() -> Self {
        Self {
            format: "name",
            ..Self::new(
                "Name",
                "string",
                "The name of the object, unique among those of its kind and namespace.",
            )
        }
    }

    /// The column of the object's age.
    pub const fn age() -> Self {
        Self::new("Age", "string", "The time since the object was created.")
    }

    /// Shown with `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}
