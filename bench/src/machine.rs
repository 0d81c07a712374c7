//! What this machine is, for the head of the table.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use host::netns::Namespace;

use super::sample::Machine;
use host::programs;

const UNKNOWN: &str = "unknown";

/// Looks around. What cannot be found out is "unknown".
pub fn this() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let line = |path: &str| Some(read(path).trim().to_owned()).filter(|text| !text.is_empty());
    let cpuinfo = read("/proc/cpuinfo");
    Machine {
        cpu: field(&cpuinfo, "model name", ':').unwrap_or_else(|| UNKNOWN.to_owned()),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: memory_gib(&read("/proc/meminfo")),
        kernel: line("/proc/sys/kernel/osrelease").unwrap_or_else(|| UNKNOWN.to_owned()),
        system: field(&read("/etc/os-release"), "PRETTY_NAME", '=')
            .map_or_else(|| UNKNOWN.to_owned(), |name| name.trim_matches('"').to_owned()),
        congestion_control: line("/proc/sys/net/ipv4/tcp_congestion_control")
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        iperf3: iperf3().unwrap_or_else(|| UNKNOWN.to_owned()),
        weft: env!("CARGO_PKG_VERSION").to_owned(),
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

/// The value of the first line `KEY SEPARATOR VALUE`.
fn field(text: &str, key: &str, separator: char) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(separator));
    pairs.into_iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

fn memory_gib(meminfo: &str) -> u64 {
    let total = field(meminfo, "MemTotal", ':').unwrap_or_default();
    let kib: u64 = total.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    (kib + (1 << 19)) >> 20
}

/// `iperf 3.12`, of its first line.
fn iperf3() -> Option<String> {
    let here = Namespace::current().ok()?;
    let text = programs::run(&programs::inside(&here, ["iperf3", "--version"])).ok()?.ok().ok()?;
    let words: Vec<&str> = text.lines().next()?.split_whitespace().take(2).collect();
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_spaces() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\n";
        assert_eq!(field(cpuinfo, "model name", ':').as_deref(), Some("Intel(R) Xeon(R)"));
        assert_eq!(field("PRETTY_NAME=\"Debian\"\n", "PRETTY_NAME", '=').as_deref(), Some("\"Debian\""));
        assert_eq!(memory_gib("MemTotal:       24662016 kB\n"), 24);
        assert_eq!(memory_gib(""), 0);
    }

    #[test]
    fn this_machine_has_a_kernel() {
        let machine = this();
        assert!(machine.kernel != UNKNOWN && machine.cpus > 0, "{machine:?}");
    }
}
