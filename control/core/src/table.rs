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
