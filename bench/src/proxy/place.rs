//! Which services' rules come first and last, where rules are searched in order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use host::netns::Namespace;

use super::objects::{self, PORT, THROUGHPUT};
use host::programs;
use lab::LabError;

/// Listing tens of thousands of rules takes its time.
const LIMIT: Duration = Duration::from_secs(60);

/// The first and the last service that a packet meets: by the order of KUBE-SERVICES, which is chance in kube-proxy
/// and again after each change. With nftables, and where that chain does not name each service, by their numbers.
pub fn ends(node: &Namespace, path: Option<&str>, services: u32) -> Result<[SocketAddr; 2], LabError> {
    let by_number = [objects::frontend(0), objects::frontend(services - 1)];
    let Some(path) = path else { return Ok(by_number) };
    let program = path.split(':').next().map(|folder| format!("{folder}/iptables")).unwrap_or_default();
    let argv = [program.as_str(), "-w", "10", "-t", "nat", "-S", "KUBE-SERVICES"];
    let listed = programs::run(&programs::inside(node, argv).time_limit(LIMIT))?.ok()?;
    Ok(parse(&listed).unwrap_or(by_number))
}

/// The destinations of the first and the last rule that is about one of our services.
fn parse(rules: &str) -> Option<[SocketAddr; 2]> {
    let mut frontends = rules.lines().filter_map(frontend).filter(|ip| IpAddr::V4(*ip) != THROUGHPUT.ip());
    let first = frontends.next()?;
    let last = frontends.next_back()?;
    Some([first, last].map(|ip| SocketAddr::from((ip, PORT))))
}

fn frontend(rule: &str) -> Option<Ipv4Addr> {
    let mut words = rule.split_whitespace().skip_while(|word| *word != "-d");
    let ip = words.nth(1)?.strip_suffix("/32")?.parse().ok()?;
    let SocketAddr::V4(lowest) = objects::frontend(0) else { return None };
    (ip >= *lowest.ip() && rule.contains(&format!("--dport {PORT} "))).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_those_of_the_chain() {
        let rule = |ip: &str, port| {
            format!(
                "-A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment x -m tcp --dport {port} -j KUBE-SVC-A\n"
            )
        };
        let mut text = "-N KUBE-SERVICES\n".to_owned();
        text += &rule("10.96.0.1", 443);
        for ip in ["10.96.0.99", "10.96.0.16", "10.96.3.4", &THROUGHPUT.ip().to_string()] {
            text += &rule(ip, 80);
        }
        text += "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n";
        assert_eq!(parse(&text), Some(["10.96.0.99:80", "10.96.3.4:80"].map(|text| text.parse().unwrap())));
        assert_eq!(parse("-N KUBE-SERVICES\n"), None);
    }
}
