//! The rules of one service port.
//!
//! In nat a front leads to a chain that balances; what is not translated there meets its refusal in filter.
//! Fewer rules than kube-proxy writes: an endpoint needs no chain of its own but for affinity, and what is only ever
//! reached by a ClusterIP does not ask again whether it was.

use std::net::IpAddr;

use ipnet::IpNet;
use proxy_core::names::Family;
use proxy_core::table::{
    Act, Branch, Endpoint, FamilyView, Front, FrontKind, Masquerade, Over, ServicePort, Who,
};

use super::names::*;
use super::render::{At, Part, Place, Style};
use super::rule::{NotPods, Rule, from_pods, host, not_from_pods};

struct Writer<'a> {
    port: &'a ServicePort,
    view: &'a FamilyView,
    style: &'a Style,
    names: Names,
    part: Part,
    next: u16,
}

impl Part {
    pub fn of(port: &ServicePort, view: &FamilyView, style: &Style) -> Part {
        let names = Names::of(&port.name);
        let mut writer = Writer { port, view, style, names, part: Part::default(), next: 0 };
        writer.groups();
        writer.external();
        for front in &port.fronts {
            writer.lead(front);
            writer.refuse(front);
        }
        if let Some(number) = port.health_check_node_port {
            let rule = Rule::new().comment("kubernetes health check node port");
            let rule = rule.port(proxy_core::names::Protocol::Tcp, number).then("ACCEPT");
            writer.part.shared.push(((Table::Filter, NODE_PORTS), At::Number(number), rule));
        }
        writer.part
    }
}

fn balances(front: &Front) -> bool {
    front.branches.iter().any(|branch| branch.act.over().is_some())
}

fn kind_of(over: Over) -> Kind {
    match over {
        Over::Cluster => Kind::Cluster,
        Over::Local => Kind::Local,
    }
}

