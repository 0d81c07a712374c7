//! Tables: what `kubectl get` prints, made by the server.
//!
//! Facts: `Table` of `meta.k8s.io/v1`. Begin at [`of_list`].

use std::time::SystemTime;

use apiclient_core::wire::Status;
use control_core::table::{Column, Columns};
use control_core::{edit, table};
use control_store::Stored;
use serde_json::{Value, json};

use super::list::List;
use super::object;
use crate::negotiation::MetaVersion;
use crate::registry::Served;
use crate::request::options::IncludeObject;

/// A table with a row for each object.
///
/// # Errors
/// 500: an object in storage is none.
pub fn of_list(
    served: &Served,
    list: &List,
    meta: MetaVersion,
    include: IncludeObject,
) -> Result<Value, Status> {
    let now = SystemTime::now();
    let rows = list.objects.iter().map(|stored| {
        let object = object::decode(served, stored)?;
        Ok((served.kind.strategy.row_order(&object), row(served, &object, meta, include, now)))
    });
    let mut rows = rows.collect::<Result<Vec<(i64, Value)>, Status>>()?;
    rows.sort_by_key(|(order, _)| *order);
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    let metadata = serde_json::to_value(&list.meta).unwrap_or_default();
    Ok(table(served, metadata, rows, meta, true))
}

/// A table of objects that are not in storage.
pub fn of_values(served: &Served, objects: &[Value], meta: MetaVersion, include: IncludeObject) -> Value {
    let now = SystemTime::now();
    let rows = objects.iter().map(|object| row(served, object, meta, include, now)).collect();
    table(served, json!({}), rows, meta, true)
}

/// A table of one object. `headed`: it says what the columns are, as the first event of a watch does.
pub fn of_one(
    served: &Served,
    object: &Value,
    meta: MetaVersion,
    include: IncludeObject,
    headed: bool,
) -> Value {
    let version = edit::text(object, &["metadata", "resourceVersion"]);
    let metadata = if version.is_empty() { json!({}) } else { json!({"resourceVersion": version}) };
    table(served, metadata, vec![row(served, object, meta, include, SystemTime::now())], meta, headed)
}

/// As [`of_one`], of an object in storage.
///
/// # Errors
/// 500: it is none.
pub fn of_stored(
    served: &Served,
    stored: &Stored,
    meta: MetaVersion,
    include: IncludeObject,
    headed: bool,
) -> Result<Value, Status> {
    Ok(of_one(served, &object::decode(served, stored)?, meta, include, headed))
}

fn table(served: &Served, metadata: Value, rows: Vec<Value>, meta: MetaVersion, headed: bool) -> Value {
    // Later events of a watch say nothing of the columns, which is null and no empty list.
    let columns: Option<Vec<Value>> =
        headed.then(|| columns(&served.of().columns).iter().map(definition).collect());
    json!({
        "kind": "Table",
        "apiVersion": meta.api_version(),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.of,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn columns(of: &Columns) -> Vec<Column> {
    let built_in = |column: &table::BuiltIn| Column {
        name: column.name.to_owned(),
        of: column.of.to_owned(),
        format: column.format.to_owned(),
        description: column.description.to_owned(),
        priority: column.priority,
    };
    match of {
        Columns::Plain => {
            let created = table::BuiltIn::new(
                "Created At",
                "date",
                "When the object was created, by the server's clock.",
            );
            [table::BuiltIn::name(), created].iter().map(built_in).collect()
        }
        Columns::BuiltIn { columns, .. } => columns.iter().map(built_in).collect(),
        Columns::Custom(columns) => {
            let name = built_in(&table::BuiltIn::name());
            std::iter::once(name).chain(columns.iter().map(|(column, _)| column.clone())).collect()
        }
    }
}

fn row(served: &Served, object: &Value, meta: MetaVersion, include: IncludeObject, now: SystemTime) -> Value {
    let text = |field: &str| Value::from(edit::text(object, &["metadata", field]));
    let cells = match &served.of().columns {
        Columns::Plain => vec![text("name"), text("creationTimestamp")],
        Columns::BuiltIn { cells, .. } => cells(object, now),
        Columns::Custom(columns) => {
            let rest = columns.iter().map(|(column, path)| table::cell(object, column, path, now));
            std::iter::once(text("name")).chain(rest).collect()
        }
    };
    let shown = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => object::metadata_only(&served.kind, object, meta.api_version()),
        IncludeObject::Object => object::served_value(served, object.clone()),
    };
    if shown.is_null() {
        json!({"cells": cells, "object": null})
    } else {
        json!({"cells": cells, "object": shown})
    }
}
