use super::*;
use serde_json::json;

fn there(file: &File) -> Result<(), String> {
    match file.ends_with("none") {
        true => Err(format!("error loading file: stat {}: no such file or directory", file.display())),
        false => Ok(()),
    }
}

fn chain(authorizers: Value) -> Result<Vec<Authorizer>, String> {
    let kind = "AuthorizationConfiguration";
    let document =
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind, "authorizers": authorizers});
    read(&document, &there)
}

fn webhook(more: Value) -> Value {
    let mut settings = json!({
        "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/k"},
    });
    for (field, value) in more.as_object().expect("fields") {
        settings[field] = value.clone();
    }
    json!({"type": "Webhook", "name": "hook", "webhook": settings})
}

#[test]
fn a_chain_is_read_with_its_defaults() {
    let conditions = json!({
        "matchConditionSubjectAccessReviewVersion": "v1", "cacheUnauthorizedRequests": false,
        "matchConditions": [{"expression": "request.user != 'root'"}],
    });
    let read = chain(json!([
        webhook(conditions),
        {"type": "Node", "name": "node"},
        {"type": "RBAC", "name": "rbac"},
    ]))
    .expect("a chain");
    let [Authorizer::Webhook(hook), Authorizer::Mode(Mode::Node), Authorizer::Mode(Mode::Rbac)] =
        read.as_slice()
    else {
        panic!("{read:?}");
    };
    assert_eq!((hook.name.as_str(), hook.kubeconfig.as_str()), ("hook", "/k"));
    assert_eq!((hook.authorized, hook.unauthorized), (AUTHORIZED, Duration::ZERO));
    assert_eq!((hook.timeout, hook.on_failure), (Duration::from_secs(3), Decision::Deny));
    assert_eq!(hook.conditions.len(), 1);
}

#[test]
fn a_chain_that_makes_no_sense_is_refused_in_the_originals_words() {
    let cases = [
        (json!([]), "authorizers: Required value: at least one authorization mode must be defined"),
        (json!([{"name": "x"}]), "authorizers[0].type: Required value"),
        (
            json!([{"type": "Foo", "name": "x"}]),
            "authorizers[0].type: Unsupported value: \"Foo\": supported values: ",
        ),
        (
            json!([{"type": "RBAC", "name": "rbac"}, {"type": "RBAC", "name": "b"}]),
            "authorizers[1].type: Duplicate value: \"RBAC\"",
        ),
        (json!([{"type": "RBAC"}]), "authorizers[0].name: Required value"),
        (json!([{"type": "RBAC", "name": "x"}]), "expected name rbac for authorizer RBAC instead of x"),
        (json!([webhook(json!({})), webhook(json!({}))]), "authorizers[1].name: Duplicate value: \"hook\""),
        (
            json!([{"type": "Webhook", "name": "A"}]),
            "authorizers[0].name: Invalid value: \"A\": authorizer name is invalid: a lowercase RFC 1123 subdomain",
        ),
        (
            json!([{"type": "Webhook", "name": "a"}]),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        (
            json!([{"type": "RBAC", "name": "rbac", "webhook": {}}]),
            "authorizers[0].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook",
        ),
        (json!([webhook(json!({"timeout": "0s"}))]), "authorizers[0].timeout: Required value"),
        (
            json!([webhook(json!({"timeout": "31s"}))]),
            "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s",
        ),
        (
            json!([webhook(json!({"authorizedTTL": "-1s"}))]),
            "authorizers[0].authorizedTTL: Invalid value: \"-1s\": must be > 0s",
        ),
        (
            json!([webhook(json!({"subjectAccessReviewVersion": "v2"}))]),
            "authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
        ),
        (
            json!([webhook(json!({"failurePolicy": "Allow"}))]),
            "authorizers[0].failurePolicy: Unsupported value: \"Allow\": supported values: \"NoOpinion\", \"Deny\"",
        ),
        (
            json!([webhook(json!({"matchConditions": [{"expression": "true"}]}))]),
            "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
        ),
        (
            json!([webhook(json!({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "k"}}))]),
            "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"k\": must be an absolute path",
        ),
        (
            json!([webhook(
                json!({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/none"}})
            )]),
            "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/none\": error loading file: stat /none: no such file",
        ),
    ];
    for (authorizers, words) in cases {
        let error = chain(authorizers).expect_err(words);
        assert!(error.contains(words), "{words} in {error}");
    }
}

#[test]
fn conditions_that_make_no_sense_are_refused() {
    let conditions = |expressions: &[&str]| {
        let all: Vec<_> = expressions.iter().map(|one| json!({"expression": one})).collect();
        chain(json!([webhook(
            json!({"matchConditionSubjectAccessReviewVersion": "v1", "matchConditions": all})
        )]))
    };
    assert!(conditions(&["request.user == 'a'"]).is_ok());
    for (expressions, words) in [
        (&[" "][..], "matchConditions[0].expression: Required value"),
        (&["true", "true"], "matchConditions[1].expression: Duplicate value: \"true\""),
        (&["'a'"], "matchConditions[0].expression: Invalid value: \"'a'\": must evaluate to bool"),
        (&["user == 'a'"], "matchConditions[0].expression: Invalid value: \"user == 'a'\""),
        (&["true"; 65], "matchConditions: Too many: 65: must have at most 64 items"),
    ] {
        let error = conditions(expressions).expect_err(words);
        assert!(error.contains(words), "{words} in {error}");
    }
}

#[test]
fn fields_that_are_not_known_are_refused() {
    let unknown = chain(json!([webhook(json!({"timeoutSeconds": 3}))])).expect_err("unknown");
    let words = "failed to load AuthorizationConfiguration from file: strict decoding error: unknown field `timeoutSeconds`";
    assert!(unknown.starts_with(words), "{unknown}");
    assert!(
        chain(json!([webhook(json!({"timeout": "3"}))]))
            .expect_err("no unit")
            .contains("time: invalid duration \"3\"")
    );
}
