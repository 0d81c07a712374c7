//! Every request of `tests/apiserver` to our API server and to the original: status, headers and bodies are the same, but
//! for what `tests/apiserver/differences.yaml` lists with its reasons.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin). WEFT_COMPARE_REPORT names a file for what differs.

use tests::apiserver::Pair;
use tests::apiserver::difference::Allowed;
use tests::apiserver::generated;
use tests::apiserver::scenario::{Report, Theme};

fn compare(themes: impl IntoIterator<Item = Theme>) {
    let pair = Pair::up(&[]);
    let allowed = Allowed::read();
    let mut report = Report::default();
    for theme in themes {
        report.run(&pair, &theme, &allowed);
    }
    report.check();
}

#[test]
fn config_maps_are_served_as_the_original_serves_them() {
    compare([Theme::read("configmaps")]);
}

#[test]
fn patches_and_applies_make_what_the_original_makes() {
    compare([Theme::read("patches"), Theme::read("apply")]);
}

#[test]
fn deletions_of_every_sort_end_as_with_the_original() {
    compare([Theme::read("deletions")]);
}

#[test]
fn discovery_and_health_are_the_originals() {
    compare([Theme::read("discovery")]);
}

#[test]
fn access_is_granted_and_refused_in_the_originals_words() {
    compare([Theme::read("access")]);
}

#[test]
fn an_object_of_every_kind_lives_as_with_the_original() {
    compare(generated::samples().iter().map(generated::life));
}

#[test]
fn every_fault_of_an_object_is_refused_in_the_originals_words() {
    compare(generated::samples().iter().map(generated::mutations));
}
