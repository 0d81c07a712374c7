//! Both flavours of iptables, each in a network namespace that ends with its thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use host::command::{Invocation, Output, Runner, System};
use host::error::{HostError, Remedy};
use host::iptables::{Family, Flavour, Flush, Found, Iptables, survey};
use nix::fcntl::{Flock, FlockArg};

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

fn both(family: Family) -> Vec<Found> {
    let found = survey(Arc::new(System), family).expect("iptables (Debian package iptables)");
    assert_eq!(found.len(), 2, "both flavours are installed: {found:?}");
    found
}

fn tool(found: &[Found], flavour: Flavour) -> Iptables {
    found.iter().find(|known| known.tool.flavour == flavour).unwrap().tool.clone()
}

const MASQUERADE: [&str; 8] =
    ["-s", "10.5.0.0/16", "-m", "comment", "--comment", "weft's \"masq\"", "-j", "MASQUERADE"];

#[test]
fn a_survey_says_which_flavour_has_rules() {
    in_namespace(|| {
        for known in both(Family::V4) {
            assert_eq!(known.saved.unwrap().rule_count(), 0, "a new namespace is empty");
            assert!(known.in_kernel && known.tool.has_random_fully() && known.tool.restore_waits());
        }
        assert_eq!(both(Family::V4).iter().filter(|known| known.default).count(), 1);
        let legacy = tool(&both(Family::V4), Flavour::Legacy);
        legacy.insert("nat", "POSTROUTING", &MASQUERADE).unwrap();
        for known in both(Family::V4) {
            let rules = known.saved.unwrap().rule_count();
            assert_eq!(rules, usize::from(known.tool.flavour == Flavour::Legacy), "{}", known.tool);
        }
        assert!(both(Family::V6).iter().all(|known| known.saved.as_ref().unwrap().rule_count() == 0));
    });
}

#[test]
fn rules_go_in_and_come_out() {
    for family in [Family::V4, Family::V6] {
        for flavour in [Flavour::Nft, Flavour::Legacy] {
            in_namespace(|| round_trip(&tool(&both(family), flavour)));
        }
    }
}

fn round_trip(tool: &Iptables) {
    let net = if tool.family == Family::V4 { "10.5.0.0/16" } else { "fd00:5::/64" };
    assert_eq!(tool.policy("filter", "FORWARD").unwrap(), "ACCEPT", "{tool}");
    tool.restore(
        &format!("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -s {net} -j ACCEPT\nCOMMIT\n"),
        Flush::Tables,
    )
    .unwrap();
    assert_eq!(tool.policy("filter", "FORWARD").unwrap(), "DROP", "{tool}");

    let rule = format!("-s {net} -m comment --comment \"weft masq\" -j MASQUERADE --random-fully");
    let text =
        format!("*nat\n:WEFT-POST - [0:0]\n-A POSTROUTING -j WEFT-POST\n-A WEFT-POST {rule}\nCOMMIT\n");
    tool.restore(&text, Flush::Declared).unwrap();
    let saved = tool.save("nat").unwrap();
    let nat = saved.table("nat").unwrap();
    assert_eq!(nat.rules_of("WEFT-POST").map(|rule| rule.spec.clone()).collect::<Vec<_>>(), [rule]);
    assert_eq!(nat.rules_of("WEFT-POST").next().unwrap().argument("--comment").unwrap(), "weft masq");
    let holds = |rule: &str| tool.holds(&format!("*nat\n-C {rule}\nCOMMIT\n")).unwrap();
    assert!(holds(&format!("POSTROUTING -j WEFT-POST\n-C WEFT-POST {}", nat.rules[1].spec)));
    for gone in ["POSTROUTING -j ACCEPT", "NOWHERE -j ACCEPT", "POSTROUTING -j NOWHERE"] {
        assert!(!holds(gone), "{gone}");
    }
    assert!(tool.accepts("*nat\n-A WEFT-POST -j RETURN\nCOMMIT\n").unwrap());
    assert!(!tool.accepts("*nat\n-A WEFT-POST -m nothing-like-it -j RETURN\nCOMMIT\n").unwrap());
    assert_eq!(tool.save("nat").unwrap(), saved, "looking changes nothing");
    tool.insert("nat", "POSTROUTING", &["-s", net, "-j", "RETURN"]).unwrap();
    tool.delete("nat", "POSTROUTING", &["-j", "WEFT-POST"]).unwrap();
    let saved = tool.save_all().unwrap();
    let left: Vec<String> =
        saved.table("nat").unwrap().rules_of("POSTROUTING").map(ToString::to_string).collect();
    assert_eq!(left, [format!("-A POSTROUTING -s {net} -j RETURN")]);

    // All or nothing, and the line is named.
    let bad = "*nat\n-A POSTROUTING -j ACCEPT\n-A NOWHERE -j ACCEPT\nCOMMIT\n";
    let error = tool.restore(bad, Flush::Declared).unwrap_err();
    assert!(error.to_string().contains("(-A NOWHERE -j ACCEPT)"), "{tool}: {error}");
    assert_eq!(error.remedy(), Remedy::Resync);
    assert_eq!(tool.save_all().unwrap(), saved, "{tool}");
}

#[test]
fn to_look_makes_no_tables() {
    in_namespace(|| {
        for known in both(Family::V4) {
            known.tool.save("nat").unwrap();
        }
        let names = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap();
        assert_eq!(names, "");
        assert_eq!(host::nftables::Nftables::connect().unwrap().tables().unwrap(), []);
    });
}

/// Runs commands with a lock file of the test's own, so that nobody else on this machine waits.
struct OwnLock(String);

impl Runner for OwnLock {
    fn try_run(&self, invocation: &Invocation) -> Result<Output, HostError> {
        System.try_run(&invocation.clone().env("XTABLES_LOCKFILE", &self.0))
    }
}

/// Somebody else holds the lock for a while; our commands wait for it.
#[test]
fn the_lock_is_waited_for() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let runner = Arc::new(OwnLock(file.path().to_str().unwrap().to_owned()));
    for work in [
        |tool: &Iptables| tool.insert("nat", "POSTROUTING", &["-j", "RETURN"]),
        |tool: &Iptables| tool.restore("*nat\n-A POSTROUTING -j RETURN\nCOMMIT\n", Flush::Declared),
    ] {
        let held = Flock::lock(file.reopen().unwrap(), FlockArg::LockExclusive).map_err(|(_, e)| e).unwrap();
        let runner = runner.clone();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                in_namespace(|| work(&tool(&survey(runner, Family::V4).unwrap(), Flavour::Legacy)))
            });
            // Without -w it fails within a hundredth of this.
            let deadline = Instant::now() + Duration::from_secs(1);
            while Instant::now() < deadline {
                assert!(!waiting.is_finished(), "it did not wait");
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
