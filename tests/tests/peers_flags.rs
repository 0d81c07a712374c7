//! Our programs of the control plane and the originals' know the same flags.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::process::Command;

use goflags::Program;

/// The flags of an original's help, with their defaults where it states one.
fn originals_flags(name: &str) -> Vec<(String, Option<String>)> {
    let program = originals::program(name).unwrap_or_else(|error| panic!("{error}"));
    let output =
        Command::new(program).arg("--help").output().unwrap_or_else(|error| panic!("{name}: {error}"));
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

/// `hidden`: flags that the original takes, but does not show. `others`: those whose default is another on purpose.
fn check(program: &Program, least: usize, hidden: &[&str], others: &[&str]) {
    let originals = originals_flags(program.name);
    assert!(originals.len() > least, "the help was read: {}", originals.len());
    let mut wrong = Vec::new();
    for (name, default) in &originals {
        let Some(flag) = program.flag(name) else {
            wrong.push(format!("--{name} is unknown"));
            continue;
        };
        if let Some(default) = default
            && flag.default != default
            && !others.contains(&name.as_str())
        {
            wrong.push(format!("--{name}: default {:?}, the original's is {default:?}", flag.default));
        }
    }
    // Deprecated flags are not in the original's help.
    let known = |name: &str| hidden.contains(&name) || originals.iter().any(|(known, _)| known == name);
    let strange = program.flags.iter().filter(|flag| !flag.ours && !known(flag.name));
    wrong.extend(strange.map(|flag| format!("--{} is not the original's", flag.name)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_flag_of_the_original_is_known_with_its_default() {
    check(&control_apiserver::options::PROGRAM, 150, &["kubelet-port", "kubelet-read-only-port"], &[]);
}

/// Health and metrics have no TLS, and are for this machine alone unless somebody says otherwise.
const OPEN: [&str; 1] = ["bind-address"];

#[test]
fn every_flag_of_kube_controller_manager_is_known_with_its_default() {
    check(&control_controllers::options::PROGRAM, 120, &[], &OPEN);
}

#[test]
fn every_flag_of_kube_scheduler_is_known_with_its_default() {
    check(&control_scheduler::options::PROGRAM, 40, &[], &OPEN);
}
