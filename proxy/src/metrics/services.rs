//! Connections of each service port, read from the kernel at each scrape: a service that is gone leaves nothing here.

use std::fmt;

use proxy_core::names::{Family as IpFamily, PortName};
use telemetry::metrics::collector::Collector;
use telemetry::metrics::encoding::{DescriptorEncoder, EncodeMetric};
use telemetry::metrics::metrics::MetricType;
use telemetry::metrics::metrics::counter::ConstCounter;

use super::labels::name;

/// What was counted for one port of a Service since its rules are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCount {
    pub family: IpFamily,
    pub port: PortName,
    /// Connections (of UDP: flows) that were sent to an endpoint.
    pub connections: u64,
}

/// Reads all counters of services; called once for each scrape, on a thread that may block.
pub type ServiceCounts = Box<dyn Fn() -> Vec<ServiceCount> + Send + Sync>;

pub(super) struct Services(pub ServiceCounts);

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

impl Collector for Services {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = (self.0)();
        if counts.is_empty() {
            return Ok(());
        }
        let mut descriptor = encoder.encode_descriptor(
            "weft_proxy_service_connections",
            "Connections that were sent to an endpoint, by port of a service",
            None,
            MetricType::Counter,
        )?;
        for count in counts {
            let service = &count.port.service;
            let labels = [
                ("namespace", &*service.namespace),
                ("service", &*service.name),
                ("port", &*count.port.port),
                ("protocol", count.port.protocol.as_str()),
                ("ip_family", name(count.family)),
            ];
            let metric = descriptor.encode_family(&labels)?;
            ConstCounter::new(count.connections).encode(metric)?;
        }
        Ok(())
    }
}
