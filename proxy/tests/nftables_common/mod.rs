//! Service tables made by hand, and places to try them in.
#![allow(dead_code)] // each test binary uses its part

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use proxy::backends::nftables::NftablesBackend;
use proxy::backends::nftables::layout::Settings;
use proxy_core::names::{Family, PortName, Protocol, ServiceName};
use proxy_core::table::*;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no address"))
}

/// Runs a test on a thread in a new network namespace, within a tokio runtime.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare (needs root)");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _inside = runtime.enter();
            test()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

pub fn open() -> NftablesBackend {
    NftablesBackend::open(&Family::BOTH, Settings::default()).unwrap()
}

/// What `nft` says, in words that are not ours.
pub fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output().expect("nft (Debian package nftables)");
    assert!(output.status.success(), "nft {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn key(port: &ServicePort) -> PortKey {
    port.key()
}

/// A service port with a ClusterIP and endpoints.
pub fn service(name: &str, cluster_ip: &str, number: u16, endpoints: &[&str]) -> ServicePort {
    let cluster_ip = ip(cluster_ip);
    let group: Group = endpoints
        .iter()
        .map(|end| {
            let (is_local, end) = (end.starts_with('*'), end.trim_start_matches('*'));
            let end: std::net::SocketAddr = end.parse().unwrap_or_else(|_| panic!("{end:?}"));
            Endpoint { ip: end.ip(), port: end.port(), is_local }
        })
        .collect();
    let action = balance(Scope::Cluster, Masquerade::UnlessPods);
    let action = if group.is_empty() { Action::Reject } else { action };
    ServicePort {
        name: PortName {
            service: ServiceName::new("default", name),
            port: "".into(),
            protocol: Protocol::Tcp,
        },
        family: Family::of(cluster_ip),
        frontends: vec![Frontend {
            kind: FrontendKind::ClusterIp,
            address: FrontendAddress::Ip(cluster_ip),
            port: number,
            sources: None,
            branches: vec![Branch { source: Source::Any, action }],
        }],
        any_endpoints: !group.is_empty(),
        cluster: group,
        local: Group::default(),
        affinity: None,
        health_check_node_port: None,
        announced: false,
        serving: Group::default(),
    }
}

pub fn balance(scope: Scope, masquerade: Masquerade) -> Action {
    Action::Balance { scope, masquerade }
}

/// The same, open to the world by an address or a node port, with `externalTrafficPolicy: Local`.
pub fn local(
    mut port: ServicePort,
    kind: FrontendKind,
    address: FrontendAddress,
    number: u16,
) -> ServicePort {
    port.local = port.cluster.iter().copied().filter(|end| end.is_local).collect();
    let rest = if port.local.is_empty() { Action::Drop } else { balance(Scope::Local, Masquerade::Never) };
    let branches = vec![
        Branch { source: Source::Pods, action: balance(Scope::Cluster, Masquerade::Never) },
        Branch { source: Source::Node, action: balance(Scope::Cluster, Masquerade::Always) },
        Branch { source: Source::Any, action: rest },
    ];
    port.frontends.push(Frontend { kind, address, port: number, sources: None, branches });
    port
}

/// The same, open to the world with `externalTrafficPolicy: Cluster`.
pub fn open_to_all(
    mut port: ServicePort,
    kind: FrontendKind,
    address: FrontendAddress,
    number: u16,
) -> ServicePort {
    let action =
        if port.cluster.is_empty() { Action::Reject } else { balance(Scope::Cluster, Masquerade::Always) };
    port.frontends.push(Frontend {
        kind,
        address,
        port: number,
        sources: None,
        branches: vec![Branch { source: Source::Any, action }],
    });
    port
}

pub fn sources(mut port: ServicePort, nets: &[&str]) -> ServicePort {
    let nets: Vec<ipnet::IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
    port.frontends.last_mut().unwrap().sources = Some(nets.into());
    port
}

pub fn sticky(mut port: ServicePort, seconds: u64) -> ServicePort {
    port.affinity = Some(Duration::from_secs(seconds));
    port
}

pub fn view() -> NodeView {
    let family = |pods: &str, service: &str| FamilyView {
        pods: PodSource::Nets(vec![pods.parse().unwrap()]),
        node_ports: NodePortsAt::default(),
        service_cidrs: vec![service.parse().unwrap()],
    };
    NodeView {
        v4: family("10.244.0.0/16", "10.96.0.0/16"),
        v6: family("fd00:10:244::/48", "fd00:10:96::/112"),
        ..NodeView::default()
    }
}

pub fn table(ports: impl IntoIterator<Item = ServicePort>) -> ServiceTable {
    let ports = ports.into_iter().map(|port| (port.key(), Arc::new(port))).collect();
    let mut table = ServiceTable::default();
    (table.ports, table.node) = (ports, view());
    table
}

/// One of everything.
pub fn sample() -> ServiceTable {
    let web = ["*10.244.1.7:8080", "10.244.2.3:8080"];
    let web6 = ["*[fd00:10:244:1::7]:8080", "[fd00:10:244:2::3]:8080"];
    let many: Vec<String> = (0..100).map(|n| format!("10.244.9.{n}:53")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    use FrontendKind::*;
    let lb = |text: &str| FrontendAddress::Ip(ip(text));
    let ports = FrontendAddress::NodePorts;
    let shop = open_to_all(service("shop", "10.96.0.11", 80, &web), LoadBalancer, lb("203.0.113.80"), 80);
    let shop = open_to_all(sources(shop, &["198.51.100.0/24", "203.0.113.9/32"]), NodePort, ports, 30080);
    let shop6 =
        open_to_all(service("shop", "fd00:10:96::11", 80, &web6), LoadBalancer, lb("2001:db8::80"), 80);
    let shop6 = open_to_all(sources(shop6, &["2001:db8:1::/64"]), NodePort, ports, 30080);
    table([
        service("web", "10.96.0.10", 80, &web),
        service("web", "fd00:10:96::10", 80, &web6),
        shop,
        shop6,
        local(service("near", "10.96.0.12", 80, &web), LoadBalancer, lb("203.0.113.81"), 80),
        local(service("far", "10.96.0.13", 80, &web[1..]), NodePort, ports, 30081),
        service("empty", "10.96.0.14", 80, &[]),
        service("empty", "fd00:10:96::14", 80, &[]),
        sticky(service("cart", "10.96.0.15", 80, &web), 10_800),
        sticky(service("cart", "fd00:10:96::15", 80, &web6), 10_800),
        sticky(open_to_all(service("bag", "10.96.0.16", 80, &web), NodePort, ports, 30082), 60),
        sticky(open_to_all(service("bag", "fd00:10:96::16", 80, &web6), NodePort, ports, 30082), 60),
        service("big", "10.96.0.17", 53, &many),
        sticky(local(service("den", "10.96.0.18", 80, &web), NodePort, ports, 30083), 30),
        sticky(local(service("den", "fd00:10:96::18", 80, &web6), NodePort, ports, 30083), 30),
        sticky(service("odd", "10.96.0.19", 80, &["*10.244.1.7:8080", "10.244.2.3:9090"]), 60),
    ])
}
