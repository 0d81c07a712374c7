//! Our nf_tables messages against the real kernel and the real `nft`: both have to mean the same by them.
//!
//! Each test has a network namespace of its own, which ends with its thread. To look into one while it waits:
//! `nsenter --net=/proc/PID/task/TID/ns/net nft list ruleset`.

mod changes;
mod elements;
mod reading;
mod rules;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

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
    let frontend = [addr, Type::InetProto, Type::InetService];
    let comment = format!("family {family}");
    [
        Set::new(table, "ips", &[addr]).comment(&comment),
        Set::new(table, "ports", &[Type::InetService]),
        Set::new(table, "links", &[Type::IfName]),
        Set::new(table, "nets", &[addr]).interval(),
        Set::new(table, "grid", &[addr, Type::InetService]).interval(),
        Set::new(table, "hairpin", &[addr, addr, Type::InetProto, Type::InetService]),
        Set::verdict_map(table, "frontends", &frontend),
        Set::map(table, "numbers", &frontend, &[Type::Mark]),
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

/// A table with one chain `c`.
fn small(nf: &mut Nftables) -> TableId {
    let table = TableId::new(Family::Ip, "weft-test");
    let mut batch = Batch::new();
    batch.add_table(Table::new(&table)).add_chain(Chain::regular(&table, "c"));
    nf.apply(&batch).unwrap();
    table
}
