//! The rules that we would write, without writing them.

mod iptables_common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use iptables_common::{Rules, style};
use proxy::backends::iptables::render::{Style, Wanted};
use proxy_core::cases::{all, cluster_of, usual_options, world};
use proxy_core::names::{Family, Protocol};
use proxy_core::question::{Origin, Packet, Verdict};
use proxy_core::table::ServiceTable;

#[test]
fn packets_go_through_the_rules_as_the_cases_say() {
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for case in all() {
        let table = case.table();
        for hairpin_at_once in [true, false] {
            let of = |family| Rules::of(&table, &Style { hairpin_at_once, ..style(family, &table) });
            let rules = Family::BOTH.map(of);
            for probe in &case.probes {
                let [want] = probe.wants_of("iptables") else { continue };
                let got = rules[usize::from(probe.packet.dst.is_ipv6())].trace(probe.packet);
                asked += 1;
                if got != *want {
                    let (file, name, text) = (&case.file, &case.name, &probe.text);
                    wrong.push(format!(
                        "{file}: {name}:\n    {text} => {got}, not {want} (hairpin at once: {hairpin_at_once})"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n{} wrong of {asked}", wrong.join("\n"), wrong.len());
    assert!(asked >= 600, "{asked}");
}

fn small() -> ServiceTable {
    let services = [
        "web 10.96.0.10 fd00:10:96::10 http:80>8080@30080 affinity=10800",
        "shop 10.96.0.11 80@30081 lb=198.51.100.2 external=198.51.100.9 from=203.0.113.0/24,192.0.2.0/24",
        "near 10.96.0.12 53@30053/udp lb=198.51.100.3 external-local health=30999",
        "dns 10.96.0.13 dns:53/udp dns-tcp:53/tcp metrics:9153",
        "empty 10.96.0.14 80@30084 lb=198.51.100.4 from=203.0.113.0/24",
        "here 10.96.0.15 80 internal-local",
    ];
    let endpoints = [
        "web 10.244.1.10 10.244.2.10 fd00:10:244:1::10",
        "shop 10.244.1.11 10.244.2.11 10.244.3.11",
        "near 10.244.2.12",
        "dns 10.244.1.13",
        "here 10.244.2.15",
    ];
    ServiceTable::build(&cluster_of(&services, &endpoints), &usual_options())
}

/// `WEFT_GOLDEN=write` writes it again.
#[test]
fn a_small_cluster_reads_as_expected() {
    let table = small();
    for (family, name) in Family::BOTH.into_iter().zip(["v4", "v6"]) {
        let text = Wanted::of(&table, &style(family, &table)).to_string();
        let path = format!("{}/tests/golden/iptables_small_{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("WEFT_GOLDEN").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == golden, "{path} says something else than\n{text}");
    }
}

/// kube-proxy has 2 rules and a chain for each plain service, and 3 rules and a chain for each of its endpoints.
#[test]
fn a_plain_service_takes_few_rules() {
    let rules = |count: u8| {
        let names: Vec<String> = (0..count).map(|n| format!("s{n} 10.96.1.{n} 80")).collect();
        let ends: Vec<String> = (0..count).map(|n| format!("s{n} 10.244.1.{n} 10.244.2.{n}")).collect();
        let (names, ends): (Vec<&str>, Vec<&str>) =
            (names.iter().map(String::as_str).collect(), ends.iter().map(String::as_str).collect());
        let table = ServiceTable::build(&cluster_of(&names, &ends), &usual_options());
        let wanted = Wanted::of(&table, &style(Family::V4, &table));
        let chains = wanted.chains();
        (chains.len(), chains.values().map(Vec::len).sum::<usize>())
    };
    let (none, ten) = (rules(0), rules(10));
    assert_eq!(ten.0 - none.0, 10, "KUBE-SVC");
    assert_eq!(ten.1 - none.1, 10 * (1 + 1 + 2 + 1), "to it, masquerade, two endpoints, other ports");
}

#[test]
fn where_there_is_no_service_there_is_nothing_to_go_through() {
    let table = ServiceTable::default();
    let text = Wanted::of(&table, &style(Family::V6, &table)).to_string();
    assert!(!text.contains("KUBE-SVC-") && !text.contains("-j KUBE-CLUSTER-IPS"), "{text}");
    assert!(!table.is_cluster_ip(IpAddr::from([10, 96, 0, 1])));
}

/// A service of many endpoints stands in several chains, whose chances come to the same for each.
#[test]
fn each_of_very_many_endpoints_is_as_likely_as_the_others() {
    const COUNT: usize = 3_000;
    let ends: Vec<String> = (0..COUNT).map(|n| format!("10.244.{}.{}", n / 250, n % 250 + 1)).collect();
    for words in ["wide 10.96.0.10 80>8080", "wide 10.96.0.10 80>8080 affinity=10800"] {
        let table = ServiceTable::build(
            &cluster_of(&[words], &[&format!("wide {}", ends.join(" "))]),
            &usual_options(),
        );
        let style = style(Family::V4, &table);
        let text = Wanted::of(&table, &style).to_string();
        let rules = |chain: &str| -> Vec<&str> {
            let start = format!("-A {chain} ");
            text.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
        };
        let root = text.lines().find_map(|line| line.strip_prefix(":KUBE-SVC-")?.split(' ').next()).unwrap();
        let (mut known, mut chances) = (BTreeSet::new(), BTreeMap::new());
        let mut left = 1.0;
        for rule in rules(&format!("KUBE-SVC-{root}")) {
            let Some((_, leaf)) = rule.split_once("-j KUBE-SEP-") else { continue };
            let leaf = rules(&format!("KUBE-SEP-{leaf}"));
            assert!((1..256).contains(&leaf.len()), "{}", leaf.len());
            let to = |rule: &str| rule.rsplit(' ').next().unwrap().to_owned();
            if leaf[0].contains("--update") {
                known.extend(leaf.into_iter().map(to));
                continue;
            }
            let chance = |rule: &str| match rule.split_once("--probability ") {
                Some((_, rest)) => rest.split(' ').next().unwrap().parse::<f64>().unwrap(),
                None => 1.0,
            };
            let mut within = left * chance(rule);
            left -= within;
            for rule in leaf {
                assert_eq!(rule.contains("--set"), words.contains("affinity"), "{rule}");
                assert_eq!(chances.insert(to(rule), within * chance(rule)), None);
                within -= within * chance(rule);
            }
        }
        assert_eq!(chances.len(), COUNT);
        let even = 1.0 / COUNT as f64;
        assert!(chances.values().all(|chance| (chance / even - 1.0).abs() < 1e-3), "{chances:?}");
        let all = if words.contains("affinity") { COUNT } else { 0 };
        assert_eq!(known.len(), all);
    }
}

/// A range of ClusterIPs with pods and nodes in it, whatever the table knows of that.
#[test]
fn what_is_translated_or_this_nodes_own_is_never_dropped_in_a_range_of_cluster_ips() {
    let services = ["web 10.96.0.10 80>8080", "empty 10.96.0.11 80"];
    let mut table = ServiceTable::build(&cluster_of(&services, &["web 10.244.1.10"]), &usual_options());
    table.node.v4.service_cidrs = vec!["0.0.0.0/1".parse().unwrap(), "128.0.0.0/1".parse().unwrap()];
    let rules = Rules::of(&table, &style(Family::V4, &table));
    let node = world::NODES.iter().find(|node| node.name == world::NODE).unwrap();
    for (to, port, verdict) in [
        ("10.96.0.10", 80, Verdict::Deliver),
        ("10.96.0.10", 81, Verdict::Reject),
        ("10.96.0.11", 80, Verdict::Reject),
        ("10.96.0.12", 80, Verdict::Drop),
        (node.primary[0], 6443, Verdict::Pass),
    ] {
        let packet = Packet {
            src: "10.244.1.11".parse().unwrap(),
            dst: to.parse().unwrap(),
            port,
            protocol: Protocol::Tcp,
            from: Origin::Pod,
        };
        assert_eq!(rules.trace(packet).verdict, verdict, "{to}:{port}");
    }
}
