//! `up` may be killed at any point: `down` then finds all that it made, and leaves the machine as it was.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use lab::flanneld::Binary;
use lab::{LabName, Signal, state};
use nix::sys::signal::kill;
use nix::unistd::Pid;

fn weft() -> PathBuf {
    Binary::beside_test().and_then(|binary| binary.program()).unwrap()
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(weft());
    command.arg("lab").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0);
    command
}

/// Starts `up`, which is to be cut short.
fn up(name: &LabName) -> Child {
    let arguments =
        ["up", "--nodes", "2", "--pods", "1", "--backend", "vxlan", "--quick", "--name", name.as_str()];
    lab(&arguments).spawn().unwrap()
}

/// What a lab of this name could leave on the machine. Other labs and tests may come and go meanwhile, so only what
/// bears the name, or sits in one of the lab's namespaces, counts.
fn traces(name: &LabName, namespaces: &[Namespace]) -> Vec<String> {
    let mut found = Vec::new();
    let mine = |text: &str| text.contains(&name.namespace_prefix()) || text.contains(&format!("/lab/{name}"));
    found.extend(host::netns::list().unwrap().into_iter().filter(|netns| mine(netns)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| mine(line)).map(|line| format!("mount {line}")));
    found.extend(fs::metadata(state::State::of(name).directory()).ok().map(|_| "state directory".to_owned()));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse::<i32>().ok()) else {
            continue;
        };
        let its = Namespace::of_process(Pid::from_raw(pid));
        let inside = its.is_ok_and(|its| namespaces.iter().any(|one| one.is(&its)));
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if inside || mine(&command) || command.contains(&format!("--name {name}")) {
            found.push(format!("process {pid} {command}"));
        }
    }
    found
}

/// Links of the machine's own namespace.
fn links() -> BTreeSet<String> {
    let names = nix::net::if_::if_nameindex().unwrap();
    names.iter().map(|link| link.name().to_string_lossy().into_owned()).collect()
}

/// The lab's namespaces, as far as there are any. Held open, so that the kernel gives their numbers to nobody else.
fn namespaces(name: &LabName) -> Vec<Namespace> {
    let all = host::netns::list().unwrap();
    let mine = all.iter().filter(|netns| LabName::of_namespace(netns).as_ref() == Some(name));
    mine.filter_map(|netns| Namespace::open(netns).ok()).collect()
}

/// Removes what `up` left, until there is nothing: a kill before the first directory leaves nothing to remove.
fn down(name: &LabName) {
    match lab::down::down(name) {
        Ok(_) | Err(lab::LabError::NoSuchLab { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn wait(mut child: Child, limit: Duration) -> std::process::ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "`weft lab` does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long an `up` takes that is left alone.
fn whole_time(name: &LabName) -> Duration {
    let began = Instant::now();
    let status = wait(up(name), Duration::from_secs(90));
    assert!(status.success(), "`weft lab up` failed: {status}");
    began.elapsed()
}

fn cut_short(signal: Signal, points: u32) {
    let name = LabName::unique("crash").unwrap();
    let before = links();
    let whole = whole_time(&name);
    let mut seen = namespaces(&name);
    assert_eq!(seen.len(), 5, "hub, two nodes, two pods");
    let lab = lab::Lab::open(&name).unwrap();
    let running =
        lab.nodes().iter().all(|node| node.proxy().pid().is_some() && node.flanneld_pid().is_some());
    assert!(
        running && lab.services().unwrap().answers().pid().is_some(),
        "all that `up` starts is among what ends"
    );
    down(&name);
    assert_eq!(traces(&name, &seen), [""; 0], "after an `up` that was left alone");
    for point in 0..points {
        // From the very start to a little after the end.
        let after = whole * point / (points - 1) * 11 / 10;
        let child = up(&name);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        thread::sleep(after);
        seen.extend(namespaces(&name));
        // It may be done already.
        let _ = kill(pid, signal);
        wait(child, Duration::from_secs(90));
        seen.extend(namespaces(&name));
        if signal == Signal::SIGINT && !lab::State::of(&name).directory().exists() {
            // It has cleaned up by itself, to the last.
            assert_eq!(traces(&name, &seen), [""; 0], "after {signal} at {after:?}");
        }
        down(&name);
        assert_eq!(traces(&name, &seen), [""; 0], "after {signal} at {after:?} and `down`");
    }
    let new: Vec<_> = links().difference(&before).cloned().collect();
    assert_eq!(new, [""; 0], "links in the machine's own namespace");
}

#[test]
fn down_leaves_nothing_after_a_kill_at_any_point_of_up() {
    cut_short(Signal::SIGKILL, 24);
}

#[test]
fn an_interrupted_up_cleans_up_by_itself() {
    cut_short(Signal::SIGINT, 8);
}
