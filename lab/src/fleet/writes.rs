//! The requests of a fleet.

use std::sync::Arc;

use apiclient::objects::{Api, Write};
use apiclient::{Failure, Patch};
use serde_json::Value;

/// One thing to be written.
pub enum Job {
    Write(Write),
    /// A patch of what is usually there, and the whole for when it is not.
    PatchOrCreate(Write, Write),
}

impl Job {
    pub fn strategic(path: String, patch: Value) -> Self {
        Self::Write(Write::Patch { path, patch: Patch::Strategic(patch) })
    }

    pub fn merge(path: String, patch: Value) -> Self {
        Self::Write(Write::Patch { path, patch: Patch::Merge(patch) })
    }

    /// What the server made of it.
    pub async fn run(&self, api: &dyn Api) -> Result<Arc<Value>, Failure> {
        match self {
            Self::Write(write) => api.write(write).await,
            Self::PatchOrCreate(patch, create) => match api.write(patch).await {
                Err(Failure::Refused(status)) if status.is_not_found() => api.write(create).await,
                done => done,
            },
        }
    }
}
