//! Every expression, in rules: written by us and by nft, read by both.

use host::nftables::build::*;
use host::nftables::expr::*;
use host::nftables::*;

use crate::{frame, in_namespace, ip, list, net, nft, run_script, sets};

/// Rules of an ip table: where they go, what they are, and how they read.
fn ip_rules() -> Vec<(&'static str, Vec<Statement>, &'static str)> {
    let frontend = || concat([ip_daddr(), l4proto(), th_dport()]);
    let tcp = || l4proto().is(Proto::TCP);
    let random = NatFlags { random: true, ..NatFlags::default() };
    let of_saddr = FibFlags { saddr: true, iif: true, ..FibFlags::default() };
    let bytes = Limit { rate: 10240, per: 60, burst: 0, unit: LimitUnit::Bytes, over: true };
    let debug = Log { prefix: Some("x".into()), level: Some(7), group: None };
    let group = Log { prefix: Some("y".into()), level: None, group: Some(3) };
    // What has no constructor is written in the kernel's terms.
    let mut add_counted = add_to("seen", ip_saddr(), None);
    if let Some(Expr::Dynset { with, .. }) = add_counted.0.last_mut() {
        with.push(Expr::Counter);
    }
    let r = [0, 16, 32, 48].map(|bytes| Reg::FIRST.after(bytes));
    let put = |value: Data, to| Expr::Immediate { value, to };
    let snat_range = Statement(vec![
        put(ip("1.2.3.4").into(), r[0]),
        put(ip("1.2.3.9").into(), r[1]),
        put(Port(10).into(), r[2]),
        put(Port(20).into(), r[3]),
        Expr::Nat {
            kind: NatKind::Snat,
            family: 2,
            addr: Some((r[0], r[1])),
            port: Some((r[2], r[3])),
            flags: random,
        },
    ]);
    let masquerade_ports = Statement(vec![
        put(Port(1024).into(), r[0]),
        put(Port(2000).into(), r[1]),
        Expr::Masquerade { port: Some((r[0], r[1])), flags: NatFlags::default() },
    ]);
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
        ("other", vec![frontend().vmap("frontends")], "ip daddr . meta l4proto . th dport vmap @frontends"),
        (
            "other",
            vec![set_mark(frontend().map("numbers"))],
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
        ("other", vec![ip_daddr().is_not(net("10.0.0.0/8"))], "ip daddr != 10.0.0.0/8"),
        ("other", vec![ct_state().is_not(state::NEW)], "ct state != new"),
        ("other", vec![ct_status().lacks(status::DNAT)], "ct status & dnat == 0x0"),
        ("other", vec![fib(FibResult::Oif, of_saddr).is(0)], "fib saddr . iif oif 0"),
        ("other", vec![limit_with(bytes)], "limit rate over 10240 bytes/minute"),
        ("other", vec![log_with(debug)], "log prefix \"x\" level debug"),
        ("other", vec![log_with(group)], "log prefix \"y\" group 3"),
        ("other", vec![add_counted], "add @seen { ip saddr counter }"),
        ("pre", vec![tcp(), counter(), redirect_to(Port(1))], "meta l4proto tcp counter redirect to :1"),
        ("post", vec![tcp(), snat_range], "meta l4proto tcp snat to 1.2.3.4-1.2.3.9:10-20 random"),
        ("post", vec![tcp(), masquerade_ports], "meta l4proto tcp masquerade to :1024-2000"),
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
            vec![concat([ip6_daddr(), l4proto(), th_dport()]).vmap("frontends")],
            "ip6 daddr . meta l4proto . th dport vmap @frontends",
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
            vec![Statement(vec![Expr::Reject(Reject::Icmpx(3))])],
            "reject with icmpx admin-prohibited",
        ),
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
