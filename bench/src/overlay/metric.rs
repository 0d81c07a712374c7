//! What is measured on each path, with its unit and which way is better.

use serde::{Deserialize, Serialize};

use crate::metric::{Better, Number, three_digits};

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Gbit/s of payload received, one TCP stream.
    Tcp1,
    /// Gbit/s of payload received, four TCP streams.
    Tcp4,
    /// Thousands of UDP datagrams of 64 B received in a second, sent as fast as can be.
    Udp64,
    /// The same with 1400 B.
    Udp1400,
    /// Microseconds: average round trip of ping, nothing else under way.
    Ping,
    /// TCP request-response transactions of 1 B in a second, one at a time, both ends on one CPU.
    Transactions,
    /// Microseconds: the median transaction.
    TransactionP50,
    /// Microseconds: the 99th percentile of transactions.
    TransactionP99,
    /// Retransmitted TCP segments in the test with one stream.
    Retransmits,
    /// Seconds of busy CPU of the whole machine for each gigabit received, one TCP stream.
    CpuPerGigabit,
    /// The part of it that both flannelds used.
    DaemonCpuPerGigabit,
}

impl Metric {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 11] = [
        Self::Tcp1,
        Self::Tcp4,
        Self::Udp64,
        Self::Udp1400,
        Self::Ping,
        Self::Transactions,
        Self::TransactionP50,
        Self::TransactionP99,
        Self::Retransmits,
        Self::CpuPerGigabit,
        Self::DaemonCpuPerGigabit,
    ];
}

impl Number for Metric {
    fn title(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP 1 stream, Gbit/s",
            Self::Tcp4 => "TCP 4 streams, Gbit/s",
            Self::Udp64 => "UDP 64 B, kpps",
            Self::Udp1400 => "UDP 1400 B, kpps",
            Self::Ping => "ping, µs",
            Self::Transactions => "TCP_RR, 1/s",
            Self::TransactionP50 => "TCP_RR p50, µs",
            Self::TransactionP99 => "TCP_RR p99, µs",
            Self::Retransmits => "retransmits",
            Self::CpuPerGigabit => "CPU s/Gbit",
            Self::DaemonCpuPerGigabit => "flanneld CPU s/Gbit",
        }
    }

    fn better(self) -> Better {
        match self {
            Self::Tcp1 | Self::Tcp4 | Self::Udp64 | Self::Udp1400 | Self::Transactions => Better::More,
            Self::Ping
            | Self::TransactionP50
            | Self::TransactionP99
            | Self::Retransmits
            | Self::CpuPerGigabit
            | Self::DaemonCpuPerGigabit => Better::Less,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Retransmits | Self::Transactions => format!("{value:.0}"),
            Self::CpuPerGigabit | Self::DaemonCpuPerGigabit => format!("{value:.3}"),
            _ => three_digits(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_show_the_digits_that_matter() {
        assert_eq!(Metric::Tcp1.show(21.46), "21.5");
        assert_eq!(Metric::Tcp1.show(0.434), "0.43");
        assert_eq!(Metric::Udp64.show(232.4), "232");
        assert_eq!(Metric::Transactions.show(82_345.6), "82346");
        assert_eq!(Metric::DaemonCpuPerGigabit.show(0.0), "0.000");
    }
}
