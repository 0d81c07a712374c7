//! Selectors of labels and fields: no text breaks the readers, and what was read is written and read again.
#![no_main]

use std::collections::BTreeMap;

use apiclient_core::selector::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("n".to_owned(), "7".to_owned())]);
    if let Ok(selector) = text.parse::<LabelSelector>() {
        let again: LabelSelector = selector.to_string().parse().expect("our own text");
        assert_eq!(again.matches(&labels), selector.matches(&labels), "{text:?}");
    }
    if let Ok(selector) = text.parse::<FieldSelector>() {
        let value = |field: &str| if field == "metadata.name" { "a" } else { "" };
        let again: FieldSelector = selector.to_string().parse().expect("our own text");
        assert_eq!(again.matches(value), selector.matches(value), "{text:?}");
    }
});
