//! Follows files: of issuers, of authorizers. A changed one counts without a restart, as with the original.

use std::sync::Arc;
use std::time::Duration;

use control_core::authorization::{Authorizer, configuration};

use super::access::Issuers;
use crate::authorization::Authorizers;
use crate::followed::Followed;

pub use control_serving::followed::EVERY;

/// For ever: follows the file of `--authorization-config`. One that makes no sense leaves the chain that was there.
pub async fn authorization(file: Option<Followed>, authorizers: Arc<Authorizers>, every: Duration) {
    let Some(mut file) = file else { return std::future::pending().await };
    loop {
        let text = file.changed_text(every).await;
        let outcome = chain(&text).and_then(|chain| authorizers.replace(chain));
        let file = file.path().display();
        match outcome {
            Ok(()) => tracing::info!(%file, "a new chain of authorizers decides"),
            Err(error) => tracing::warn!(%file, error, "the chain of authorizers stays what it was"),
        }
    }
}

/// Reads the text of a file of `--authorization-config`.
///
/// # Errors
/// What is wrong with it.
pub fn chain(text: &str) -> Result<Vec<Authorizer>, String> {
    let document = control_core::configuration::document(text)?;
    configuration::read(&document, &|file| match std::fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err("must be a regular file".to_owned()),
        Err(error) => Err(format!("error loading file: stat {}: {}", file.display(), words(&error))),
    })
}

/// As Go says it.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// For ever: asks other issuers for their keys, and follows the file that names them.
pub async fn issuers(oidc: Option<Issuers>, own: Vec<String>, every: Duration) {
    let Some(Issuers { oidc, file }) = oidc else { return std::future::pending().await };
    let discovering = Arc::clone(&oidc).discover();
    match file {
        None => discovering.await,
        Some(file) => {
            futures::future::join(discovering, oidc.follow(file, own, every)).await;
        }
    }
}
