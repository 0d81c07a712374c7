use super::*;

fn list(query: &str) -> Result<ListOptions, String> {
    ListOptions::decode(&Query::parse(query), false).map_err(|status| status.message)
}

#[test]
fn combinations_that_make_no_sense_are_refused_in_the_originals_words() {
    let refused = |query: &str, want: &str| {
        let want = format!("ListOptions.meta.k8s.io \"\" is invalid: {want}");
        assert_eq!(list(query).expect_err(query), want, "{query}");
    };
    refused(
        "resourceVersionMatch=Exact",
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
    refused(
        "resourceVersionMatch=Exact&resourceVersion=0",
        "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
    );
    refused(
        "resourceVersionMatch=Foo&resourceVersion=1",
        "resourceVersionMatch: Unsupported value: \"Foo\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
    );
    refused("sendInitialEvents=1", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
    refused(
        "watch=1&sendInitialEvents=1",
        "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
    assert!(list("resourceVersionMatch=Exact&resourceVersion=7").is_ok());
}

#[test]
fn a_watch_from_no_version_begins_with_what_there_is() {
    let options = list("watch=1").expect("options");
    assert_eq!((options.initial_events, options.version_match.as_str()), (Some(true), NOT_OLDER));
    assert_eq!(list("watch=1&resourceVersion=5").expect("options").initial_events, None);
    assert_eq!(list("resourceVersion=0").expect("options").initial_events, None);
}

#[test]
fn a_write_says_how_it_is_meant() {
    let of = |query: &str, write| WriteOptions::decode(&Query::parse(query), write);
    let options = of("dryRun=All&fieldManager=m&fieldValidation=Strict", Write::Create).expect("options");
    assert!(options.dry_run && options.manager == "m" && options.validation == FieldValidation::Strict);
    let message = |query: &str, write| of(query, write).expect_err(query).message;
    assert_eq!(
        message("", Write::Apply),
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    assert_eq!(
        message("force=1", Write::Patch),
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    assert_eq!(
        message("dryRun=Some", Write::Update),
        "UpdateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
    );
}

#[test]
fn a_program_is_the_manager_by_its_agent() {
    assert_eq!(manager_of_agent("kubectl/v1.36 (linux)"), "kubectl");
    assert_eq!(manager_of_agent("a\nb"), "ab");
    assert_eq!(manager_of_agent(&"x".repeat(500)).len(), MANAGER);
}
