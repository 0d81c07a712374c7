//! The shorter part of compare_kubectl: what kubectl 1.36 does first on every cluster.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use tests::apiserver::difference::Allowed;
use tests::apiserver::{Pair, kubectl};

#[test]
fn kubectls_usual_commands_say_the_same_over_both_servers() {
    let lines: Vec<_> = kubectl::lines().into_iter().filter(|line| line.short).collect();
    let found = kubectl::differences(&Pair::up(&[]), &lines, &Allowed::read());
    assert!(found.is_empty(), "{found}");
}
