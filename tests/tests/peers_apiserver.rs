//! Our API server beside the original, the short part: scripts/compare runs all of it.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::process::Command;

use control_apiserver::options::PROGRAM;
use tests::apiserver::difference::Allowed;
use tests::apiserver::scenario::{Report, Theme};
use tests::apiserver::{Pair, generated, kubectl};

/// The flags of the original's help, with their defaults where it states one.
fn originals_flags() -> Vec<(String, Option<String>)> {
    let program = originals::program("kube-apiserver").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).arg("--help").output().expect("kube-apiserver runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A flag's line begins with two to six blanks; what it says of its default ends the line.
    let flag = |line: &str| {
        let rest = line.trim_start();
        let rest = rest.strip_prefix("-v, ").unwrap_or(rest);
        let (name, rest) = rest.strip_prefix("--")?.split_once(' ')?;
        let default = rest.trim_end().strip_suffix(')').and_then(|rest| rest.rsplit_once("(default "));
        let default = default.map(|(_, text)| text.trim_matches(['"', '[', ']']).to_owned());
        (line.len() - line.trim_start().len() <= 6 && name != "help").then(|| (name.to_owned(), default))
    };
    text.lines().filter_map(flag).collect()
}

/// Flags that the original takes, but does not show.
const HIDDEN: [&str; 2] = ["kubelet-port", "kubelet-read-only-port"];

#[test]
fn every_flag_of_the_original_is_known_with_its_default() {
    let originals = originals_flags();
    assert!(originals.len() > 150, "the help was read: {}", originals.len());
    let mut wrong = Vec::new();
    for (name, default) in &originals {
        let Some(flag) = PROGRAM.flag(name) else {
            wrong.push(format!("--{name} is unknown"));
            continue;
        };
        if let Some(default) = default
            && flag.default != default
        {
            wrong.push(format!("--{name}: default {:?}, the original's is {default:?}", flag.default));
        }
    }
    // Deprecated flags are not in the original's help.
    let known = |name: &str| HIDDEN.contains(&name) || originals.iter().any(|(known, _)| known == name);
    let strange = PROGRAM.flags.iter().filter(|flag| !flag.ours && !known(flag.name));
    wrong.extend(strange.map(|flag| format!("--{} is not the original's", flag.name)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the comparison would report of two originals, it would report of ours too.
#[test]
fn the_comparison_sees_no_difference_between_two_originals() {
    let (pair, allowed) = (Pair::twice(&[]), Allowed::read());
    let mut report = Report::default();
    report.run(&pair, &Theme::read("configmaps"), &allowed);
    for sample in generated::samples().iter().filter(|sample| ["Pod", "Service"].contains(&sample.kind())) {
        report.run(&pair, &generated::life(sample), &allowed);
    }
    report.check();
}

/// Some kinds of which scripts/compare asks about all.
#[test]
fn objects_of_some_kinds_live_change_and_are_refused_as_with_the_original() {
    let (pair, allowed) = (Pair::up(&[]), Allowed::read());
    let mut report = Report::default();
    let some = ["Deployment", "Service", "PersistentVolumeClaim", "CustomResourceDefinition"];
    let samples = generated::samples();
    // Theme by theme: the original takes its time over a definition that is deleted, and it has that while others are asked.
    for theme in [generated::mutations, generated::life, generated::changes] {
        for sample in samples.iter().filter(|sample| some.contains(&sample.kind())) {
            report.run(&pair, &theme(sample), &allowed);
        }
    }
    report.run(&pair, &Theme::read("deletions"), &allowed);
    report.check();
}

#[test]
fn kubectl_sees_no_difference_between_two_originals() {
    let found = kubectl::differences(&Pair::twice(&[]), &kubectl::lines(), &Allowed::read());
    assert!(found.is_empty(), "{found}");
}
