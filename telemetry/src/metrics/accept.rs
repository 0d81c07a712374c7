//! Which of the two texts of metrics a client takes: HTTP's Accept header (RFC 9110, section 12.5.1).

use std::borrow::Cow;

use super::plain;

/// The format of a metrics text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4: what every client reads, and the default.
    Text,
    /// OpenMetrics 1.0: for clients that ask for it.
    OpenMetrics,
}

impl Format {
    /// The format that a client likes best by its Accept header; [`Format::Text`] where it names neither, as
    /// Prometheus' own library for Go has it.
    pub fn accepted(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, 0);
        for clause in accept.unwrap_or_default().split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut version, mut quality) = (None, 1_000);
            for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                match key.trim().to_ascii_lowercase().as_str() {
                    "version" => version = Some(value.trim().trim_matches('"')),
                    "q" => quality = thousandths(value.trim()),
                    _ => {}
                }
            }
            let format = match (kind.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => Self::OpenMetrics,
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Self::Text,
                _ => continue,
            };
            // Of equals the first counts.
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// `openmetrics`, the text of [`super::encode`], in this format.
    pub fn render(self, openmetrics: &str) -> Cow<'_, str> {
        match self {
            Self::Text => plain::from_openmetrics(openmetrics).into(),
            Self::OpenMetrics => openmetrics.into(),
        }
    }
}

/// A weight of 0 to 1 in thousandths, which is as fine as HTTP has it; 0 for what is none.
fn thousandths(text: &str) -> u32 {
    match text.parse::<f64>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0).round() as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_for_clients_that_like_it_best() {
        use Format::{OpenMetrics, Text};
        for (accept, want) in [
            (None, Text),
            (Some(""), Text),
            (Some("*/*"), Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Text),
            (Some("application/json"), Text),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"), OpenMetrics),
            (Some("application/openmetrics-text;version=2.0.0"), Text),
            (Some("application/openmetrics-text;q=0"), Text),
            (Some("application/openmetrics-text;q=loud"), Text),
            (Some("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.9"), OpenMetrics),
            (Some("application/openmetrics-text;q=0.3,text/plain;q=0.9"), Text),
            (Some("text/plain;version=0.0.4,application/openmetrics-text"), Text),
            // Prometheus 2.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
            // Prometheus 3.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                ),
                OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), want, "{accept:?}");
        }
    }
}
