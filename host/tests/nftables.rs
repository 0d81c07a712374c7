//! Our nf_tables messages against the real kernel and the real `nft`: both have to mean the same by them.
//!
//! Each test has a network namespace of its own, which ends with its thread. To look into one while it waits:
//! `nsenter --net=/proc/PID/task/TID/ns/net nft list ruleset`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use host::error::Remedy;
use host::nftables::build::*;
use host::nftables::expr::NatFlags;
use host::nftables::*;
use ipnet::IpNet;

/// Runs a test on a thread in a new network namespace.
fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare (needs root)");
            test()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs `nft` in this thread's namespace.
fn nft(args: &[&str], script: &str) -> String {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft (Debian package nftables)");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "nft {args:?}\n{script}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn run_script(script: &str) {
    nft(&["-f", "-"], script);
}

fn list() -> String {
    nft(&["list", "ruleset"], "")
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

/// Sets that the rules below refer to.
fn sets(table: &TableId) -> Vec<Arc<Set>> {
    let (addr, family) = match table.family {
        Family::Ip6 => (Type::Ipv6Addr, "6"),
        _ => (Type::Ipv4Addr, "4"),
    };
    let front = [addr, Type::InetProto, Type::InetService];
    let comment = format!("family {family}");
    [
        Set::new(table, "ips", &[addr]).comment(&comment),
        Set::new(table, "ports", &[Type::InetService]),
        Set::new(table, "links", &[Type::IfName]),
        Set::new(table, "nets", &[addr]).interval(),
        Set::new(table, "grid", &[addr, Type::InetService]).interval(),
        Set::new(table, "hairpin", &[addr, addr, Type::InetProto, Type::InetService]),
        Set::verdict_map(table, "fronts", &front),
        Set::map(table, "numbers", &front, &[Type::Mark]),
        Set::map(
            table,
            "ends",
            &[addr, Type::InetProto, Type::InetService, Type::Integer],
            &[addr, Type::InetService],
        ),
        Set::map(table, "slots", &[Type::Integer], &[addr]),
        Set::new(table, "seen", &[addr]).dynamic().timeout(10_800_000),
        Set::map(table, "sticky", &[addr, Type::Mark], &[Type::Mark]).dynamic().timeout(60_000),
        Set::counter_map(table, "meters", &[addr]),
    ]
    .map(Arc::new)
    .into()
}

/// A table with all sets, a counter, base chains and a chain to jump to.
fn frame(table: &TableId) -> Batch {
    use ChainType::*;
    let mut batch = Batch::new();
    batch.add_table(Table::new(table).comment("rules for the test"));
    batch.add_chain(Chain::regular(table, "other").comment("jumped to"));
    batch.add_chain(Chain::base(table, "in", Filter, Hook::Input, priority::FILTER).policy(Policy::Drop));
    batch.add_chain(Chain::base(table, "pre", Nat, Hook::Prerouting, priority::DSTNAT));
    batch.add_chain(Chain::base(table, "post", Nat, Hook::Postrouting, priority::SRCNAT - 5));
    batch.add_chain(Chain::base(table, "raw", Filter, Hook::Prerouting, priority::RAW));
    batch.add_counter(Counter { comment: Some("of packets".into()), ..Counter::new(table, "hits") });
    sets(table).iter().for_each(|set| {
        batch.add_set(set);
    });
    batch
}

/// Rules of an ip table: where they go, what they are, and how they read.
fn ip_rules() -> Vec<(&'static str, Vec<Statement>, &'static str)> {
    let front = || concat([ip_daddr(), l4proto(), th_dport()]);
    let tcp = || l4proto().is(Proto::TCP);
    let random = NatFlags { random: true, ..NatFlags::default() };
    vec![
        ("other", vec![ip_saddr().is(ip("1.2.3.4")), accept()], "ip saddr 1.2.3.4 accept"),
        ("other", vec![ip_saddr().is(net("10.1.0.0/16"))], "ip saddr 10.1.0.0/16"),
        ("other", vec![ip_daddr().is_not(net("10.1.0.0/20"))], "ip daddr != 10.1.0.0/20"),
        ("other", vec![ip_saddr().is(net("0.0.0.0/0"))], "ip saddr 0.0.0.0/0"),
        ("other", vec![ip_saddr().is(net("192.0.2.1/32"))], "ip saddr 192.0.2.1"),
        ("other", vec![ip_saddr().is_not(net("224.0.0.0/4")), discard()], "ip saddr != 224.0.0.0/4 drop"),
        (
            "other",
            vec![tcp(), th_dport().is(Port(80)), counter(), go_back()],
            "meta l4proto tcp th dport 80 counter return",
        ),
        (
            "other",
            vec![l4proto().is(Proto::UDP), th_dport().between(Port(1), Port(5))],
            "meta l4proto udp th dport 1-5",
        ),
        ("other", vec![tcp(), th_sport().not_between(Port(1), Port(5))], "meta l4proto tcp th sport != 1-5"),
        ("other", vec![tcp(), th_dport().less_than(Port(1024))], "meta l4proto tcp th dport < 1024"),
        ("other", vec![tcp(), th_dport().at_least(Port(1024))], "meta l4proto tcp th dport >= 1024"),
        ("other", vec![tcp(), th_dport().more_than(Port(7))], "meta l4proto tcp th dport > 7"),
        ("other", vec![tcp(), th_dport().at_most(Port(7))], "meta l4proto tcp th dport <= 7"),
        ("other", vec![mark().is(0x4000), go_back()], "meta mark 0x00004000 return"),
        ("other", vec![mark().less_than(5)], "meta mark < 0x00000005"),
        ("other", vec![mark().between(1, 5)], "meta mark 0x00000001-0x00000005"),
        (
            "other",
            vec![mark().and(0x4000).is_not(0), accept()],
            "meta mark & 0x00004000 != 0x00000000 accept",
        ),
        ("other", vec![mark().and(0xff00).is(0x100)], "meta mark & 0x0000ff00 == 0x00000100"),
        ("other", vec![set_mark(mark().or(0x4000))], "meta mark set meta mark | 0x00004000"),
        ("other", vec![set_mark(mark().xor(0x4000))], "meta mark set meta mark ^ 0x00004000"),
        ("other", vec![set_mark(mark().and(0xfff))], "meta mark set meta mark & 0x00000fff"),
        ("other", vec![set_mark(value(5))], "meta mark set 0x00000005"),
        ("other", vec![set_ct_mark(mark())], "ct mark set meta mark"),
        ("other", vec![set_mark(ct_mark())], "meta mark set ct mark"),
        ("other", vec![set_mark(numgen_random(7))], "meta mark set numgen random mod 7"),
        (
            "other",
            vec![set_mark(jhash(concat([ip_saddr(), ip_daddr()]), 7, Some(0xdead)))],
            "meta mark set jhash ip saddr . ip daddr mod 7 seed 0xdead",
        ),
        ("other", vec![ct_mark().has(0x10)], "ct mark & 0x00000010 != 0x00000000"),
        ("other", vec![ct_state().has(state::NEW), jump("post2")], "ct state new jump post2"),
        (
            "other",
            vec![ct_state().has(state::ESTABLISHED | state::RELATED), accept()],
            "ct state established,related accept",
        ),
        ("other", vec![ct_status().has(status::DNAT)], "ct status dnat"),
        ("other", vec![ct_direction().is(Data::new(&[1]))], "ct direction reply"),
        ("other", vec![ct_original_daddr(Family::Ip).is(ip("1.2.3.4"))], "ct original ip daddr 1.2.3.4"),
        (
            "other",
            vec![tcp(), ct_original_proto_dst().is(Port(80))],
            "meta l4proto tcp ct original proto-dst 80",
        ),
        ("other", vec![iifname().is("lo"), oifname().is("flannel*")], "iifname \"lo\" oifname \"flannel*\""),
        ("other", vec![iif().is(1), oif().is_not(1)], "iif 1 oif != 1"),
        ("other", vec![fib_saddr_type().is(addr_type::LOCAL)], "fib saddr type local"),
        ("other", vec![fib_daddr_type().is_not(addr_type::LOCAL)], "fib daddr type != local"),
        ("other", vec![ip_saddr().is_in("ips")], "ip saddr @ips"),
        ("other", vec![ip_saddr().is_not_in("ips")], "ip saddr != @ips"),
        ("other", vec![iifname().is_in("links")], "iifname @links"),
        ("other", vec![ip_daddr().is_in("nets")], "ip daddr @nets"),
        (
            "other",
            vec![concat([ip_saddr(), ip_daddr(), l4proto(), th_dport()]).is_in("hairpin")],
            "ip saddr . ip daddr . meta l4proto . th dport @hairpin",
        ),
        ("other", vec![front().vmap("fronts")], "ip daddr . meta l4proto . th dport vmap @fronts"),
        (
            "other",
            vec![set_mark(front().map("numbers"))],
            "meta mark set ip daddr . meta l4proto . th dport map @numbers",
        ),
        ("other", vec![update("seen", ip_saddr(), None)], "update @seen { ip saddr }"),
        ("other", vec![add_to("seen", ip_saddr(), Some(5000))], "add @seen { ip saddr timeout 5s }"),
        (
            "other",
            vec![update_map("sticky", concat([ip_saddr(), mark()]), value(7), Some(1500))],
            "update @sticky { ip saddr . meta mark timeout 1500ms : 0x00000007 }",
        ),
        ("other", vec![counter_named("hits")], "counter name \"hits\""),
        ("other", vec![counter_map(ip_saddr(), "meters")], "counter name ip saddr map @meters"),
        ("other", vec![limit(10, 5), accept()], "limit rate 10/second burst 5 packets accept"),
        ("other", vec![log("weft: "), discard()], "log prefix \"weft: \" drop"),
        ("other", vec![reject(Family::Ip)], "reject"),
        ("other", vec![reject_icmp(icmp::HOST_UNREACHABLE)], "reject with icmp host-unreachable"),
        ("other", vec![tcp(), reject_tcp_reset()], "meta l4proto tcp reject with tcp reset"),
        ("other", vec![goto("post2")], "goto post2"),
        ("raw", vec![notrack()], "notrack"),
        ("pre", vec![dnat_to(ip("1.2.3.4"), None)], "dnat to 1.2.3.4"),
        ("pre", vec![tcp(), dnat_to(ip("1.2.3.4"), Some(Port(80)))], "meta l4proto tcp dnat to 1.2.3.4:80"),
        (
            "pre",
            vec![
                tcp(),
                dnat_addr_port(
                    Family::Ip,
                    concat([ip_daddr(), l4proto(), th_dport(), numgen_random(2)]).map("ends"),
                ),
            ],
            "meta l4proto tcp dnat ip addr . port to \
             ip daddr . meta l4proto . th dport . numgen random mod 2 map @ends",
        ),
        (
            "pre",
            vec![dnat_addr(Family::Ip, numgen_inc(2).offset(1).map("slots"))],
            "dnat to numgen inc mod 2 offset 1 map @slots",
        ),
        (
            "pre",
            vec![dnat_addr(Family::Ip, jhash(ip_saddr(), 3, Some(1)).map("slots"))],
            "dnat to jhash ip saddr mod 3 seed 0x1 map @slots",
        ),
        ("pre", vec![dnat_addr(Family::Ip, symhash(4).map("slots"))], "dnat to symhash mod 4 map @slots"),
        ("pre", vec![tcp(), redirect_to(Port(8080))], "meta l4proto tcp redirect to :8080"),
        ("post", vec![snat_to(ip("10.0.0.1"), None)], "snat to 10.0.0.1"),
        ("post", vec![masquerade()], "masquerade"),
        ("post", vec![masquerade_fully_random()], "masquerade fully-random"),
        ("post", vec![masquerade_with(random)], "masquerade random"),
    ]
}

fn ip6_rules() -> Vec<(&'static str, Vec<Statement>, &'static str)> {
    let tcp = || l4proto().is(Proto::TCP);
    vec![
        ("other", vec![ip6_saddr().is(net("fd00::/8")), accept()], "ip6 saddr fd00::/8 accept"),
        ("other", vec![ip6_daddr().is_not(net("fd00::/61"))], "ip6 daddr != fd00::/61"),
        ("other", vec![ip6_daddr().is(ip("fd00::1"))], "ip6 daddr fd00::1"),
        ("other", vec![daddr(Family::Ip6).is_in("nets")], "ip6 daddr @nets"),
        (
            "other",
            vec![concat([ip6_daddr(), l4proto(), th_dport()]).vmap("fronts")],
            "ip6 daddr . meta l4proto . th dport vmap @fronts",
        ),
        (
            "other",
            vec![set_mark(jhash(concat([ip6_saddr(), th_sport()]), 7, None))],
            "meta mark set jhash ip6 saddr . th sport mod 7",
        ),
        ("other", vec![ct_original_saddr(Family::Ip6).is(ip("fd00::1"))], "ct original ip6 saddr fd00::1"),
        ("other", vec![reject(Family::Ip6)], "reject"),
        ("other", vec![reject_icmpv6(icmpv6::NO_ROUTE)], "reject with icmpv6 no-route"),
        ("pre", vec![tcp(), dnat_to(ip("fd00::1"), Some(Port(80)))], "meta l4proto tcp dnat to [fd00::1]:80"),
        (
            "pre",
            vec![
                tcp(),
                dnat_addr_port(
                    Family::Ip6,
                    concat([ip6_daddr(), l4proto(), th_dport(), numgen_random(2)]).map("ends"),
                ),
            ],
            "meta l4proto tcp dnat ip6 addr . port to \
             ip6 daddr . meta l4proto . th dport . numgen random mod 2 map @ends",
        ),
    ]
}

fn inet_rules() -> Vec<(&'static str, Vec<Statement>, &'static str)> {
    let v4 = || nfproto().is(Data::new(&[2]));
    let v6 = || nfproto().is(Data::new(&[10]));
    vec![
        ("other", vec![v4(), ip_saddr().is(ip("1.2.3.4"))], "meta nfproto ipv4 ip saddr 1.2.3.4"),
        ("other", vec![v6(), ip6_saddr().is(ip("::1"))], "meta nfproto ipv6 ip6 saddr ::1"),
        ("other", vec![reject(Family::Inet)], "reject"),
        (
            "other",
            vec![v6(), reject_icmpv6(icmpv6::PORT_UNREACHABLE)],
            "meta nfproto ipv6 reject with icmpv6 port-unreachable",
        ),
        ("pre", vec![v4(), dnat_to(ip("1.2.3.4"), None)], "meta nfproto ipv4 dnat ip to 1.2.3.4"),
        ("post", vec![v4(), masquerade()], "meta nfproto ipv4 masquerade"),
    ]
}

/// Ours to the kernel and back; our text through nft to the kernel and back: always the same rules. And nft
/// lists both alike.
fn check_rules(table: TableId, rules: Vec<(&'static str, Vec<Statement>, &'static str)>) {
    in_namespace(move || {
        let mut nf = Nftables::connect().unwrap();
        let mut batch = frame(&table);
        batch.add_chain(Chain::regular(&table, "post2"));
        for (n, (chain, parts, text)) in rules.into_iter().enumerate() {
            let rule = Rule::new(&table, chain, parts);
            assert_eq!(rule.to_string(), text);
            // Those of even number carry a comment.
            batch.add_rule(if n % 2 == 0 { rule.comment(&format!("rule {n}")) } else { rule });
        }
        let wanted: Vec<&Rule> = batch
            .ops
            .iter()
            .filter_map(|op| if let Op::AddRule(rule, _) = op { Some(rule) } else { None })
            .collect();
        let check = |nf: &mut Nftables, by: &str| {
            let have = nf.all_rules(&table).unwrap();
            for chain in ["other", "raw", "pre", "post"] {
                let want = wanted.iter().copied().filter(|rule| rule.chain == chain);
                let have: Vec<&Rule> =
                    have.iter().map(|listed| &listed.rule).filter(|rule| rule.chain == chain).collect();
                for (want, have) in want.clone().zip(&have) {
                    assert_eq!(*have, want, "written by {by}: {want}");
                }
                assert_eq!(have.len(), want.count(), "{by}");
            }
            assert_eq!(nf.sets(&table).unwrap().len(), sets(&table).len());
            for (have, want) in nf.sets(&table).unwrap().iter().zip(sets(&table)) {
                assert_eq!(*have, *want, "written by {by}: {want}");
            }
            (list(), nft(&["--debug=netlink", "list", "ruleset"], ""))
        };
        nf.apply(&batch).unwrap();
        let ours = check(&mut nf, "us");
        nf.apply(Batch::new().delete_table(&table)).unwrap();
        run_script(&batch.to_string());
        let theirs = check(&mut nf, "nft");
        assert_eq!(ours.0, theirs.0);
        assert_eq!(without_handles(&ours.1), without_handles(&theirs.1));
    });
}

/// Rules in a debug listing carry handles, which depend on the order in which things were made.
fn without_handles(text: &str) -> String {
    let cut = |line: &str| -> String {
        line.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned()
    };
    text.lines()
        .map(|line| if line.starts_with("ip") || line.starts_with("inet") { cut(line) } else { line.into() })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn ip_rules_are_those_of_nft() {
    check_rules(TableId::new(Family::Ip, "weft-test"), ip_rules());
}

#[test]
fn ip6_rules_are_those_of_nft() {
    check_rules(TableId::new(Family::Ip6, "weft-test"), ip6_rules());
}

#[test]
fn inet_rules_are_those_of_nft() {
    check_rules(TableId::new(Family::Inet, "weft-test"), inet_rules());
}

/// nft 1.0.6 fails an assertion of its own when it is to write this rule, so only the kernel can be asked.
#[test]
fn a_map_is_updated_by_a_key_longer_than_16_bytes() {
    in_namespace(|| {
        let table = TableId::new(Family::Ip6, "weft-test");
        let rule =
            Rule::new(&table, "other", [update_map("sticky", concat([ip6_saddr(), mark()]), mark(), None)]);
        assert_eq!(rule.to_string(), "update @sticky { ip6 saddr . meta mark : meta mark }");
        let mut nf = Nftables::connect().unwrap();
        nf.apply(frame(&table).add_rule(rule.clone())).unwrap();
        assert_eq!(nf.rules(&table, "other").unwrap()[0].rule, rule);
        assert!(list().contains(&rule.to_string()));
    });
}

/// Elements of every kind: written by us and read by nft, and the other way round.
#[test]
fn elements_are_those_of_nft() {
    let table = TableId::new(Family::Ip, "weft-test");
    let sets = sets(&table);
    let set = |name: &str| sets.iter().find(|set| set.name == name).unwrap();
    let front = (ip("10.96.0.10"), Proto::TCP, Port(80));
    let elements: Vec<(&str, Vec<Element>, &str)> = vec![
        ("ips", vec![Element::new(ip("1.2.3.4")).comment("a node")], "1.2.3.4 comment \"a node\""),
        ("ports", vec![Element::new(Port(80)), Element::new(Port(443))], "80, 443"),
        ("links", vec![Element::new(Data::ifname("eth0"))], "\"eth0\""),
        (
            "nets",
            vec![
                Element::net(net("10.0.0.0/8")),
                Element::range(ip("11.0.0.0"), ip("11.0.0.9")),
                Element::new(ip("11.0.0.10")),
                Element::net(net("240.0.0.0/4")),
            ],
            "10.0.0.0-10.255.255.255, 11.0.0.0-11.0.0.9, 11.0.0.10, 240.0.0.0-255.255.255.255",
        ),
        (
            "grid",
            vec![Element::range((ip("10.0.0.0"), Port(80)), (ip("10.0.0.255"), Port(90)))],
            "10.0.0.0-10.0.0.255 . 80-90",
        ),
        (
            "hairpin",
            vec![Element::new((ip("10.0.0.1"), ip("10.0.0.1"), Proto::UDP, Port(53)))],
            "10.0.0.1 . 10.0.0.1 . udp . 53",
        ),
        (
            "fronts",
            vec![
                Element::new(front).verdict(Verdict::Goto("other".into())),
                Element::new((ip("10.96.0.11"), Proto::SCTP, Port(81))).verdict(Verdict::Drop),
            ],
            "10.96.0.10 . tcp . 80 : goto other, 10.96.0.11 . sctp . 81 : drop",
        ),
        ("numbers", vec![Element::new(front).data(7)], "10.96.0.10 . tcp . 80 : 0x00000007"),
        (
            "ends",
            vec![Element::new((front.0, front.1, front.2, 1)).data((ip("10.244.1.2"), Port(8080)))],
            "10.96.0.10 . tcp . 80 . 1 : 10.244.1.2 . 8080",
        ),
        ("slots", vec![Element::new(1).data(ip("10.244.1.2"))], "1 : 10.244.1.2"),
        ("seen", vec![Element::new(ip("1.2.3.4")).timeout(90_000)], "1.2.3.4 timeout 90s"),
        ("meters", vec![Element::new(ip("1.2.3.4")).object("hits")], "1.2.3.4 : \"hits\""),
    ];
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let mut batch = frame(&table);
        for (name, elements, text) in &elements {
            batch.add_elements(set(name), elements.clone());
            let line = batch.ops.last().unwrap().to_string();
            assert_eq!(line, format!("add element ip weft-test {name} {{ {text} }}"));
        }
        let check = |nf: &mut Nftables, by: &str| {
            for (name, want, _) in &elements {
                let mut have: Vec<Element> =
                    nf.elements(set(name)).unwrap().into_iter().map(|listed| listed.element).collect();
                have.sort_by(|a, b| a.key.cmp(&b.key));
                assert_eq!(have, *want, "{name} written by {by}");
            }
            // The time that is left is not the same twice.
            let text = list();
            text.lines()
                .map(|line| line.split(" expires ").next().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join("\n")
        };
        nf.apply(&batch).unwrap();
        let ours = check(&mut nf, "us");
        assert!(ours.contains("10.96.0.10 . tcp . 80 . 1 : 10.244.1.2 . 8080"), "{ours}");
        assert!(nf.elements(set("seen")).unwrap()[0].expires.is_some_and(|left| left <= 90_000));
        nf.apply(Batch::new().delete_table(&table)).unwrap();
        run_script(&batch.to_string());
        let theirs = check(&mut nf, "nft");
        assert_eq!(ours, theirs);

        // And away again: one by one, or all.
        let mut gone = Batch::new();
        for (name, elements, _) in &elements {
            gone.delete_elements(set(name), elements.clone());
        }
        nf.apply(&gone).unwrap();
        for (name, elements, _) in &elements {
            assert_eq!(nf.elements(set(name)).unwrap(), [], "{name}");
            nf.apply(Batch::new().add_elements(set(name), elements.clone())).unwrap();
            nf.apply(Batch::new().push(Op::FlushSet(set(name).clone()))).unwrap();
            assert_eq!(nf.elements(set(name)).unwrap(), [], "{name}");
        }
    });
}

/// A table with one chain `c`.
fn small(nf: &mut Nftables) -> TableId {
    let table = TableId::new(Family::Ip, "weft-test");
    let mut batch = Batch::new();
    batch.add_table(Table::new(&table)).add_chain(Chain::regular(&table, "c"));
    nf.apply(&batch).unwrap();
    table
}

fn texts(nf: &mut Nftables, table: &TableId) -> Vec<String> {
    nf.rules(table, "c").unwrap().iter().map(|listed| listed.rule.to_string()).collect()
}

#[test]
fn rules_are_placed_replaced_and_deleted() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let rule = |n: u32| Rule::new(&table, "c", [mark().is(n)]);
        let text = |n: u32| format!("meta mark 0x{n:08x}");
        let mut batch = Batch::new();
        batch.add_rule(rule(1)).add_rule(rule(2)).insert_rule(rule(0));
        nf.apply(&batch).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 1, 2].map(text));

        let handle = nf.rules(&table, "c").unwrap()[1].handle;
        let mut batch = Batch::new();
        batch.push(Op::AddRule(rule(10), Place::Before(handle)));
        batch.push(Op::AddRule(rule(12), Place::After(handle)));
        batch.push(Op::ReplaceRule(handle, rule(11)));
        nf.apply(&batch).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 10, 11, 12, 2].map(text));

        let handle = nf.rules(&table, "c").unwrap()[1].handle;
        nf.apply(Batch::new().delete_rule(&table, "c", handle)).unwrap();
        assert_eq!(texts(&mut nf, &table), [0, 11, 12, 2].map(text));
        nf.apply(Batch::new().flush_chain(&table, "c")).unwrap();
        assert_eq!(texts(&mut nf, &table), [""; 0]);
        nf.apply(Batch::new().delete_chain(&table, "c")).unwrap();
        assert_eq!(nf.chains().unwrap(), []);
        assert_eq!(nf.tables().unwrap(), [Table::new(&table)]);
        nf.apply(Batch::new().no_table(&table).fresh_table(Table::new(&table)).no_table(&table)).unwrap();
        assert_eq!(nf.tables().unwrap(), []);
    });
}

