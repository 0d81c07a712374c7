//! What went wrong with a request, in words that help.

use std::time::Duration;

use apiclient_core::wire::Status;

use crate::Resource;

/// Why a request, a list or a watch ended early.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The server answered, with a refusal.
    #[error("{} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// The server was not reached, or the connection ended.
    #[error("{0}")]
    Away(String),
    /// What came is not what the API says.
    #[error("{0}")]
    Garbled(String),
}

impl Failure {
    /// The status code of a refusal; 0 for anything else.
    pub fn code(&self) -> u16 {
        self.status().map_or(0, |status| status.code)
    }

    pub fn status(&self) -> Option<&Status> {
        match self {
            Failure::Refused(status) => Some(status),
            Failure::Away(_) | Failure::Garbled(_) => None,
        }
    }

    /// When the server wants to be asked again.
    pub fn wish(&self) -> Option<Duration> {
        let seconds = self.status()?.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// The same request may succeed later, unchanged.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Refused(status) => matches!(status.code, 401 | 408 | 429) || status.code >= 500,
            Failure::Away(_) => true,
            Failure::Garbled(_) => false,
        }
    }

    /// A sentence for the log, about a list or a watch of `resource`. `forbidden` says how to get the right to it.
    pub fn explain(&self, resource: &Resource, server: &str, forbidden: &str) -> String {
        let plural = &resource.plural;
        match self {
            Failure::Refused(status) => match status.code {
                401 => format!(
                    "the API server {server} does not know these credentials (401 Unauthorized): check the token or \
                     the client certificate"
                ),
                403 => format!(
                    "these credentials may not list and watch {plural} (403 Forbidden: {}): {forbidden}",
                    status.message
                ),
                404 => format!("the API server {server} has no {plural} (404)"),
                code => format!(
                    "the API server {server} refuses to give {plural} ({code} {}): {}",
                    status.reason, status.message
                ),
            },
            Failure::Away(problem) => format!("cannot reach the API server {server}: {problem}"),
            Failure::Garbled(problem) => {
                format!("the answer of {server} about {plural} cannot be read: {problem}")
            }
        }
    }
}
