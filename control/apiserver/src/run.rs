//! The server's life: from the options to its end.

use std::future::Future;
use std::net::SocketAddr;

use crate::options::Options;

/// Why the server does not start, or ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Frame(#[from] telemetry::daemon::FrameError),
    #[error("this build does not serve yet")]
    NotYet,
}

/// Serves until `end` is ready, drains connections, and returns. `ready` is called once, when requests are answered.
///
/// # Errors
/// A file or flag cannot be used, or the address cannot be listened at.
pub async fn serve(
    _options: Options,
    _end: impl Future<Output = ()> + Send,
    _ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), ServeError> {
    Err(ServeError::NotYet)
}
