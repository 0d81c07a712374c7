//! GET of one object.

use apiclient_core::wire::Status;
use control_store::Stored;

use crate::call::Call;
use crate::reply::Response;
use crate::storage::{self, versions};

/// # Errors
/// 404, or that the version is none or is not reached.
pub async fn run(call: &Call) -> Result<Response, Status> {
    let stored = find(call).await?;
    call.answer_stored(200, &stored)
}

/// The object that the path names, as of the version that the query wants.
///
/// # Errors
/// As [`run`].
pub async fn find(call: &Call) -> Result<Stored, Status> {
    let key = call.key()?;
    let freshness = versions::get(call.query.text("resourceVersion"))?;
    let found = call.server.store().get(&key, freshness).await;
    found.map_err(|error| storage::read_failed(&error))?.ok_or_else(|| call.not_found())
}
