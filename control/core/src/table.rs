//! Tables: what `kubectl get` prints, made by the server.

use std::time::SystemTime;

use serde_json::Value;

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
    /// `additionalPrinterColumns`: a column and its JSONPath.
    Custom(Vec<(Column, String)>),
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
