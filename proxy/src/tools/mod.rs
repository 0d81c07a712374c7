//! What people ask about services without, or beside, a running proxy.
//!
//! Owns: the questions behind `weft explain`, `weft proxy render` and `weft proxy diff`. They read objects and options
//! as the proxy does, so that they answer as it does. Never: writes anything.

mod diff;
mod explain;
mod objects;
mod packet;
mod render;

pub use diff::{Difference, diff};
pub use explain::{Explained, explain};
pub use objects::World;
pub use packet::{BadQuestion, Destination, Question};
pub use render::render;

use std::path::PathBuf;
use std::time::Duration;

use crate::backends::BackendError;
use crate::feeds::FeedError;

#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error(transparent)]
    Question(#[from] BadQuestion),
    #[error("cannot read the objects in {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("the API server has not listed all objects within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Backend(#[from] BackendError),
}
