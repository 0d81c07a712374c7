use std::time::{Duration, Instant};

use super::*;
use crate::error::Remedy;

fn sh(script: &str) -> Invocation {
    Invocation::new("/bin/sh", ["-c", script])
}

#[test]
fn output_and_status_are_captured() {
    let output = System.try_run(&sh("printf out; printf err >&2; exit 3")).unwrap();
    assert_eq!((output.status.code(), output.text().as_str()), (Some(3), "out"));
    assert_eq!(output.stderr, b"err");
}

#[test]
fn a_large_input_comes_back_whole() {
    let text = vec![b'x'; 4 << 20]; // far more than a pipe holds, both ways
    let output = System.run(&Invocation::new("cat", [""; 0]).stdin(text.clone())).unwrap();
    assert_eq!(output.stdout, text);
}

#[test]
fn an_input_that_nobody_reads_is_no_error() {
    let output = System.run(&sh("exec true").stdin(vec![b'x'; 1 << 20])).unwrap();
    assert!(output.status.success());
}

#[test]
fn a_failure_names_the_command_its_status_and_the_end_of_its_complaints() {
    let error = System.run(&sh("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 4")).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/bin/sh -c 'for i in 1 2"), "{text}");
    assert!(text.ends_with("exit status: 4: line 3\nline 4\nline 5\nline 6\nline 7"), "{text}");
}

#[test]
fn the_time_limit_kills_the_command_and_what_it_started() {
    let begin = Instant::now();
    // The grandchild keeps the pipes open after its parent is gone.
    let limit = Duration::from_millis(300);
    let error = System.run(&sh("echo $$ ; sleep 600 & sleep 600").time_limit(limit)).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("killed at its time limit of 300ms"), "{error}");
}

#[test]
fn the_time_limit_holds_for_a_command_that_closed_its_outputs() {
    let begin = Instant::now();
    let error =
        System.run(&sh("exec >&- 2>&-; sleep 600").time_limit(Duration::from_millis(200))).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains("killed at its time limit"), "{error}");
}

#[test]
fn a_missing_program_says_how_to_get_it() {
    let error = System.run(&Invocation::new("/nowhere/nft", ["list", "ruleset"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/nft: no such program in PATH; install it (Debian, Ubuntu: apt-get install nftables)"
    );
    assert_eq!(error.remedy(), Remedy::GiveUp);
    assert_eq!(advice("/usr/sbin/iptables-nft-restore"), advice("iptables"));
}

#[test]
fn the_environment_is_ours_and_a_little_more() {
    let output = System.run(&sh("printf %s \"$WEFT_X\"; test -n \"$PATH\"").env("WEFT_X", "1")).unwrap();
    assert_eq!(output.text(), "1");
}

#[test]
fn a_recorder_writes_down_and_answers() {
    let recorder = Recorder::answering(|i| Ok(Output::of(i32::from(i.program == "no"), "yes\n", "never")));
    assert_eq!(recorder.run(&Invocation::new("nft", ["-j", "a b"])).unwrap().text(), "yes\n");
    let error = recorder.run(&Invocation::new("no", [""; 0])).unwrap_err();
    assert_eq!(error.to_string(), "no: exit status: 1: never");
    let asked: Vec<String> = recorder.asked().iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["nft -j 'a b'", "no"]);
}
