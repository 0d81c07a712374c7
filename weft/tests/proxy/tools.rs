//! `weft explain`, `weft proxy render`, `weft proxy diff`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::testbed::*;

fn weft(directory: &Path, words: &[&str]) -> Output {
    Command::new(WEFT).args(words).arg("--feed-dir").arg(directory).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn objects() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_objects(directory.path());
    directory
}

fn ask(words: &[&str]) -> Value {
    let directory = objects();
    let words: Vec<&str> = ["explain", "-o", "json"].iter().chain(words).copied().collect();
    serde_json::from_str(&text(&weft(directory.path(), &words))).unwrap()
}

#[test]
fn explain_answers_for_programs() {
    let both = json!(["10.244.1.11:8080", "10.244.1.12:8080"]);
    for (words, verdict, endpoints, masquerade) in [
        (&["10.244.1.7 -> 10.96.0.10:80/tcp"][..], "deliver", &both, false),
        (&["--cluster-cidr=10.244.0.0/16", "203.0.113.9 -> 10.96.0.10:80/tcp"], "deliver", &both, true),
        (&["--masquerade-all", "10.244.1.7 -> 10.96.0.10:80/TCP"], "deliver", &both, true),
        (&["203.0.113.9 -> 192.168.0.1:30080/tcp"], "deliver", &both, true),
        (&["--node-ips=192.168.7.7", "203.0.113.9 -> 192.168.7.7:30080/tcp"], "deliver", &both, true),
        (&["--nodeport-addresses=10.0.0.0/8", "203.0.113.9 -> 192.168.0.1:30080"], "pass", &json!([]), false),
        (&["--proxy-mode=iptables", "127.0.0.1 -> 127.0.0.1:30080"], "deliver", &both, true),
        (
            &[
                "--proxy-mode=iptables",
                "--iptables-localhost-nodeports=false",
                "127.0.0.1 -> 127.0.0.1:30080",
            ],
            "pass",
            &json!([]),
            false,
        ),
        (&["10.244.1.7 -> 10.96.0.10:81/tcp"], "reject", &json!([]), false),
        (&["10.244.1.7 -> 10.1.2.3:80/tcp"], "pass", &json!([]), false),
    ] {
        let found = ask(words);
        assert_eq!(found["verdict"], verdict, "{words:?}: {found}");
        assert_eq!(found["endpoints"], *endpoints, "{words:?}: {found}");
        assert_eq!(found["masquerade"], masquerade, "{words:?}: {found}");
    }
}

#[test]
fn explain_tells_people_what_and_why() {
    let directory = objects();
    write_endpoints(directory.path(), &["one"]);
    let answer = text(&weft(directory.path(), &["explain", "10.244.1.7 -> 10.96.0.10:80/tcp"]));
    for holds in
        ["deliver", "default/web", "ClusterIP 10.96.0.10:80", "10.244.1.11:8080  100.0 %", "masquerade: no"]
    {
        assert!(answer.contains(holds), "{holds:?} is not in\n{answer}");
    }
    write_endpoints(directory.path(), &[]);
    let answer = text(&weft(directory.path(), &["explain", "10.244.1.7 -> 10.96.0.10:80/tcp"]));
    assert!(answer.contains("reject") && answer.contains("no endpoint"), "{answer}");
}

#[test]
fn explain_tells_near_misses() {
    let directory = objects();
    let ask = |packet: &str| text(&weft(directory.path(), &["explain", packet]));
    for (packet, holds) in [
        ("10.244.1.7 -> 10.96.0.10:81/tcp", "hint:       10.96.0.10 has 53/udp, 80/tcp of default/web"),
        ("10.244.1.7 -> 10.96.0.10/icmp", "no service takes ICMP"),
        (
            "::ffff:10.244.1.7 -> [::ffff:10.96.0.10]:80",
            "10.96.0.10 is 10.96.0.10, an IPv4 address in IPv6 notation",
        ),
        ("192.168.0.9 -> 127.0.0.1:30080", "node port 30080/tcp of default/web is not served at 127.0.0.1"),
    ] {
        let answer = ask(packet);
        assert!(answer.contains(holds), "{holds:?} is not in\n{answer}");
    }
    let answer = text(&weft(directory.path(), &["explain", "-o", "json", "10.244.1.7 -> 10.96.0.10:81"]));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["hints"][0], "10.96.0.10 has 53/udp, 80/tcp of default/web");
}

#[test]
fn explain_refuses_what_is_no_packet_and_what_is_no_directory() {
    let directory = objects();
    let found = weft(directory.path(), &["explain", "10.244.1.7 to 10.96.0.10"]);
    assert!(!found.status.success() && String::from_utf8_lossy(&found.stderr).contains("no ->"), "{found:?}");
    let found = weft(&directory.path().join("nothing"), &["explain", "10.244.1.7 -> 10.96.0.10:80"]);
    assert!(found.status.code() == Some(2), "{found:?}");
    assert!(String::from_utf8_lossy(&found.stderr).contains("cannot read the objects in"), "{found:?}");
}

#[test]
fn render_prints_the_rules_without_privileges() {
    let directory = objects();
    let rules = text(&unprivileged(directory.path(), &["proxy", "render", "--mode", "nftables"]));
    for holds in ["add table ip weft-proxy", "10.96.0.10 . tcp . 80", "10.244.1.12 . 8080"] {
        assert!(rules.contains(holds), "{holds:?} is not in\n{rules}");
    }
    assert_eq!(rules, text(&weft(directory.path(), &["proxy", "render"])), "the same each time");
}

/// The same without any capability, were it root's.
fn unprivileged(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", WEFT]).args(words);
    command.arg("--feed-dir").arg(directory).output().unwrap()
}

#[test]
fn explain_takes_no_privileges_and_diff_says_that_it_does() {
    let directory = objects();
    let answer = text(&unprivileged(directory.path(), &["explain", "10.244.1.7 -> 10.96.0.10:80/tcp"]));
    assert!(answer.contains("deliver"), "{answer}");
    let refused = unprivileged(directory.path(), &["proxy", "diff"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not permitted"), "{refused:?}");
}

#[test]
fn diff_says_by_its_status_whether_the_kernel_is_as_wanted() {
    let testbed = Testbed::new("diff");
    let before = testbed.tool(&["proxy", "diff"]);
    assert_eq!(before.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&before.stdout).contains("add table ip weft-proxy"));
    let proxy = testbed.start();
    let same = testbed.tool(&["proxy", "diff"]);
    assert_eq!((same.status.code(), &*same.stdout), (Some(0), &b""[..]), "{same:?}");
    drop(proxy);
    testbed.endpoints(&["two"]);
    let changed = testbed.tool(&["proxy", "diff"]);
    assert_eq!(changed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&changed.stdout).contains("10.244.1.12"), "{changed:?}");
}
