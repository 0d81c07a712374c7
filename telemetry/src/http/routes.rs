//! From a path to its answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hyper::{Method, StatusCode, header};
use tokio::sync::Semaphore;

use super::message::{Answer, Request};

/// How many handlers that may block run at a time. Clients that ask for metrics faster than they can be read wait for
/// one another instead of taking a thread each.
const BLOCKING: usize = 4;

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// What is answered at which path. Clones share the handlers.
#[derive(Clone)]
pub struct Routes {
    paths: BTreeMap<&'static str, Route>,
    fallback: Option<Route>,
    blocking: Arc<Semaphore>,
}

#[derive(Clone)]
struct Route {
    handler: Handler,
    /// Only GET and HEAD.
    reads: bool,
    blocks: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self { paths: BTreeMap::new(), fallback: None, blocking: Arc::new(Semaphore::new(BLOCKING)) }
    }
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers every method alike, as Go's mux does. `handler` must not block.
    #[must_use]
    pub fn any(
        mut self,
        path: &'static str,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.paths.insert(path, Route { handler: Arc::new(handler), reads: false, blocks: false });
        self
    }

    /// Answers GET and HEAD, from a thread on which `handler` may block.
    #[must_use]
    pub fn get(
        mut self,
        path: &'static str,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.paths.insert(path, Route { handler: Arc::new(handler), reads: true, blocks: true });
        self
    }

    /// Answers at every path that has no answer of its own; without it that is 404. `handler` must not block.
    #[must_use]
    pub fn fallback(mut self, handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        self.fallback = Some(Route { handler: Arc::new(handler), reads: false, blocks: false });
        self
    }

    pub(super) async fn answer(&self, request: Request) -> Answer {
        let Some(route) = self.paths.get(request.path.as_str()).or(self.fallback.as_ref()) else {
            return Answer::text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if route.reads && ![Method::GET, Method::HEAD].contains(&request.method) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
                .with(header::ALLOW, "GET, HEAD");
        }
        if !route.blocks {
            return (route.handler)(&request);
        }
        let handler = route.handler.clone();
        let Ok(permit) = self.blocking.clone().acquire_owned().await else { return failed() };
        let work = move || {
            // Held by the thread: a client that goes away does not make room while its answer is still being read.
            let _permit = permit;
            handler(&request)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| failed())
    }
}

/// The handler panicked, which the log shows.
fn failed() -> Answer {
    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "this could not be answered; the log says more\n")
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.paths.keys()).finish()
    }
}
