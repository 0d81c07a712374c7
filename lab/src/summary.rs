//! What `weft lab up` shows at its end: how fast, over which leases, by which data path, and what to try next.

use std::fmt::Write;

use crate::asking::ask::{Target, Transport};
use crate::asking::{diff_command, explain_command};
use crate::call;
use crate::lab::Lab;
use crate::measure::Measured;
use crate::node::Pod;
use crate::services;
use crate::status::Status;
use crate::table::Table;

/// The whole summary.
pub fn render(lab: &Lab, status: &Status, measured: &[Measured]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", nodes(status));
    if let Some(proxies) = status.proxy_table() {
        let _ = writeln!(text, "{proxies}");
    }
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

/// Commands that work in this very lab, as they can be typed.
fn next(lab: &Lab) -> String {
    let name = &lab.spec().name;
    let (weft_lab, flag) = (call::lab(), crate::name::name_flag(name));
    let mut lines = vec![(format!("{weft_lab} status{flag}"), "nodes, leases, pods, services, counters")];
    let address = |pod: &Pod| Some(*lab.find_node(pod.node())?.pod_addresses(pod).ok()?.first()?);
    let first = lab.pods().next();
    let last = lab.pods().last();
    if let Some((first, to)) = first.zip(last.and_then(address)) {
        lines.push((
            format!("{weft_lab} exec{flag} {} -- ping -c 3 {to}", first.name()),
            "from a pod to another",
        ));
    }
    lines.push((format!("{weft_lab} exec{flag} n1 -- ip route"), "a node's routes to the others"));
    lines.push((
        format!("{weft_lab} exec{flag} n1 -- tcpdump -c 8 -ni eth0"),
        "what travels between the nodes",
    ));
    lines.push((format!("{weft_lab} exec{flag} n1"), "a shell on n1"));
    lines.push((format!("{weft_lab} check{flag}"), "every pod to every pod, and to the service"));
    lines.push((format!("{weft_lab} down{flag}"), "the end; nothing is left"));
    let as_root = if weft_lab.starts_with("sudo ") { "" } else { ", as root" };
    let mut text = format!("The lab {name} is up and stays up. Try{as_root}:\n");
    list(&mut text, &lines);
    text.push_str(&try_services(lab));
    text
}

/// The same for its services.
fn try_services(lab: &Lab) -> String {
    let (Some(services), Some(pod)) = (lab.services(), lab.pods().next()) else { return String::new() };
    let cluster_ip = services::cluster_ips(lab.spec()).first().copied();
    let source = lab.find_node(pod.node()).and_then(|node| Some(*node.pod_addresses(pod).ok()?.first()?));
    let (Some(ip), Some(source)) = (cluster_ip, source) else { return String::new() };
    let (weft_lab, flag) = (call::lab(), crate::name::name_flag(&lab.spec().name));
    let target = Target { address: (ip, services::PORT).into(), transport: Transport::Tcp };
    let node_port = lab.nodes().last().map_or(ip, |node| node.underlay().into());
    let node_port = Target { address: (node_port, services::NODE_PORT).into(), transport: Transport::Udp };
    let ask = format!("{weft_lab} ask{flag} {}", pod.name());
    let lines = [
        (format!("{ask} {target}"), "who answers a ClusterIP, and whom it sees"),
        (format!("{ask} {node_port}"), "a node port"),
        (explain_command(lab.spec(), pod.node(), source, &target), "why"),
        (diff_command(lab.spec(), pod.node()), "what the kernel lacks"),
    ];
    let directory = services.directory().display();
    let mut text = format!(
        "The service {} and what else is in {directory} is served on every node. Change {}, or put\n\
         a file like it beside it, and ask:\n",
        services::SERVICE,
        services::WEB,
    );
    list(&mut text, &lines);
    text
}

/// Commands, each with what it is for: beside it, or above where it is long.
fn list(text: &mut String, lines: &[(String, &str)]) {
    const BESIDE: usize = 72;
    let short = lines.iter().map(|(command, _)| command.len()).filter(|length| *length <= BESIDE);
    let width = short.max().unwrap_or(0);
    for (command, what) in lines {
        let _ = match command.len() <= BESIDE {
            true => writeln!(text, "  {command:<width$}  # {what}"),
            false => writeln!(text, "  # {what}\n  {command}"),
        };
    }
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
