//! Every behavioural case against the table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proxy_core::cases::{Case, Want, all, files};
use proxy_core::question::{ask, explain};

/// Runs one check over all cases and shows all that fail.
fn each(check: impl Fn(&Case, &mut Vec<String>)) {
    let mut wrong = Vec::new();
    for case in all() {
        let mut found = Vec::new();
        check(&case, &mut found);
        wrong.extend(found.iter().map(|what| format!("{}: {}:\n    {what}", case.file, case.name)));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn packets_meet_what_the_cases_say() {
    each(|case, wrong| {
        let table = case.table();
        for probe in &case.probes {
            let got = Want::from(&ask(&table, &probe.packet));
            if got != probe.want {
                wrong.push(format!("{} => {got}, not {}", probe.text, probe.want));
            }
        }
    });
}

#[test]
fn endpoints_are_left_out_for_the_reason_given() {
    each(|case, wrong| {
        let ((cluster, _), table) = (case.cluster(), case.table());
        for probe in case.probes.iter().filter(|probe| !probe.left_out.is_empty()) {
            let explanation = explain(&table, &cluster, &probe.packet);
            let left_out = explanation.left_out.iter();
            let got: BTreeMap<SocketAddr, String> = left_out
                .map(|(endpoint, why)| (SocketAddr::new(endpoint.ip, endpoint.port), why.to_string()))
                .collect();
            if got != probe.left_out {
                wrong.push(format!("{}: {got:?}, not {:?}", probe.text, probe.left_out));
            }
        }
    });
}

/// Each expected part is in exactly one of what was found, and nothing else was found.
fn compare(expected: &[String], found: &[String], wrong: &mut Vec<String>) {
    let matched = expected.iter().all(|part| found.iter().filter(|text| text.contains(part)).count() == 1);
    if !matched || expected.len() != found.len() {
        wrong.push(format!("{found:?}, not {expected:?}"));
    }
}

#[test]
fn what_is_wrong_with_objects_is_said() {
    each(|case, wrong| {
        let complaints: Vec<String> = case.cluster().1.iter().map(ToString::to_string).collect();
        compare(&case.expect.refused, &complaints, wrong);
        let table = case.table();
        let overlaps = table.overlaps.iter().map(ToString::to_string);
        let reports = table.reports.values().flatten().map(ToString::to_string);
        let reports: BTreeSet<String> = reports.chain(overlaps).collect();
        compare(&case.expect.reports, &reports.into_iter().collect::<Vec<_>>(), wrong);
    });
}

#[test]
fn affinity_and_health_checks_are_as_the_cases_say() {
    each(|case, wrong| {
        let table = case.table();
        let ports = table.ports.values();
        let affinity: BTreeMap<String, u64> = ports
            .filter_map(|port| Some((port.name.service.to_string(), port.affinity?.as_secs())))
            .collect();
        if affinity != case.expect.affinity {
            wrong.push(format!("affinity {affinity:?}, not {:?}", case.expect.affinity));
        }
        let checks = table.health.iter();
        let health: BTreeMap<String, (u16, usize)> = checks
            .map(|((_, name), check)| (name.to_string(), (check.node_port, check.local_ready)))
            .collect();
        if health != case.expect.health {
            wrong.push(format!("health {health:?}, not {:?}", case.expect.health));
        }
    });
}

#[test]
fn there_are_many_cases_each_with_a_name_of_its_own() {
    let cases = all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    assert!(cases.len() >= 260, "{}", cases.len());
    assert!(cases.iter().map(|case| case.probes.len()).sum::<usize>() >= 300);
}

#[test]
fn every_file_of_cases_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cases");
    let found =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.filter(|name| name.ends_with(".yaml")).collect();
    assert_eq!(found, files().map(str::to_owned).collect());
}
