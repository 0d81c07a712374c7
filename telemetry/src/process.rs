//! What Prometheus' clients in every language tell of their own process: processor time, memory, files, traffic, start.
//!
//! Owns: reading `/proc/self` at each scrape. Begin at [`register`]. Names and meanings are those of the Go client's
//! process collector, so that dashboards made for the originals show ours. What the kernel does not tell is left out.

use std::fmt;
use std::fs;

use crate::metrics::Registry;
use crate::metrics::collector::Collector;
use crate::metrics::encoding::{DescriptorEncoder, EncodeMetric};
use crate::metrics::metrics::MetricType;
use crate::metrics::metrics::counter::ConstCounter;
use crate::metrics::metrics::gauge::ConstGauge;

/// Adds `process_*` to the registry. To be called once for each registry.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

/// What the Go client shows for a limit that there is not: 2^64, as near as its numbers come.
const UNLIMITED: f64 = u64::MAX as f64;

/// Ticks in a second in `/proc`: `USER_HZ`, which is part of the kernel's ABI (man 5 proc: see times(2)).
const TICKS: f64 = 100.0;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let found = Found::read();
        for (name, help, value) in [
            ("process_cpu_seconds", "Total user and system CPU time spent in seconds", found.cpu_seconds),
            (
                "process_network_receive_bytes",
                "Number of bytes received by the process' network namespace",
                found.received,
            ),
            (
                "process_network_transmit_bytes",
                "Number of bytes sent by the process' network namespace",
                found.sent,
            ),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                ConstCounter::new(value).encode(metric)?;
            }
        }
        for (name, help, value) in [
            ("process_max_fds", "Maximum number of open file descriptors", found.max_fds),
            ("process_open_fds", "Number of open file descriptors", found.open_fds),
            ("process_resident_memory_bytes", "Resident memory size in bytes", found.resident),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds",
                found.started,
            ),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", found.virtual_memory),
            (
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes",
                found.virtual_max,
            ),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

/// None: the kernel does not tell.
#[derive(Debug, Default, PartialEq)]
struct Found {
    cpu_seconds: Option<f64>,
    started: Option<f64>,
    resident: Option<f64>,
    virtual_memory: Option<f64>,
    virtual_max: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    received: Option<f64>,
    sent: Option<f64>,
}

impl Found {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (stat, limits, netstat) =
            (text("/proc/self/stat"), text("/proc/self/limits"), text("/proc/self/net/netstat"));
        let status = text("/proc/self/status");
        let ticks = ticks(&stat);
        let (received, sent) = traffic(&netstat).unzip();
        Self {
            cpu_seconds: ticks.map(|(used, _)| used / TICKS),
            started: ticks.zip(booted(&text("/proc/stat"))).map(|((_, start), boot)| boot + start / TICKS),
            resident: kibibytes(&status, "VmRSS:"),
            virtual_memory: kibibytes(&status, "VmSize:"),
            virtual_max: limit(&limits, "Max address space"),
            // The directory that is being read is one of them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64),
            max_fds: limit(&limits, "Max open files"),
            received,
            sent,
        }
    }
}

/// Ticks that the process has used, and since the machine's start when it started. The name, in parentheses, may hold
/// anything.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    // The third field of proc(5) is the first here.
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<f64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

/// Seconds since 1970 when the machine started.
fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// The soft limit.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(UNLIMITED),
        number => number.parse().ok(),
    }
}

/// Bytes received and sent by IP: each line of names is followed by one of numbers.
fn traffic(netstat: &str) -> Option<(f64, f64)> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let at = names.split(' ').position(|name| name == wanted)?;
        numbers.split(' ').nth(at)?.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::encode;

    #[test]
    fn every_number_of_the_go_clients_process_collector_is_there_with_its_type() {
        let mut registry = Registry::default();
        register(&mut registry);
        let text = encode(&registry).expect("text");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
        };
        for name in [
            "process_cpu_seconds_total",
            "process_network_receive_bytes_total",
            "process_virtual_memory_max_bytes",
        ] {
            assert!(value(name) >= 0.0);
        }
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!((3.0..value("process_max_fds")).contains(&value("process_open_fds")));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock")
            .as_secs_f64();
        let started = value("process_start_time_seconds");
        assert!((now - 86_400.0..now + 1.0).contains(&started), "{started} {now}");
        assert!(
            text.contains("# TYPE process_cpu_seconds counter")
                && text.contains("# TYPE process_open_fds gauge")
        );
    }

    #[test]
    fn a_strange_name_or_a_missing_file_confuses_nothing() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 12345 1 1";
        assert_eq!(ticks(stat), Some((300.0, 12345.0)));
        assert_eq!(
            (ticks(""), booted(""), kibibytes("", "VmRSS:"), limit("", "Max open files"), traffic("")),
            (None, None, None, None, None)
        );
        assert_eq!(
            limit(
                "Max address space         unlimited            unlimited            bytes",
                "Max address space"
            ),
            Some(UNLIMITED)
        );
        assert_eq!(
            traffic("TcpExt: A B\nTcpExt: 1 2\nIpExt: A InOctets OutOctets\nIpExt: 1 20 30\n"),
            Some((20.0, 30.0))
        );
    }
}
