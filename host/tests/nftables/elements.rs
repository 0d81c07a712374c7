//! Elements of sets and maps.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::nftables::build::*;
use host::nftables::*;

use crate::{frame, in_namespace, ip, list, net, run_script, sets};

/// Elements of every kind: written by us and read by nft, and the other way round.
#[test]
fn elements_are_those_of_nft() {
    let table = TableId::new(Family::Ip, "weft-test");
    let sets = sets(&table);
    let set = |name: &str| sets.iter().find(|set| set.name == name).unwrap();
    let frontend = (ip("10.96.0.10"), Proto::TCP, Port(80));
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
            "frontends",
            vec![
                Element::new(frontend).verdict(Verdict::Goto("other".into())),
                Element::new((ip("10.96.0.11"), Proto::SCTP, Port(81))).verdict(Verdict::Drop),
            ],
            "10.96.0.10 . tcp . 80 : goto other, 10.96.0.11 . sctp . 81 : drop",
        ),
        ("numbers", vec![Element::new(frontend).data(7)], "10.96.0.10 . tcp . 80 : 0x00000007"),
        (
            "ends",
            vec![Element::new((frontend.0, frontend.1, frontend.2, 1)).data((ip("10.244.1.2"), Port(8080)))],
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
        let mut frontends = Vec::new();
        let mut ends = Vec::new();
        for n in 0..10_000 {
            let frontend = (addr(0x0a60_0000, n), Proto::TCP, Port(80));
            frontends.push(Element::new(frontend).verdict(Verdict::Goto("other".into())));
            for slot in 0..2 {
                let end = (addr(0x0af4_0000, 2 * n + slot), Port(8080));
                ends.push(Element::new((frontend.0, frontend.1, frontend.2, slot)).data(end));
            }
        }
        let mut batch = Batch::new();
        batch.add_elements(set("frontends"), frontends).add_elements(set("ends"), ends);
        let built = start.elapsed();
        nf.apply(&batch).unwrap();
        let applied = start.elapsed();
        let listed = nf.elements(set("ends")).unwrap();
        let read = start.elapsed();
        assert_eq!(listed.len(), 20_000);
        let one = Element::new((ip("10.97.0.1"), Proto::TCP, Port(80))).verdict(Verdict::Drop);
        let begin = Instant::now();
        nf.apply(Batch::new().add_elements(set("frontends"), vec![one])).unwrap();
        println!(
            "30,000 elements: built {built:?}, applied {:?}, 20,000 read {:?}; one more {:?}",
            applied - built,
            read - applied,
            begin.elapsed()
        );
        assert!(applied.as_secs_f64() < 2.0, "{applied:?}");
    });
}

/// The layout of a service proxy with nothing of its own per service: one map from frontends to chains, one from
/// frontends and slots to endpoints. Real connections go where the elements say.
#[test]
fn connections_find_their_endpoints_through_shared_maps() {
    in_namespace(|| {
        let ip_tool = |args: &str| {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        };
        ip_tool("link set lo up");
        ip_tool("address add 10.0.0.1/32 dev lo");
        ip_tool("route add 10.96.0.0/16 dev lo");
        let listeners = [0, 1].map(|_| TcpListener::bind("10.0.0.1:0").unwrap());
        let table = TableId::new(Family::Ip, "weft-test");
        let frontend = [Type::Ipv4Addr, Type::InetProto, Type::InetService];
        let frontends = Arc::new(Set::verdict_map(&table, "frontends", &frontend));
        let slot = [frontend.as_slice(), &[Type::Integer]].concat();
        let ends = Arc::new(Set::map(&table, "ends", &slot, &[Type::Ipv4Addr, Type::InetService]));
        let asked = || concat([ip_daddr(), l4proto(), th_dport()]);
        let slots = concat([ip_daddr(), l4proto(), th_dport(), numgen_inc(2)]);

        let mut batch = Batch::new();
        batch.add_table(Table::new(&table)).add_set(&frontends).add_set(&ends);
        batch.add_chain(Chain::regular(&table, "two"));
        batch.add_chain(Chain::base(&table, "out", ChainType::Nat, Hook::Output, priority::DSTNAT));
        batch.add_rule(Rule::new(&table, "out", [asked().vmap("frontends")]));
        batch.add_rule(Rule::new(
            &table,
            "two",
            [l4proto().is(Proto::TCP), dnat_addr_port(Family::Ip, slots.map("ends"))],
        ));
        let key = (ip("10.96.0.10"), Proto::TCP, Port(80));
        batch.add_elements(&frontends, vec![Element::new(key).verdict(Verdict::Goto("two".into()))]);
        let endpoint = |n: usize| {
            let to = listeners[n].local_addr().unwrap();
            Element::new((key.0, key.1, key.2, n as u32)).data((to.ip(), Port(to.port())))
        };
        batch.add_elements(&ends, vec![endpoint(0), endpoint(1)]);
        Nftables::connect().unwrap().apply(&batch).unwrap();

        let service = "10.96.0.10:80".parse().unwrap();
        let clients = [0; 4].map(|_| TcpStream::connect_timeout(&service, Duration::from_secs(60)).unwrap());
        let mut seen: Vec<_> =
            listeners.iter().flat_map(|listener| [(); 2].map(|()| next_client(listener))).collect();
        let mut sent = clients.map(|client| client.local_addr().unwrap()).to_vec();
        seen.sort();
        sent.sort();
        assert_eq!(seen, sent, "two connections each");
    });
}

