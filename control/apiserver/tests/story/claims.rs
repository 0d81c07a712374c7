//! What a client was told, and whether it is in the history.

use super::{END, Objects, Seen, Story, Told};
use crate::common::Events;

/// An answer to be compared with the history.
#[derive(Debug)]
pub enum Claim {
    Wrote {
        name: String,
        version: i64,
        value: Option<String>,
    },
    Read {
        name: String,
        found: Option<Seen>,
        floor: i64,
    },
    /// `exactly`: the version that was asked for; `floor`: it must not be older.
    Listed {
        version: i64,
        objects: Objects,
        selected: bool,
        exactly: Option<i64>,
        floor: i64,
    },
    /// An update of an old version was refused.
    Refused {
        name: String,
        known: i64,
        floor: i64,
    },
}

pub fn check(story: &Story, claim: &Claim) {
    match claim {
        Claim::Wrote { name, version, value } => {
            assert!(story.has(name, *version, value.as_deref()), "not in the history: {claim:?}");
        }
        Claim::Read { name, found, floor } => {
            assert!(story.was(name, found.as_ref(), *floor), "older than what was acknowledged: {claim:?}");
        }
        Claim::Listed { version, objects, selected, exactly, floor } => {
            let mut want = story.at(*version);
            want.retain(|_, seen| !selected || seen.even);
            assert_eq!(objects, &want, "a list of {version}");
            assert!(version >= floor, "older than what was acknowledged: {claim:?}");
            assert!(exactly.is_none_or(|exactly| exactly == *version), "{claim:?}");
        }
        Claim::Refused { name, known, floor } => {
            // It was another one at some time since.
            let was_same = story.at(*floor).get(name).is_some_and(|seen| seen.version == *known);
            let changed = story.told(*floor, false).iter().any(|(_, own, ..)| own == name);
            assert!(!was_same || changed, "refused without a reason: {claim:?}");
        }
    }
}

/// Every line of a watch is the history's, and no bookmark is ahead of what comes after it.
pub async fn check_watch(story: &Story, events: &mut Events, after: Option<i64>, selected: bool) {
    let mut after = after;
    let (mut initial, mut told, mut seen) = (Objects::new(), Vec::<Told>::new(), after.unwrap_or(0));
    loop {
        let event = events.next().await.expect("a watch that lasts");
        let object = &event["object"];
        let (own, name) =
            (Seen::of(object), object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        let kind = match event["type"].as_str().unwrap_or_default() {
            "BOOKMARK" if after.is_none() => {
                assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
                let mut want = story.at(own.version);
                want.retain(|_, seen| !selected || seen.even);
                assert_eq!(initial, want, "the initial events of {}", own.version);
                (after, seen) = (Some(own.version), own.version);
                continue;
            }
            "BOOKMARK" => {
                assert!(own.version >= seen, "a bookmark goes back: {} after {seen}", own.version);
                seen = own.version;
                continue;
            }
            "ADDED" if after.is_none() => {
                assert!(initial.insert(name, own).is_none());
                continue;
            }
            "ADDED" => "ADDED",
            "MODIFIED" => "MODIFIED",
            "DELETED" => "DELETED",
            _ => panic!("{event}"),
        };
        assert!(own.version > seen, "{event} after {seen}");
        seen = own.version;
        let last = name == END;
        told.push((kind, name, own.version, own.value));
        if last {
            break;
        }
    }
    assert_eq!(told, story.told(after.unwrap(), selected));
}