#[test]
fn one_bad_change_undoes_all_and_is_named() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let before = (list(), nf.generation().unwrap());
        let mut batch = Batch::new();
        batch.add_chain(Chain::regular(&table, "d"));
        batch.add_rule(Rule::new(&table, "c", [counter(), accept()]));
        batch.add_rule(Rule::new(&table, "c", [ip_saddr().is(net("10.0.0.0/8")), jump("nowhere")]));
        batch.add_rule(Rule::new(&table, "d", [accept()]));
        let error = nf.apply(&batch).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nftables add rule ip weft-test c ip saddr 10.0.0.0/8 jump nowhere: \
             No such file or directory (os error 2)"
        );
        assert_eq!(error.remedy(), Remedy::Resync);
        assert_eq!((list(), nf.generation().unwrap()), before);
        // The connection is as good as before.
        nf.apply(Batch::new().add_rule(Rule::new(&table, "c", [accept()]))).unwrap();
    });
}

#[test]
fn of_many_elements_the_bad_one_is_named() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let set = Arc::new(Set::new(&table, "s", &[Type::Ipv4Addr]));
        let element = |n: u32| Element::new(std::net::Ipv4Addr::from(0x0a00_0000 + n));
        let mut batch = Batch::new();
        batch.add_set(&set).add_elements(&set, (0..5000).filter(|n| *n != 4321).map(element).collect());
        nf.apply(&batch).unwrap();
        let error = nf.apply(Batch::new().delete_elements(&set, (0..5000).map(element).collect()));
        assert_eq!(
            error.unwrap_err().to_string(),
            "nftables delete element ip weft-test s { 10.0.16.225 }: No such file or directory (os error 2)"
        );
        assert_eq!(nf.elements(&set).unwrap().len(), 4999);
        // Thousands of errors are more than the socket can hold; the first is what counts.
        let wrong = |_| Rule::new(&table, "nowhere", [accept()]);
        let error = nf.apply(&(0..20_000).map(wrong).map(|rule| Op::AddRule(rule, Place::Last)).collect());
        assert!(error.unwrap_err().to_string().contains("add rule ip weft-test nowhere accept"));
        assert_eq!(nf.generation().unwrap(), nf.generation().unwrap());
    });
}

