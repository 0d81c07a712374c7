//! What went wrong with a request, in words that help.

use std::fmt;
use std::time::Duration;

use super::resource::Resource;
use super::wire::{Cause, Details, Status};
use crate::error::chain;

/// Why a list or a watch ended early.
#[derive(Debug)]
pub enum Failure {
    /// The server answered, with a refusal.
    Refused(Box<Status>),
    /// The server was not reached, or the connection ended.
    Away(String),
    /// What came is not what the API says.
    Garbled(String),
    /// The reader of the feed is gone.
    Closed,
}

impl From<super::super::Closed> for Failure {
    fn from(_: super::super::Closed) -> Self {
        Failure::Closed
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Failure::Refused(Box::new(refusal(*status))),
            kube::Error::Auth(error) => Failure::Away(format!("cannot get credentials: {}", chain(&error))),
            kube::Error::Service(error) => Failure::Away(chain(&*error)),
            error => Failure::Away(chain(&error)),
        }
    }
}

fn refusal(status: kube::core::Status) -> Status {
    let details = status.details.map(|details| Details {
        retry_after_seconds: u64::from(details.retry_after_seconds),
        causes: details
            .causes
            .into_iter()
            .map(|cause| Cause { reason: cause.reason, message: cause.message })
            .collect(),
    });
    // Whatever stands in between may answer with a page instead of a Status.
    let message = status.message.trim().chars().take(300).collect();
    Status { code: status.code, reason: status.reason, message, details }
}

impl Failure {
    pub fn code(&self) -> u16 {
        match self {
            Failure::Refused(status) => status.code,
            _ => 0,
        }
    }

    /// When the server wants to be asked again.
    pub fn wish(&self) -> Option<Duration> {
        match self {
            Failure::Refused(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                (seconds > 0).then(|| Duration::from_secs(seconds))
            }
            _ => None,
        }
    }

    /// A sentence for the log.
    pub fn explain(&self, resource: &Resource, server: &str) -> String {
        let plural = resource.plural;
        match self {
            Failure::Refused(status) => match status.code {
                401 => format!(
                    "the API server {server} does not know these credentials (401 Unauthorized): check the token or \
                     the client certificate"
                ),
                403 => format!(
                    "these credentials may not list and watch {plural} (403 Forbidden: {}): bind the ClusterRole \
                     system:node-proxier to them",
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
            Failure::Closed => "nobody reads".to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(status) => write!(f, "{} {}: {}", status.code, status.reason, status.message),
            Failure::Away(problem) | Failure::Garbled(problem) => f.write_str(problem),
            Failure::Closed => f.write_str("nobody reads"),
        }
    }
}
