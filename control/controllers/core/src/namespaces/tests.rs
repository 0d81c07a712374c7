use std::time::UNIX_EPOCH;

use super::*;

const BEGAN: u64 = 1_800_000_000;

fn after(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(BEGAN + seconds)
}

fn going() -> Value {
    json!({
        "metadata": {"name": "n", "uid": "u", "deletionTimestamp": time::seconds(after(0))},
        "spec": {"finalizers": ["kubernetes", "example.com/other"]}, "status": {"phase": "Terminating"},
    })
}

fn resource(group: &str, plural: &str) -> Resource {
    Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        kind: "K".to_owned(),
        namespaced: true,
        verbs: ["delete".to_owned()].into(),
    }
}

fn said(act: &Act, of: &str) -> (String, String, String) {
    let Write::Update { part: "status", object } = &act.write else { panic!("{act:?}") };
    let condition = object::condition(object, of).expect("it is there");
    let field = |field| text(condition, &[field]).to_owned();
    (field("status"), field("reason"), field("message"))
}

#[test]
fn a_namespace_is_marked_emptied_and_let_go() {
    let mut namespace = going();
    namespace["metadata"]["deletionTimestamp"] = Value::Null;
    assert_eq!(step(&namespace), Step::Nothing);
    let mut namespace = going();
    namespace["status"]["phase"] = "Active".into();
    let Step::Mark(act) = step(&namespace) else { panic!("it is not marked") };
    let Write::Update { part: "status", object } = &act.write else { panic!("{act:?}") };
    assert_eq!(object["status"]["phase"], "Terminating");
    assert_eq!(step(&going()), Step::Empty);
    let Write::Update { part: "finalize", object } = finalize(&going()).write else {
        panic!("not finalized")
    };
    assert_eq!(object["spec"]["finalizers"], json!(["example.com/other"]), "what others hold stays");
    assert_eq!(step(&object), Step::Nothing, "it is theirs now");
}

#[test]
fn pods_go_first_and_only_what_can_be_deleted_goes() {
    let mut review = resource("authorization.k8s.io", "localsubjectaccessreviews");
    review.verbs = ["create".to_owned()].into();
    let mut node = resource("", "nodes");
    node.namespaced = false;
    let all = [resource("", "secrets"), resource("", "pods"), review, node, resource("g", "pods")];
    let (first, rest) = kinds(&all);
    assert_eq!(first, [&all[1]]);
    assert_eq!(rest, [&all[0], &all[4]]);
}

#[test]
fn an_empty_namespace_is_looked_at_once_more_after_a_while() {
    let pass = Pass::default();
    assert_eq!(pass.end(&going(), after(0)), End::Again(Duration::from_secs(2)));
    assert_eq!(pass.end(&going(), after(2)), End::Empty);
    let act = pass.conditions(&going(), after(2)).expect("conditions are new");
    let good = [
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions"),
        ("NamespaceDeletionContentFailure", "ContentDeleted"),
        ("NamespaceContentRemaining", "ContentRemoved"),
        ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers"),
    ];
    for (of, reason) in good {
        let (is, why, _) = said(&act, of);
        assert_eq!((&*is, &*why), ("False", reason), "{of}");
    }
    let Write::Update { object, .. } = act.write else { panic!("not an update") };
    assert_eq!(pass.conditions(&object, after(9)), None, "nothing new to say");
}

#[test]
fn pods_have_their_grace_and_what_has_finalizers_is_named() {
    let mut pass = Pass::default();
    let pod = |grace: i64, phase: &str| {
        Arc::new(json!({"spec": {"terminationGracePeriodSeconds": grace}, "status": {"phase": phase}}))
    };
    pass.left(&resource("", "pods"), &going(), &[pod(30, "Running"), pod(600, "Failed")], after(3));
    assert_eq!(pass.end(&going(), after(3)), End::Again(Duration::from_secs(16)));
    let held = Arc::new(json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}}));
    pass.left(&resource("g", "things"), &going(), &[Arc::clone(&held), held], after(3));
    let act = pass.conditions(&going(), after(3)).expect("there is something to say");
    assert_eq!(
        said(&act, "NamespaceContentRemaining"),
        (
            "True".to_owned(),
            "SomeResourcesRemain".to_owned(),
            "Some resources are remaining: pods. has 2 resource instances, things.g has 2 resource instances"
                .to_owned()
        )
    );
    assert_eq!(
        said(&act, "NamespaceFinalizersRemaining").2,
        "Some content in the namespace has finalizers remaining: example.com/a in 2 resource instances, \
         example.com/b in 2 resource instances"
    );
}

#[test]
fn what_stays_without_a_reason_and_what_fails_is_said_and_tried_again() {
    let mut pass = Pass::default();
    pass.left(&resource("", "pods"), &going(), &[Arc::new(json!({}))], after(40));
    pass.failed("no luck".to_owned());
    pass.undiscovered(1, "metrics.k8s.io/v1beta1: the server is currently unable to handle the request");
    assert_eq!(pass.end(&going(), after(40)), End::Failed);
    let act = pass.conditions(&going(), after(40)).expect("there is something to say");
    assert_eq!(
        said(&act, "NamespaceDeletionContentFailure").2,
        "Failed to delete all resource types, 2 remaining: no luck, unexpected items still remain in namespace: n for \
         gvr: /v1, Resource=pods"
    );
    assert_eq!(said(&act, "NamespaceDeletionDiscoveryFailure").1, "DiscoveryFailed");
}