#[test]
fn a_batch_for_an_older_ruleset_is_refused() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = small(&mut nf);
        let mut batch = Batch { generation: Some(nf.generation().unwrap()), ..Batch::new() };
        batch.add_rule(Rule::new(&table, "c", [accept()]));
        nf.apply(&batch).unwrap();
        let error = nf.apply(&batch).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ERESTART));
        assert!(error.to_string().starts_with("nftables batch of 1 changes"), "{error}");
        assert_eq!(texts(&mut nf, &table), ["accept"]);
    });
}

/// A node where iptables' nft flavour and others have been at work.
#[test]
fn chains_and_rules_of_others_are_read() {
    in_namespace(|| {
        let run = |args: &[&str]| {
            let done = Command::new("iptables-nft").args(args).output().expect("iptables-nft");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        run(&["-P", "FORWARD", "DROP"]);
        run(&["-A", "FORWARD", "-s", "10.0.0.0/8", "-m", "comment", "--comment", "mine", "-j", "ACCEPT"]);
        run(&["-A", "FORWARD", "-m", "recent", "--set", "-j", "RETURN"]);
        run_script(
            "table netdev edge { chain c { }; }
             table bridge br { chain f { type filter hook forward priority -200; policy drop; }; }
             add table inet fw
             add chain inet fw c
             add rule inet fw c ip ttl 5 tcp flags syn accept
             add rule inet fw c tcp dport { 80, 443 } drop",
        );
        let mut nf = Nftables::connect().unwrap();
        let filter = TableId::new(Family::Ip, "filter");
        let chains = nf.chains().unwrap();
        let forward = chains.iter().find(|chain| chain.name == "FORWARD").unwrap();
        let drop = Chain::base(&filter, "FORWARD", ChainType::Filter, Hook::Forward, 0).policy(Policy::Drop);
        assert_eq!(*forward, drop);
        assert_eq!(
            forward.to_string(),
            "ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
        );
        assert!(chains.iter().any(|chain| chain.table.family == Family::Bridge && chain.base.is_some()));
        assert!(chains.iter().any(|chain| chain.table.family == Family::Netdev));

        let rules = nf.rules(&filter, "FORWARD").unwrap();
        assert_eq!(rules[0].rule.comment, None);
        assert!(rules[0].rule.to_string().starts_with("ip saddr 10.0.0.0/8 "), "{}", rules[0].rule);
        assert!(rules[0].rule.to_string().ends_with("counter accept"), "{}", rules[0].rule);
        assert!(rules[1].rule.to_string().contains("[match 0x"), "{}", rules[1].rule);
        // What we do not understand we can still write back as it was.
        nf.apply(Batch::new().add_rule(rules[1].rule.clone())).unwrap();
        assert_eq!(nf.rules(&filter, "FORWARD").unwrap()[2].rule, rules[1].rule);

        let rules = nf.rules(&TableId::new(Family::Inet, "fw"), "c").unwrap();
        let text = rules.iter().map(|listed| listed.rule.to_string()).collect::<Vec<_>>().join("; ");
        assert!(text.contains("@th,104,8 & 2 != 0 accept"), "{text}");
        assert!(text.contains("th dport @__set0 drop"), "{text}");
    });
}

#[test]
fn counters_are_read_and_reset() {
    in_namespace(|| {
        let ping = || {
            let done = Command::new("ping").args(["-c", "1", "-W", "2", "127.0.0.1"]).output().unwrap();
            assert!(done.status.success());
        };
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        let mut nf = Nftables::connect().unwrap();
        let table = TableId::new(Family::Ip, "weft-test");
        let (named, spare) = (Counter::new(&table, "hits"), Counter::new(&table, "spare"));
        let mut batch = Batch::new();
        batch.add_table(Table::new(&table)).add_counter(named.clone()).add_counter(spare.clone());
        batch.add_chain(Chain::base(&table, "c", ChainType::Filter, Hook::Input, priority::FILTER));
        batch.add_rule(Rule::new(&table, "c", [counter(), counter_named("hits")]));
        nf.apply(&batch).unwrap();
        ping();
        // One request, one answer, of 84 bytes each.
        let twice = Counts { packets: 2, bytes: 168 };
        let zero = Counts::default();
        let sorted = |mut list: Vec<(Counter, Counts)>| {
            list.sort_by(|a, b| a.0.name.cmp(&b.0.name));
            list
        };
        let want = |counts| vec![(named.clone(), counts), (spare.clone(), zero)];
        assert_eq!(sorted(nf.counters(&table).unwrap()), want(twice));
        assert_eq!(nf.rules(&table, "c").unwrap()[0].counts, [twice]);
        // What it has counted does not make it another rule.
        assert_eq!(nf.rules(&table, "c").unwrap()[0].rule.to_string(), "counter counter name \"hits\"");
        assert_eq!(sorted(nf.reset_counters(&table).unwrap()), want(twice));
        assert_eq!(sorted(nf.counters(&table).unwrap()), want(zero));
        nf.apply(Batch::new().push(Op::DeleteCounter(table.clone(), "spare".into()))).unwrap();
        assert_eq!(nf.counters(&table).unwrap().len(), 1);
    });
}

#[test]
fn the_monitor_tells_whose_change_it_was() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut monitor = Monitor::open().unwrap();
            let mut nf = Nftables::connect().unwrap();
            let table = small(&mut nf);
            let Event::Changed(ours) = next(&mut monitor).await else { panic!("lost") };
            assert_eq!(ours.port, nf.port());
            assert_eq!(ours.thread, nix::unistd::gettid().as_raw() as u32);
            assert_eq!(ours.tables.iter().collect::<Vec<_>>(), [&table]);
            assert_eq!(ours.generation, nf.generation().unwrap());

            run_script("add table ip6 foreign\nadd rule ip weft-test c drop");
            let Event::Changed(theirs) = next(&mut monitor).await else { panic!("lost") };
            assert_eq!(theirs.name, "nft");
            assert_ne!(theirs.port, nf.port());
            assert_eq!(theirs.generation, ours.generation + 1);
            assert!(theirs.tables.contains(&table));
            assert!(theirs.tables.contains(&TableId::new(Family::Ip6, "foreign")));

            // A great transaction is one event as well, or owned up to be lost.
            let set = Arc::new(Set::new(&table, "s", &[Type::Mark]));
            nf.apply(Batch::new().add_set(&set).add_elements(&set, (0..30_000).map(Element::new).collect()))
                .unwrap();
            match next(&mut monitor).await {
                Event::Changed(change) => assert_eq!(change.generation, nf.generation().unwrap()),
                Event::Lost => {}
            }
        });
    });
}

