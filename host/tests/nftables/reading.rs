//! What others made, counters, events.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use host::nftables::build::*;
use host::nftables::*;

use crate::{in_namespace, run_script, small};

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
            assert_eq!(ours.writer.pid, nix::unistd::gettid().as_raw() as u32);
            assert_eq!(ours.tables.iter().collect::<Vec<_>>(), [&table]);
            assert_eq!(ours.generation, nf.generation().unwrap());

            run_script("add table ip6 foreign\nadd rule ip weft-test c drop");
            let Event::Changed(theirs) = next(&mut monitor).await else { panic!("lost") };
            assert_eq!(theirs.writer.name, "nft");
            assert_ne!(theirs.port, nf.port());
            assert_eq!(theirs.generation, ours.generation + 1);
            assert!(theirs.tables.contains(&table));
            assert!(theirs.tables.contains(&TableId::new(Family::Ip6, "foreign")));

            // Nobody has to wait for what has happened already.
            assert_eq!(monitor.ready().unwrap(), None);
            nf.apply(Batch::new().add_chain(Chain::regular(&table, "d"))).unwrap();
            assert!(
                matches!(monitor.ready().unwrap(), Some(Event::Changed(change)) if change.port == nf.port())
            );
            assert_eq!(monitor.ready().unwrap(), None);

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
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, monitor.next()).await.expect("an event").unwrap()
}

#[test]
fn a_monitor_that_cannot_keep_up_says_so() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut monitor = Monitor::open().unwrap();
            let mut nf = Nftables::connect().unwrap();
            let table = small(&mut nf);
            let set = Arc::new(Set::new(&table, "s", &[Type::Mark]));
            let elements = |n: u32| (n * 100_000..(n + 1) * 100_000).map(Element::new).collect();
            nf.apply(Batch::new().add_set(&set)).unwrap();
            for n in 0..5 {
                nf.apply(Batch::new().add_elements(&set, elements(n))).unwrap();
            }
            while next(&mut monitor).await != Event::Lost {}
            // What happens after that is told again.
            nf.apply(Batch::new().delete_table(&table)).unwrap();
            let Event::Changed(change) = next(&mut monitor).await else { panic!("lost twice") };
            assert_eq!(change.generation, nf.generation().unwrap());
            assert!(change.tables.contains(&table));
        });
    });
}