impl Writer<'_> {
    fn put(&mut self, place: Place, rule: String) {
        let at = At::Port(self.port.name.clone(), self.next);
        self.next += 1;
        self.part.shared.push((place, at, rule));
    }

    /// In nat, where a front with an address leads.
    fn front(&mut self, front: &Front, what: &str, target: &str) {
        let Some(ip) = front.address.ip() else { return };
        let rule = Rule::new().dst(host(ip));
        let rule = self.remark(rule, format_args!("{} {what}", self.port.name));
        let rule = rule.port(self.port.protocol(), front.port).then(target);
        let at = At::Port(self.port.name.clone(), self.next);
        self.next += 1;
        self.part.fronts.push((ip, at, rule));
    }

    fn own(&mut self, chain: String, rules: Vec<String>) {
        self.part.own.insert(chain, rules);
    }

    /// Within a chain of the service.
    fn remark(&self, rule: Rule, text: impl std::fmt::Display) -> Rule {
        if self.style.comments { rule.comment(text) } else { rule }
    }

    fn external_fronts(&self) -> impl Iterator<Item = &Front> {
        self.port.fronts.iter().filter(|front| front.kind != FrontKind::ClusterIp)
    }

    fn groups(&mut self) {
        for over in [Over::Cluster, Over::Local] {
            let used = self.port.fronts.iter().flat_map(|front| &front.branches);
            if used.filter_map(|branch| branch.act.over()).any(|used| used == over) {
                self.group(over);
            }
        }
    }

    /// The chain that balances over a group.
    fn group(&mut self, over: Over) {
        let mut rules = Vec::new();
        for front in self.port.front(FrontKind::ClusterIp) {
            for branch in &front.branches {
                let Act::Balance { over: of, masquerade } = branch.act else { continue };
                if of != over {
                    continue;
                }
                let shared = self.external_fronts().any(balances);
                let rule = if shared { Rule::new().at(front.address) } else { Rule::new() };
                let rule = self.remark(rule, format_args!("{} cluster IP", self.port.name));
                let rule = if shared { rule.port(self.port.protocol(), front.port) } else { rule };
                rules.extend(self.mark(masquerade, &rule));
            }
        }
        self.balance(over, &mut rules);
        self.own(self.names.chain(kind_of(over)), rules);
    }

    /// Marks what `rule` matches as far as it is to be masqueraded.
    fn mark(&self, masquerade: Masquerade, rule: &Rule) -> Option<String> {
        match masquerade {
            Masquerade::Never => None,
            Masquerade::Always => Some(rule.clone().then(MARK_MASQ)),
            Masquerade::UnlessPods => match not_from_pods(&self.view.pods, rule) {
                NotPods::Nobody => None,
                NotPods::Rule(rule) => Some(rule.then(MARK_MASQ)),
                NotPods::None(_) => Some(rule.clone().then(MARK_UNLESS_POD)),
            },
        }
    }

    fn balance(&mut self, over: Over, rules: &mut Vec<String>) {
        let group = self.port.group(over).clone();
        let remark = |writer: &Self, endpoint: &Endpoint| {
            writer.remark(Rule::new(), format_args!("{} -> {endpoint}", writer.port.name))
        };
        if let Some(timeout) = self.port.affinity {
            for endpoint in group.iter() {
                let chain = self.names.endpoint(endpoint);
                let known = format!("-m recent --rcheck --seconds {} --reap", timeout.as_secs());
                let rule = remark(self, endpoint).with(known).with(self.remembered(&chain));
                rules.push(rule.then(chain));
            }
        }
        for (left, endpoint) in (1..=group.len()).rev().zip(group.iter()) {
            let rule = remark(self, endpoint);
            let rule = if left == 1 { rule } else { rule.with(chance(left)) };
            if self.port.affinity.is_none() && self.style.hairpin_at_once {
                rules.push(rule.protocol(self.port.protocol()).then(translation(endpoint)));
                continue;
            }
            let chain = self.names.endpoint(endpoint);
            let to = self.translate(endpoint, &chain);
            if left == 1 && self.port.affinity.is_none() {
                rules.extend(to);
            } else {
                rules.push(rule.then(&chain));
                self.own(chain, to);
            }
        }
    }

    fn translate(&self, to: &Endpoint, chain: &str) -> Vec<String> {
        let rule = || self.remark(Rule::new(), &self.port.name);
        // A client that is its own endpoint would get answers that it did not ask for.
        let hairpin = (!self.style.hairpin_at_once).then(|| rule().src(host(to.ip)).then(MARK_MASQ));
        let sticky = if self.port.affinity.is_some() {
            rule().with("-m recent --set").with(self.remembered(chain))
        } else {
            rule()
        };
        let translate = sticky.protocol(self.port.protocol()).then(translation(to));
        hairpin.into_iter().chain([translate]).collect()
    }

    fn remembered(&self, chain: &str) -> String {
        let mask = match self.style.family {
            Family::V4 => "255.255.255.255",
            Family::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        };
        format!("--name {chain} --mask {mask} --rsource")
    }

    /// The chain for all that is not for the ClusterIP. All such fronts of a port have the same branches.
    fn external(&mut self) {
        let Some(front) = self.external_fronts().find(|front| balances(front)) else { return };
        let branches = front.branches.clone();
        debug_assert!(self.external_fronts().all(|front| front.branches == branches));
        let mut rules = Vec::new();
        for Branch { who, act } in branches {
            let name = &self.port.name;
            let (over, masquerade) = match act {
                Act::Balance { over, masquerade } => (over, masquerade),
                // It goes no further in this table, so that no other rule translates it, and filter refuses it.
                Act::Reject | Act::Drop => {
                    rules.push(Rule::new().then("ACCEPT"));
                    continue;
                }
            };
            let comment = match who {
                Who::Pods => format!("pod traffic for {name} external destinations"),
                Who::Node => format!("route LOCAL traffic for {name} external destinations"),
                Who::Any => format!("{name} external destinations"),
            };
            let rule = self.remark(Rule::new(), comment);
            let matches = match who {
                Who::Pods => from_pods(&self.view.pods, &rule),
                Who::Node => vec![rule.with("-m addrtype --src-type LOCAL")],
                Who::Any => vec![rule],
            };
            let chain = self.names.chain(kind_of(over));
            for rule in matches {
                rules.extend(self.mark(masquerade, &rule));
                rules.push(rule.then(&chain));
            }
        }
        self.own(self.names.chain(Kind::External), rules);
    }

    /// From the front to the chain that balances, in nat.
    fn lead(&mut self, front: &Front) {
        let external = self.names.chain(Kind::External);
        let what = in_words(front.kind);
        if !balances(front) {
            // Nothing else may have it, above all not a node port of this number.
            if front.kind != FrontKind::ClusterIp {
                self.front(front, what, "ACCEPT");
            }
            return;
        }
        match (front.kind, &front.sources) {
            (FrontKind::ClusterIp, _) => {
                let over = front.branches.iter().find_map(|branch| branch.act.over());
                let chain = self.names.chain(over.map_or(Kind::Cluster, kind_of));
                self.front(front, what, &chain);
            }
            (FrontKind::NodePort, _) => {
                let rule = Rule::new().at(front.address).comment(&self.port.name);
                let rule = rule.port(self.port.protocol(), front.port).then(external);
                self.put((Table::Nat, NODE_PORTS), rule);
            }
            (_, None) => self.front(front, what, &external),
            (_, Some(sources)) => {
                let firewall = self.names.chain(Kind::Firewall);
                let admit = self.remark(Rule::new(), format_args!("{} {what}", self.port.name));
                let mut rules: Vec<String> =
                    sources.iter().map(|net| admit.clone().src(*net).then(&external)).collect();
                rules.push(Rule::new().then("ACCEPT"));
                self.front(front, what, &firewall);
                self.own(firewall, rules);
            }
        }
    }

    /// What becomes in filter of what was not translated in nat.
    fn refuse(&mut self, front: &Front) {
        use Table::Filter;
        let (name, protocol, family) = (self.port.name.clone(), self.port.protocol(), self.style.family);
        let rule = |what: &str| {
            Rule::new().at(front.address).comment(format_args!("{name} {what}")).port(protocol, front.port)
        };
        if let Some(sources) = &front.sources {
            let what = format!("traffic not accepted by {}", self.names.chain(Kind::Firewall));
            if !balances(front) {
                for net in sources.iter() {
                    self.put((Filter, PROXY_FIREWALL), rule("loadbalancer IP").src(*net).then("RETURN"));
                }
            }
            self.put((Filter, PROXY_FIREWALL), rule(&what).then("DROP"));
        }
        let chain = match front.kind {
            FrontKind::ClusterIp => SERVICES,
            FrontKind::ExternalIp | FrontKind::LoadBalancer => EXTERNAL_SERVICES,
            FrontKind::NodePort => REFUSED_NODE_PORTS,
        };
        match front.branches.last().map(|branch| branch.act) {
            Some(Act::Reject) => {
                self.put((Filter, chain), rule("has no endpoints").reject(family, Some(protocol)));
            }
            Some(Act::Drop) => self.put((Filter, chain), rule("has no local endpoints").then("DROP")),
            _ => {}
        }
        if let (FrontKind::ClusterIp, Some(ip)) = (front.kind, front.address.ip()) {
            let refused = Rule::new().dst(host(ip)).then(REJECT);
            self.part.shared.push(((Filter, CLUSTER_IPS), At::Ip(ip), refused));
            if !self.view.service_cidrs.iter().any(|net| net.contains(&ip)) {
                // Nobody says which network it is from; not every connection is to go through all such addresses.
                let net = around(ip);
                let leads = Rule::new().dst(net).then(CLUSTER_IPS);
                self.part.shared.push(((Filter, SERVICES), At::Net(net), leads));
            }
        }
    }
}

fn translation(to: &Endpoint) -> String {
    format!("DNAT --to-destination {to}")
}

/// kube-proxy's words.
fn in_words(kind: FrontKind) -> &'static str {
    match kind {
        FrontKind::ClusterIp => "cluster IP",
        FrontKind::ExternalIp => "external IP",
        FrontKind::LoadBalancer => "loadbalancer IP",
        FrontKind::NodePort => "node port",
    }
}

/// 65,536 addresses.
fn around(ip: IpAddr) -> IpNet {
    let kept = if ip.is_ipv4() { 16 } else { 112 };
    IpNet::new(ip, kept).expect("shorter than an address").trunc()
}

/// One in `of`, as the kernel keeps it: in 31 bits.
fn chance(of: usize) -> String {
    let whole = f64::from(1u32 << 31);
    let kept = (whole / of as f64).round() / whole;
    format!("-m statistic --mode random --probability {kept:.11}")
}