async fn next(monitor: &mut Monitor) -> Event {
    let deadline = std::time::Duration::from_secs(5);
    tokio::time::timeout(deadline, monitor.next()).await.expect("an event within 5 s").unwrap()
}

/// Ten thousand services of two endpoints, in one transaction. Prints how long it took; the limit is far
/// above what a fast machine needs, so that only a change of the order of growth breaks it.
#[test]
fn ten_thousand_services_are_one_transaction() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = TableId::new(Family::Ip, "weft-test");
        let sets = sets(&table);
        let set = |name: &str| sets.iter().find(|set| set.name == name).unwrap();
        nf.apply(&frame(&table)).unwrap();
        let start = Instant::now();
        let addr = |base: u32, n: u32| std::net::Ipv4Addr::from(base + n);
        let mut fronts = Vec::new();
        let mut ends = Vec::new();
        for n in 0..10_000 {
            let front = (addr(0x0a60_0000, n), Proto::TCP, Port(80));
            fronts.push(Element::new(front).verdict(Verdict::Goto("other".into())));
            for slot in 0..2 {
                let end = (addr(0x0af4_0000, 2 * n + slot), Port(8080));
                ends.push(Element::new((front.0, front.1, front.2, slot)).data(end));
            }
        }
        let mut batch = Batch::new();
        batch.add_elements(set("fronts"), fronts).add_elements(set("ends"), ends);
        let built = start.elapsed();
        nf.apply(&batch).unwrap();
        let applied = start.elapsed();
        let listed = nf.elements(set("ends")).unwrap();
        let read = start.elapsed();
        assert_eq!(listed.len(), 20_000);
        let one = Element::new((ip("10.97.0.1"), Proto::TCP, Port(80))).verdict(Verdict::Drop);
        let begin = Instant::now();
        nf.apply(Batch::new().add_elements(set("fronts"), vec![one])).unwrap();
        println!(
            "30,000 elements: built {built:?}, applied {:?}, 20,000 read {:?}; one more {:?}",
            applied - built,
            read - applied,
            begin.elapsed()
        );
        assert!(applied.as_secs_f64() < 2.0, "{applied:?}");
    });
}
