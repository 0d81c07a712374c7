//! Metrics: the registry, and its two texts.
//!
//! Packages register their metrics through the re-exports here, so that all of them share one version of the
//! registry. It writes OpenMetrics 1.0; [`Format::render`] makes Prometheus' older text of that for clients that do not
//! ask for OpenMetrics, and [`Format::accepted`] says which one a client asks for.

mod accept;
mod plain;

pub use prometheus_client::{collector, encoding, metrics, registry};

pub use accept::Format;
pub use registry::Registry;

/// Everything in `registry`, read now, as OpenMetrics.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_holds_every_registered_metric_and_ends_as_openmetrics_must() {
        let mut registry = Registry::default();
        let syncs = metrics::counter::Counter::<u64>::default();
        registry.register("weft_syncs", "Passes over the kernel tables", syncs.clone());
        syncs.inc();
        assert_eq!(
            encode(&registry).expect("text"),
            "# HELP weft_syncs Passes over the kernel tables.\n# TYPE weft_syncs counter\nweft_syncs_total 1\n# EOF\n"
        );
    }
}