/// Whose connection the listener gets next, within 5 s.
fn next_client(listener: &TcpListener) -> SocketAddr {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match listener.accept() {
            Ok((_, client)) => return client,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("no connection: {error}"),
        }
    }
}

#[test]
fn adding_again_is_no_error_and_a_value_is_replaced_in_one_transaction() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = TableId::new(Family::Ip, "weft-test");
        let sets = sets(&table);
        let slots = sets.iter().find(|set| set.name == "slots").unwrap();
        let element = |to: &str| vec![Element::new(1).data(ip(to))];
        let mut batch = frame(&table);
        batch.add_elements(slots, element("10.0.0.1"));
        nf.apply(&batch).unwrap();
        nf.apply(&batch).unwrap();
        // Another value for the same key is refused ...
        let error = nf.apply(Batch::new().add_elements(slots, element("10.0.0.2"))).unwrap_err();
        assert!(error.to_string().contains("add element ip weft-test slots { 1 : 10.0.0.2 }"), "{error}");
        // ... unless the old one goes first; no packet sees neither.
        let mut batch = Batch::new();
        batch.delete_elements(slots, element("10.0.0.1")).add_elements(slots, element("10.0.0.2"));
        nf.apply(&batch).unwrap();
        let have = nf.elements(slots).unwrap();
        assert_eq!(have.into_iter().map(|listed| listed.element).collect::<Vec<_>>(), element("10.0.0.2"));
    });
}

/// A set that counts says so to nft, and each element how often it was found; one is read without the others.
#[test]
fn elements_count_the_packets_that_find_them() {
    in_namespace(|| {
        let mut nf = Nftables::connect().unwrap();
        let table = TableId::new(Family::Ip, "weft-test");
        let ports = Arc::new(Set::verdict_map(&table, "ports", &[Type::InetService]).counting());
        let mut batch = Batch::new();
        batch.add_table(Table::new(&table)).add_set(&ports);
        batch.add_chain(Chain::base(&table, "out", ChainType::Filter, Hook::Output, priority::FILTER));
        batch.add_rule(Rule::new(&table, "out", [l4proto().is(Proto::UDP), th_dport().vmap("ports")]));
        let numbers = [9, 10].map(|port| Element::new(Port(port)).verdict(Verdict::Drop));
        batch.add_elements(&ports, numbers.into());
        nf.apply(&batch).unwrap();
        assert_eq!(nf.sets(&table).unwrap(), [(*ports).clone()]);
        assert!(list().contains("counter packets 0 bytes 0"), "{}", list());
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            // Dropped on its way out: the sender is told.
            assert!(socket.send_to(b"x", "127.0.0.1:9").is_err());
        }
        let one = nf.element(&ports, &Port(9).into()).unwrap().unwrap();
        assert_eq!(
            (one.counts.unwrap().packets, one.element.value),
            (3, Some(Value::Verdict(Verdict::Drop)))
        );
        let other = nf.element(&ports, &Port(10).into()).unwrap().unwrap();
        assert_eq!(other.counts.unwrap().packets, 0);
        assert_eq!(nf.element(&ports, &Port(11).into()).unwrap(), None);
    });
}
