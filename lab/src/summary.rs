//! What `weft lab up` shows at its end: how fast, over which leases, by which data path, and what to try next.

use std::fmt::Write;

use crate::lab::Lab;
use crate::measure::Measured;
use crate::node::Pod;
use crate::status::Status;
use crate::table::Table;

/// The whole summary.
pub fn render(lab: &Lab, status: &Status, measured: &[Measured]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", nodes(status));
    if !measured.is_empty() {
        let _ = writeln!(text, "{}", speeds(measured));
    }
    text.push_str(&next(lab));
    text
}

/// Each node with its lease and its data path.
fn nodes(status: &Status) -> Table {
    let mut table = Table::new(["NODE", "UNDERLAY", "LEASE", "MTU", "DATA PATH", "PODS"]);
    table.align_right([3]);
    for node in &status.nodes {
        let lease = status.leases.iter().find(|lease| lease.node.as_deref() == Some(&node.name));
        let dash = || "-".to_owned();
        let pods = status.pods.iter().filter(|pod| pod.node == node.name);
        let pods: Vec<&str> = pods.filter_map(|pod| pod.addresses.first().map(String::as_str)).collect();
        table.row([
            node.name.clone(),
            node.underlay.clone(),
            lease.map_or_else(dash, |lease| lease.subnet.clone()),
            node.mtu.map_or_else(dash, |mtu| mtu.to_string()),
            status.datapath_of(node),
            if pods.is_empty() { dash() } else { pods.join(", ") },
        ]);
    }
    table
}

/// Latency and throughput from pod to pod.
pub fn speeds(measured: &[Measured]) -> Table {
    let mut table = Table::new(["FROM", "TO", "PING (MEDIAN)", "TCP, ONE STREAM"]);
    table.align_right([2, 3]);
    for pair in measured {
        table.row([
            pair.from.clone(),
            pair.to.clone(),
            pair.ping_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.0} µs")),
            pair.tcp_gbit.map_or_else(|| "-".to_owned(), gigabits),
            pair.problem.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn gigabits(rate: f64) -> String {
    if rate < 1.0 { format!("{:.0} Mbit/s", rate * 1e3) } else { format!("{rate:.1} Gbit/s") }
}

/// Commands that work in this very lab.
fn next(lab: &Lab) -> String {
    let name = &lab.spec().name;
    // The default name need not be said.
    let flag =
        if name.as_str() == crate::cli::DEFAULT_NAME { String::new() } else { format!(" --name {name}") };
    let mut lines = vec![(format!("weft lab status{flag}"), "nodes, leases, pods, counters")];
    let address = |pod: &Pod| {
        let network = lab.find_node(pod.node())?.pods_network()?;
        Some(network.addresses(pod.plan().index).ok()?.first()?.addr())
    };
    let first = lab.pods().next();
    let last = lab.pods().last();
    if let Some((first, to)) = first.zip(last.and_then(address)) {
        lines.push((
            format!("weft lab exec{flag} {} -- ping -c 3 {to}", first.name()),
            "from a pod to another",
        ));
    }
    lines.push((format!("weft lab exec{flag} n1 -- ip route"), "a node's routes to the others"));
    lines
        .push((format!("weft lab exec{flag} n1 -- tcpdump -c 8 -ni eth0"), "what travels between the nodes"));
    lines.push((
        format!("nsenter --net=/run/netns/{}", name.member_namespace("n1")),
        "a shell on n1, by other means",
    ));
    lines.push((format!("weft lab check{flag}"), "every pod to every pod"));
    lines.push((format!("weft lab down{flag}"), "the end; nothing is left"));
    let width = lines.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let mut text = format!("The lab {name} is up and stays up. Try, as root:\n");
    for (command, what) in lines {
        let _ = writeln!(text, "  {command:<width$}  # {what}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_have_units() {
        let pair = |ping_us, tcp_gbit, problem: Option<&str>| Measured {
            from: "n1-p1".to_owned(),
            to: "n2-p1".to_owned(),
            ping_us,
            tcp_gbit,
            problem: problem.map(str::to_owned),
        };
        let text = speeds(&[
            pair(Some(42.4), Some(12.34), None),
            pair(Some(9.0), Some(0.43), None),
            pair(None, None, Some("tcp: timed out")),
        ])
        .to_string();
        assert_eq!(
            text,
            "\
FROM   TO     PING (MEDIAN)  TCP, ONE STREAM
n1-p1  n2-p1          42 µs      12.3 Gbit/s
n1-p1  n2-p1           9 µs       430 Mbit/s
n1-p1  n2-p1              -                -  tcp: timed out
"
        );
    }
}
