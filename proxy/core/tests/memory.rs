//! What objects and table cost in memory.

mod common;

use proxy_core::table::ServiceTable;

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok()).expect("a number") * 1024
}

#[test]
fn a_service_of_two_endpoints_costs_little_memory() {
    const COUNT: usize = 30_000;
    let before = resident();
    let (cluster, options) = common::large(COUNT);
    let objects = resident();
    let table = ServiceTable::build(&cluster, &options);
    let all = resident();
    let each = |from: usize, to: usize| to.saturating_sub(from) / COUNT;
    println!(
        "{COUNT} services: {} bytes each for objects, {} for the table",
        each(before, objects),
        each(objects, all)
    );
    assert_eq!(table.ports.len(), COUNT);
    assert!(each(before, all) < 3000, "{} bytes each", each(before, all));
}
