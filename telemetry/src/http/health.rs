//! `/healthz`, `/readyz` and `/metrics`.

use std::fmt;
use std::sync::Arc;

use hyper::StatusCode;

use super::message::{Answer, Request};
use super::routes::Routes;
use crate::metrics::Format;
use crate::ready::Ready;

/// The bodies of the answers. Probes of the originals' users may compare them, so they are the daemon's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts {
    /// `/healthz`, always 200.
    pub alive: &'static str,
    /// `/readyz`, 200.
    pub ready: &'static str,
    /// `/readyz`, 503.
    pub not_ready: &'static str,
}

/// Gives the text of `/metrics` for whoever asks.
type Scrape = dyn Fn(&Request) -> Result<String, fmt::Error> + Send + Sync;

/// What the three paths answer from. Clones share the readiness.
#[derive(Clone)]
pub struct Health {
    texts: Texts,
    ready: Ready,
    metrics: Arc<Scrape>,
}

impl Health {
    /// Not ready yet. `metrics` is called once for every scrape, on a thread that may block, and gives the text
    /// as [`crate::metrics::encode`] writes it.
    pub fn new(
        texts: Texts,
        metrics: impl Fn(&Request) -> Result<String, fmt::Error> + Send + Sync + 'static,
    ) -> Self {
        Self { texts, ready: Ready::default(), metrics: Arc::new(metrics) }
    }

    /// The switch behind `/readyz`.
    pub fn readiness(&self) -> Ready {
        self.ready.clone()
    }

    pub fn routes(&self) -> Routes {
        let Self { texts, ready, metrics } = self.clone();
        Routes::new()
            .any("/healthz", move |_| Answer::text(StatusCode::OK, texts.alive))
            .any("/readyz", move |_| match ready.get() {
                true => Answer::text(StatusCode::OK, texts.ready),
                false => {
                    let why = ready.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                    Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}{why}", texts.not_ready))
                }
            })
            .get("/metrics", move |request| metrics_answer(request, metrics(request)))
    }
}

/// The answer of `/metrics` from the text of [`crate::metrics::encode`], in the format that the client takes.
pub fn metrics_answer(request: &Request, text: Result<String, fmt::Error>) -> Answer {
    let Ok(text) = text else {
        tracing::warn!("the metrics could not be written as text");
        let body = "the metrics could not be read; the log says more\n";
        return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, body);
    };
    let format = Format::accepted(request.accept().as_deref());
    Answer::typed(StatusCode::OK, format.content_type(), format.render(&text))
        .with(super::header::VARY, "Accept")
}
