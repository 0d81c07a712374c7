//! The rules of one service port.
//!
//! In nat a frontend leads to a chain that balances; what is not translated there meets its refusal in filter.
//! Fewer rules than kube-proxy writes: an endpoint needs no chain of its own but for affinity, and what is only ever
//! reached by a ClusterIP does not ask again whether it was.

use std::net::IpAddr;

use ipnet::IpNet;
use proxy_core::names::Family;
use proxy_core::table::{
    Action, Branch, Endpoint, FamilyView, Frontend, FrontendKind, Masquerade, Scope, ServicePort, Source,
};

use super::frame::untranslated;
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
        for frontend in &port.frontends {
            writer.lead(frontend);
            writer.refuse(frontend);
        }
        if let Some(number) = port.health_check_node_port {
            let rule = Rule::new().comment("kubernetes health check node port");
            let rule = rule.port(proxy_core::names::Protocol::Tcp, number).then("ACCEPT");
            writer.part.shared.push(((Table::Filter, NODE_PORTS), At::Number(number), rule));
        }
        writer.part
    }
}

fn balances(frontend: &Frontend) -> bool {
    frontend.branches.iter().any(|branch| branch.action.scope().is_some())
}

fn kind_of(scope: Scope) -> Kind {
    match scope {
        Scope::Cluster => Kind::Cluster,
        Scope::Local => Kind::Local,
    }
}

