//! Labels and buckets.

use proxy_core::names::Family as IpFamily;
use telemetry::metrics::metrics::family::{Family, MetricConstructor};
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

pub(super) type Label = [(&'static str, &'static str); 1];
pub(super) type Labels = [(&'static str, &'static str); 2];
pub(super) type Times = Family<Label, Histogram, Buckets>;

/// A gauge of seconds since 1970, with their fractions.
pub(super) type Clock = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Which buckets a histogram has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Buckets {
    /// A pass: 1 ms to 16 s, doubling.
    Sync,
    /// From a change of a pod to the kernel: kube-proxy's, up to five minutes.
    Programming,
    /// From the arrival of a change to the kernel: 100 µs to 3.3 s, doubling.
    Change,
}

impl Buckets {
    pub(super) fn bounds(self) -> Vec<f64> {
        let doubling = |first: f64, count: i32| (0..count).map(move |nth| first * 2f64.powi(nth)).collect();
        match self {
            Buckets::Sync => doubling(0.001, 15),
            Buckets::Change => doubling(0.000_1, 16),
            Buckets::Programming => [0.25, 0.5]
                .into_iter()
                .chain((1..60).map(f64::from))
                .chain((60..120).step_by(5).map(f64::from))
                .chain((120..=300).step_by(30).map(f64::from))
                .collect(),
        }
    }
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.bounds())
    }
}

/// Histograms, one for each family that has a value.
pub(super) fn times(buckets: Buckets) -> Times {
    Times::new_with_constructor(buckets)
}

pub(super) const fn of(family: IpFamily) -> Label {
    [("ip_family", name(family))]
}

pub(super) const fn name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}
