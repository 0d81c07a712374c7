//! Our API server beside the original, the short part: scripts/compare runs all of it.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use tests::apiserver::difference::Allowed;
use tests::apiserver::scenario::{Report, Theme};
use tests::apiserver::{Pair, generated, kubectl};

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