impl Writer<'_> {
    fn put(&mut self, place: Place, rule: String) {
        let at = At::Port(self.port.name.clone(), self.next);
        self.next += 1;
        self.part.shared.push((place, at, rule));
    }

    /// In nat, where a frontend with an address leads.
    fn frontend(&mut self, frontend: &Frontend, what: &str, target: &str) {
        let Some(ip) = frontend.address.ip() else { return };
        let rule = Rule::new().dst(host(ip));
        let rule = self.remark(rule, format_args!("{} {what}", self.port.name));
        let rule = rule.port(self.port.protocol(), frontend.port).then(target);
        let at = At::Port(self.port.name.clone(), self.next);
        self.next += 1;
        self.part.frontends.push((ip, at, rule));
    }

    fn own(&mut self, chain: String, rules: Vec<String>) {
        self.part.own.insert(chain, rules);
    }

    /// Within a chain of the service.
    fn remark(&self, rule: Rule, text: impl std::fmt::Display) -> Rule {
        if self.style.comments { rule.comment(text) } else { rule }
    }

    fn external_frontends(&self) -> impl Iterator<Item = &Frontend> {
        self.port.frontends.iter().filter(|frontend| frontend.kind != FrontendKind::ClusterIp)
    }

    fn groups(&mut self) {
        for scope in [Scope::Cluster, Scope::Local] {
            let used = self.port.frontends.iter().flat_map(|frontend| &frontend.branches);
            if used.filter_map(|branch| branch.action.scope()).any(|used| used == scope) {
                self.group(scope);
            }
        }
    }

    /// The chain that balances over a group.
    fn group(&mut self, scope: Scope) {
        let mut rules = Vec::new();
        for frontend in self.port.frontend(FrontendKind::ClusterIp) {
            for branch in &frontend.branches {
                let Action::Balance { scope: of, masquerade } = branch.action else { continue };
                if of != scope {
                    continue;
                }
                let shared = self.external_frontends().any(balances);
                let rule = if shared { Rule::new().at(frontend.address) } else { Rule::new() };
                let rule = self.remark(rule, format_args!("{} cluster IP", self.port.name));
                let rule = if shared { rule.port(self.port.protocol(), frontend.port) } else { rule };
                rules.extend(self.mark(masquerade, &rule));
            }
        }
        self.balance(scope, &mut rules);
        self.own(self.names.chain(kind_of(scope)), rules);
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

    fn balance(&mut self, scope: Scope, rules: &mut Vec<String>) {
        let group = self.port.group(scope).clone();
        if group.len() <= WIDE || !self.style.hairpin_at_once {
            rules.extend(self.known(&group));
            let choice = self.choice(&group);
            rules.extend(choice);
            return;
        }
        let leaves = Leaves::of(&group);
        if self.port.affinity.is_some() {
            for (number, endpoints) in leaves.each() {
                let chain = self.names.leaf(kind_of(scope), "known", number);
                self.own(chain.clone(), self.known(endpoints));
                rules.push(Rule::new().then(chain));
            }
        }
        let mut left = group.len();
        for (number, endpoints) in leaves.each() {
            let chain = self.names.leaf(kind_of(scope), "choice", number);
            let choice = self.choice(endpoints);
            self.own(chain.clone(), choice);
            let rule = if left == endpoints.len() {
                Rule::new()
            } else {
                Rule::new().with(chance(endpoints.len(), left))
            };
            rules.push(rule.then(chain));
            left -= endpoints.len();
        }
    }

    fn to(&self, endpoint: &Endpoint) -> Rule {
        self.remark(Rule::new(), format_args!("{} -> {endpoint}", self.port.name))
    }

    /// Leads clients that are known to the endpoint that they had.
    ///
    /// Never `--update` with `--reap`: kernels before 5.11 read freed memory then. What has expired does not match, and a
    /// list has few entries.
    fn known(&self, group: &[Endpoint]) -> Vec<String> {
        let Some(timeout) = self.port.affinity else { return Vec::new() };
        let seconds = timeout.as_secs();
        let lead = |endpoint: &Endpoint| {
            let chain = self.names.endpoint(endpoint);
            if self.style.hairpin_at_once {
                let known = format!("-m recent --update --seconds {seconds} {}", self.remembered(&chain));
                return self
                    .to(endpoint)
                    .protocol(self.port.protocol())
                    .with(known)
                    .then(translation(endpoint));
            }
            let known = format!("-m recent --rcheck --seconds {seconds} --reap {}", self.remembered(&chain));
            self.to(endpoint).with(known).then(chain)
        };
        group.iter().map(lead).collect()
    }

    /// Leads to any endpoint, each as likely as the others.
    fn choice(&mut self, group: &[Endpoint]) -> Vec<String> {
        let mut rules = Vec::new();
        for (left, endpoint) in (1..=group.len()).rev().zip(group) {
            let rule = self.to(endpoint);
            let rule = if left == 1 { rule } else { rule.with(chance(1, left)) };
            let chain = self.names.endpoint(endpoint);
            if self.style.hairpin_at_once {
                let rule = if self.port.affinity.is_some() {
                    rule.with(format_args!("-m recent --set {}", self.remembered(&chain)))
                } else {
                    rule
                };
                rules.push(rule.protocol(self.port.protocol()).then(translation(endpoint)));
                continue;
            }
            let to = self.translate(endpoint, &chain);
            if left == 1 && self.port.affinity.is_none() {
                rules.extend(to);
            } else {
                rules.push(rule.then(&chain));
                self.own(chain, to);
            }
        }
        rules
    }

    /// For a chain of the endpoint's own: a kernel without xt_bpf marks clients that are their own endpoints there, as
    /// they would get answers that they did not ask for.
    fn translate(&self, to: &Endpoint, chain: &str) -> Vec<String> {
        let rule = || self.remark(Rule::new(), &self.port.name);
        let sticky = if self.port.affinity.is_some() {
            rule().with("-m recent --set").with(self.remembered(chain))
        } else {
            rule()
        };
        let translate = sticky.protocol(self.port.protocol()).then(translation(to));
        vec![rule().src(host(to.ip)).then(MARK_MASQ), translate]
    }

    fn remembered(&self, chain: &str) -> String {
        let mask = match self.style.family {
            Family::V4 => "255.255.255.255",
            Family::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        };
        format!("--name {chain} --mask {mask} --rsource")
    }

    /// The chain for all that is not for the ClusterIP. All such frontends of a port have the same branches.
    fn external(&mut self) {
        let Some(frontend) = self.external_frontends().find(|frontend| balances(frontend)) else { return };
        let branches = frontend.branches.clone();
        debug_assert!(self.external_frontends().all(|frontend| frontend.branches == branches));
        let mut rules = Vec::new();
        for Branch { source, action } in branches {
            let name = &self.port.name;
            let (scope, masquerade) = match action {
                Action::Balance { scope, masquerade } => (scope, masquerade),
                // It goes no further in this table, so that no other rule translates it, and filter refuses it.
                Action::Reject | Action::Drop => {
                    rules.push(Rule::new().then("ACCEPT"));
                    continue;
                }
            };
            let comment = match source {
                Source::Pods => format!("pod traffic for {name} external destinations"),
                Source::Node => format!("route LOCAL traffic for {name} external destinations"),
                Source::Any => format!("{name} external destinations"),
            };
            let rule = self.remark(Rule::new(), comment);
            let matches = match source {
                Source::Pods => from_pods(&self.view.pods, &rule),
                Source::Node => vec![rule.with("-m addrtype --src-type LOCAL")],
                Source::Any => vec![rule],
            };
            let chain = self.names.chain(kind_of(scope));
            for rule in matches {
                rules.extend(self.mark(masquerade, &rule));
                rules.push(rule.then(&chain));
            }
        }
        self.own(self.names.chain(Kind::External), rules);
    }

    /// From the frontend to the chain that balances, in nat.
    fn lead(&mut self, frontend: &Frontend) {
        let external = self.names.chain(Kind::External);
        let what = in_words(frontend.kind);
        if !balances(frontend) {
            // Nothing else may have it, above all not a node port of this number.
            if frontend.kind != FrontendKind::ClusterIp {
                self.frontend(frontend, what, "ACCEPT");
            }
            return;
        }
        match (frontend.kind, &frontend.sources) {
            (FrontendKind::ClusterIp, _) => {
                let scope = frontend.branches.iter().find_map(|branch| branch.action.scope());
                let chain = self.names.chain(scope.map_or(Kind::Cluster, kind_of));
                self.frontend(frontend, what, &chain);
            }
            (FrontendKind::NodePort, _) => {
                let rule = Rule::new().at(frontend.address).comment(&self.port.name);
                let rule = rule.port(self.port.protocol(), frontend.port).then(external);
                self.put((Table::Nat, NODE_PORTS), rule);
            }
            (_, None) => self.frontend(frontend, what, &external),
            (_, Some(sources)) => {
                let firewall = self.names.chain(Kind::Firewall);
                let admit = self.remark(Rule::new(), format_args!("{} {what}", self.port.name));
                let mut rules: Vec<String> =
                    sources.iter().map(|net| admit.clone().src(*net).then(&external)).collect();
                rules.push(Rule::new().then("ACCEPT"));
                self.frontend(frontend, what, &firewall);
                self.own(firewall, rules);
            }
        }
    }

    /// What becomes in filter of what was not translated in nat.
    fn refuse(&mut self, frontend: &Frontend) {
        use Table::Filter;
        let (name, protocol, family) = (self.port.name.clone(), self.port.protocol(), self.style.family);
        let rule = |what: &str| {
            Rule::new()
                .at(frontend.address)
                .comment(format_args!("{name} {what}"))
                .port(protocol, frontend.port)
        };
        if let Some(sources) = &frontend.sources {
            let what = format!("traffic not accepted by {}", self.names.chain(Kind::Firewall));
            if !balances(frontend) {
                for net in sources.iter() {
                    self.put((Filter, PROXY_FIREWALL), rule("loadbalancer IP").src(*net).then("RETURN"));
                }
            }
            self.put((Filter, PROXY_FIREWALL), rule(&what).then("DROP"));
        }
        let chain = match frontend.kind {
            FrontendKind::ClusterIp => SERVICES,
            FrontendKind::ExternalIp | FrontendKind::LoadBalancer => EXTERNAL_SERVICES,
            FrontendKind::NodePort => REFUSED_NODE_PORTS,
        };
        match frontend.branches.last().map(|branch| branch.action) {
            Some(Action::Reject) => {
                self.put((Filter, chain), rule("has no endpoints").reject(family, Some(protocol)));
            }
            Some(Action::Drop) => self.put((Filter, chain), rule("has no local endpoints").then("DROP")),
            _ => {}
        }
        if let (FrontendKind::ClusterIp, Some(ip)) = (frontend.kind, frontend.address.ip()) {
            let refused = Rule::new().dst(host(ip)).then(REJECT);
            self.part.shared.push(((Filter, CLUSTER_IPS), At::Ip(ip), refused));
            if !self.view.service_cidrs.iter().any(|net| net.contains(&ip)) {
                // Nobody says which network it is from; not every connection is to go through all such addresses.
                let net = around(ip);
                let leads = untranslated(Rule::new().dst(net)).then(CLUSTER_IPS);
                self.part.shared.push(((Filter, SERVICES), At::Net(net), leads));
            }
        }
    }
}

