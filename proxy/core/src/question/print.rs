//! Explanations as a person reads them.

use std::fmt;
use std::net::SocketAddr;

use crate::question::{
    Answer, AtFrontend, Balance, Explanation, Masqueraded, Origin, Outcome, Packet, Verdict, Why,
};
use crate::table::{Action, FrontendAddress, FrontendKind, Scope, Source};

/// `10.244.1.7 -> 10.96.0.10:80/tcp`.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}/{}", self.src, SocketAddr::new(self.dst, self.port), self.protocol)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Pod => "a pod of this node",
            Origin::Node => "this node itself",
            Origin::Outside => "outside this node",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::All => "all traffic to ClusterIPs is",
            Why::NotAPod => "the source is not known to be a pod",
            Why::External => "the endpoint may be on another node, and must answer through this one",
            Why::FromNode => "it starts on this node",
            Why::Hairpin => "the client is its own endpoint",
        })
    }
}

impl fmt::Display for Masqueraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Masqueraded::Yes(why) => write!(f, "yes: {why}"),
            Masqueraded::No => f.write_str("no: the endpoint sees the client's address"),
            Masqueraded::IfHairpin => f.write_str("only if the client is chosen as its own endpoint"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} from {}: {}", self.packet, self.packet.from, self.answer.verdict())?;
        match &self.answer {
            Answer::Pass => writeln!(f, "  no service has this address and port"),
            Answer::WrongPort => writeln!(f, "  {} is a ClusterIP, but has no such port", self.packet.dst),
            Answer::Unallocated(net) => {
                writeln!(f, "  {} is in {net}, but no service has it", self.packet.dst)
            }
            Answer::Frontend(at) => print_frontend(at, f),
        }?;
        self.hints.iter().try_for_each(|hint| writeln!(f, "  hint:       {hint}"))?;
        if !self.left_out.is_empty() {
            writeln!(f, "  left out:")?;
        }
        for (endpoint, why) in &self.left_out {
            writeln!(f, "    {endpoint}  {why}")?;
        }
        Ok(())
    }
}

fn print_frontend(at: &AtFrontend, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (service, frontend) = (&at.service, &at.frontend);
    let place = match frontend.address {
        FrontendAddress::Ip(ip) => SocketAddr::new(ip, frontend.port).to_string(),
        FrontendAddress::NodePorts => frontend.port.to_string(),
    };
    writeln!(f, "  service:    {}, {} {place}/{}", service.name, frontend.kind, service.protocol())?;
    let (branch, balance) = match &at.outcome {
        Outcome::SourceRefused => {
            let ranges: Vec<_> =
                frontend.sources.iter().flat_map(|nets| nets.iter()).map(|net| net.to_string()).collect();
            return writeln!(f, "  refused:    the source is not in {}", ranges.join(", "));
        }
        Outcome::Branch(branch, balance) => (branch, balance),
    };
    match branch.action {
        Action::Reject => return writeln!(f, "  refused:    no endpoint is usable anywhere"),
        Action::Drop => {
            return writeln!(f, "  dropped:    the policy is Local, and no endpoint of this node is usable");
        }
        Action::Balance { .. } => {}
    }
    let Some(balance) = balance else { return Ok(()) };
    writeln!(f, "  policy:     {}", policy(frontend.kind, branch.source, balance.scope))?;
    print_balance(balance, f)?;
    if let Some(timeout) = service.affinity {
        writeln!(f, "  affinity:   a client keeps its endpoint for {} s", timeout.as_secs())?;
    }
    Ok(())
}

fn print_balance(balance: &Balance, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let chance = 100.0 / balance.endpoints.len() as f64;
    writeln!(f, "  endpoints:")?;
    for endpoint in &balance.endpoints {
        writeln!(
            f,
            "    {endpoint}  {chance:.1} %{}",
            if endpoint.is_local { ", on this node" } else { "" }
        )?;
    }
    writeln!(f, "  masquerade: {}", balance.masquerade)
}

fn policy(kind: FrontendKind, source: Source, scope: Scope) -> &'static str {
    match (kind, source, scope) {
        (FrontendKind::ClusterIp, _, Scope::Cluster) => "internal traffic, Cluster",
        (FrontendKind::ClusterIp, _, Scope::Local) => "internal traffic, Local: endpoints of this node only",
        (_, Source::Pods, _) => {
            "external traffic, Local; but a pod's goes anywhere, as though by the load balancer"
        }
        (_, Source::Node, _) => {
            "external traffic, Local; but this node's goes anywhere, as though by the load balancer"
        }
        (_, Source::Any, Scope::Local) => "external traffic, Local: endpoints of this node only",
        (_, Source::Any, Scope::Cluster) => "external traffic, Cluster",
    }
}