/// More endpoints stand in several chains, so that a change writes one of them, a packet meets few rules, and no single
/// transaction carries them all.
const WIDE: usize = 256;

/// So many endpoints stand in one of those chains, or up to twice as many, more or less.
const LEAF: usize = 64;

/// The endpoints of a wide group, each in a leaf that depends on nothing but itself and how many leaves there are.
struct Leaves(Vec<Vec<Endpoint>>);

impl Leaves {
    fn of(group: &[Endpoint]) -> Self {
        let count = 1 << (group.len() / LEAF).max(1).ilog2();
        let mut leaves = vec![Vec::new(); count];
        for endpoint in group {
            leaves[spread(endpoint) % count].push(*endpoint);
        }
        Self(leaves)
    }

    fn each(&self) -> impl Iterator<Item = (usize, &[Endpoint])> {
        self.0.iter().map(Vec::as_slice).enumerate().filter(|(_, endpoints)| !endpoints.is_empty())
    }
}

/// FNV-1a over address and port, the same on every machine and in every run.
fn spread(endpoint: &Endpoint) -> usize {
    let step = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let sum = endpoint.to_string().bytes().fold(0x811c_9dc5, step);
    // The low bits alone are spread badly.
    (sum ^ sum >> 16) as usize
}

fn translation(to: &Endpoint) -> String {
    format!("DNAT --to-destination {to}")
}

/// kube-proxy's words.
fn in_words(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::ClusterIp => "cluster IP",
        FrontendKind::ExternalIp => "external IP",
        FrontendKind::LoadBalancer => "loadbalancer IP",
        FrontendKind::NodePort => "node port",
    }
}

/// 65,536 addresses.
fn around(ip: IpAddr) -> IpNet {
    let kept = if ip.is_ipv4() { 16 } else { 112 };
    IpNet::new(ip, kept).expect("shorter than an address").trunc()
}

/// `some` in `of`, as the kernel keeps it: in 31 bits.
fn chance(some: usize, of: usize) -> String {
    let whole = f64::from(1u32 << 31);
    let kept = (whole * some as f64 / of as f64).round() / whole;
    format!("-m statistic --mode random --probability {kept:.11}")
}
