//! Who may do what, beside the original, where others know it: issuers of tokens, webhooks, a file that names a chain of
//! authorizers.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin). WEFT_COMPARE_REPORT names a file for what differs.

use serde_json::{Value, json};
use tests::apiserver::Pair;
use tests::apiserver::difference::Allowed;
use tests::apiserver::issuer::Issuer;
use tests::apiserver::scenario::{Report, Step, Theme};
use tests::wait::until;

const NAMESPACE: &str = "/api/v1/namespaces/default";
const TOKENS_VERSION: &str = "--authentication-token-webhook-version=v1";

fn check(pair: &Pair, name: &str, steps: Vec<Step>) {
    let mut report = Report::default();
    report.run(pair, &Theme { name: name.to_owned(), steps }, &Allowed::read());
    report.check();
}

/// Whom a token means, and why another means nobody: asked by the token itself, and by a TokenReview.
fn questions(name: &str, token: &str) -> [Step; 2] {
    let own = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let review = json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token},
    });
    let ask = |what: &str, body: &Value| {
        Step::json(
            format!("{name}, {what}"),
            &format!("POST /apis/authentication.k8s.io/v1/{what}s"),
            Some(body),
        )
    };
    let mut own = ask("selfsubjectreview", &own).header("Authorization", &format!("Bearer {token}"));
    own.user = "nobody".to_owned();
    [own, ask("tokenreview", &review)]
}

#[test]
fn tokens_of_other_issuers_mean_whom_they_mean_to_the_original() {
    let (plain, mapped, other) = (Issuer::up(), Issuer::up(), Issuer::up());
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": plain.entry(&["weft", "loom"]),
                "claimValidationRules": [{"claim": "hd", "requiredValue": "x"}],
                "claimMappings": {
                    "username": {"claim": "email", "prefix": "plain:"},
                    "groups": {"claim": "groups", "prefix": "g:"},
                    "uid": {"claim": "oid"},
                },
            },
            {
                "issuer": mapped.entry(&["weft"]),
                "claimMappings": {
                    "username": {"expression": "'mapped:' + claims.sub"},
                    "groups": {"expression": "claims.?roles.orValue([])"},
                    "extra": [{"key": "acme.io/team", "valueExpression": "claims.?deep.team.orValue([])"}],
                },
                "claimValidationRules": [
                    {"expression": "claims.exp - claims.iat <= 3600", "message": "too long a life"},
                ],
                "userValidationRules": [
                    {"expression": "!user.username.contains('system:')", "message": "reserved"},
                ],
            },
        ],
        "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]},
    });
    let pair = Pair::up(&[&plain.flag(&configuration)]);
    let good = json!({"email": "ann@x", "hd": "x", "oid": "7", "groups": ["a", "b"], "jti": "id"});
    let more = |more: Value| {
        let mut claims = good.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        plain.token(&claims)
    };
    let cases = [
        ("a good one", plain.token(&good)),
        ("one group", more(json!({"groups": "a"}))),
        ("no groups", more(json!({"groups": null}))),
        ("no such groups", more(json!({"groups": 5}))),
        ("of another audience", more(json!({"aud": ["a", "b"]}))),
        ("of several audiences", more(json!({"aud": ["a", "loom"]}))),
        ("one whose time is over", more(json!({"exp": 1_500_000_000}))),
        ("a mail that was not verified", more(json!({"email_verified": false}))),
        ("a mail that somebody verified", more(json!({"email_verified": true}))),
        ("a name that is none", more(json!({"email": 5}))),
        ("another required claim", more(json!({"hd": "y"}))),
        ("without a uid", plain.token(&json!({"email": "ann@x", "hd": "x"}))),
        ("without claims", plain.token(&json!({}))),
        ("an issuer that nobody knows", other.token(&good)),
        ("another's key", other.token(&json!({"iss": plain.url(), "email": "ann@x", "hd": "x"}))),
        (
            "by expressions",
            mapped.token(&json!({"sub": "ann", "roles": ["a", "", "b"], "deep": {"team": ["t", ""]}})),
        ),
        ("by expressions, without", mapped.token(&json!({"sub": "ann"}))),
        ("no claim for an expression", mapped.token(&json!({"roles": ["a"]}))),
        ("a life that is too long", mapped.token(&json!({"sub": "ann", "iat": 1_500_000_000}))),
        ("a reserved name", mapped.token(&json!({"sub": "system:ann"}))),
        ("no token", "a.b.c".to_owned()),
    ];
    // Both ask the issuers for their keys after they serve.
    let asked = [&plain.token(&good), &mapped.token(&json!({"sub": "ann"}))];
    for side in [&pair.original, &pair.ours] {
        for token in asked {
            until("the issuer's keys to be known", || {
                let headers = [("Authorization".to_owned(), format!("Bearer {token}"))];
                let answer = side.client().ask("GET", "/version", &headers, &[]).ok()?;
                (answer.status == 200).then_some(())
            });
        }
    }
    let mut steps: Vec<Step> = cases.iter().flat_map(|(name, token)| questions(name, token)).collect();
    for path in ["/livez", "/livez/ping", "/version"] {
        let mut step = Step::json(format!("nobody at {path}"), &format!("GET {path}"), None);
        step.user = "nobody".to_owned();
        steps.push(step);
    }
    check(&pair, "issuers", steps);
}

/// As the user whom the webhook knows.
fn friend(name: &str, ask: &str, body: Option<&Value>) -> Step {
    let mut step = Step::json(name, ask, body).header("Authorization", "Bearer friends-token");
    step.user = "nobody".to_owned();
    step
}

/// What the friend may do, asked by the administrator.
fn review(attributes: &Value) -> Step {
    let review = json!({
        "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": {"user": "friend", "resourceAttributes": attributes},
    });
    let path = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews";
    Step::json(format!("whether a friend may do this: {attributes}"), path, Some(&review))
}

fn own_rules() -> Step {
    let rules = json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": {"namespace": "default"},
    });
    let path = "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    friend("the rules of one who may ask for them", path, Some(&rules))
}

#[test]
fn webhooks_decide_and_know_tokens_as_with_the_original() {
    let hook = Issuer::up();
    let pair = Pair::up(&[
        "--authorization-mode=Webhook",
        &format!("--authorization-webhook-config-file={}", hook.kubeconfig("rights")),
        "--authorization-webhook-version=v1",
        &format!("--authentication-token-webhook-config-file={}", hook.kubeconfig("tokens")),
        TOKENS_VERSION,
    ]);
    let tokens = ["friends-token", "late-token", "strange-token"];
    let mut steps: Vec<Step> = tokens.iter().flat_map(|token| questions(token, token)).collect();
    for (name, request) in [
        ("what is allowed", format!("GET {NAMESPACE}/configmaps/none")),
        ("a list that is allowed", format!("GET {NAMESPACE}/configmaps?labelSelector=a%3Dnone")),
        ("what is denied", format!("GET {NAMESPACE}/secrets/none")),
        ("what others decide", format!("GET {NAMESPACE}/pods/none")),
        ("a path", "GET /metrics".to_owned()),
    ] {
        steps.push(friend(name, &request, None));
    }
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "new"}});
    let update = format!("PUT {NAMESPACE}/configmaps/new");
    steps.push(friend("an update that would create", &update, Some(&map)));
    steps.push(own_rules());
    for (resource, verb) in [("configmaps", "get"), ("secrets", "get"), ("pods", "list")] {
        steps.push(review(&json!({"resource": resource, "verb": verb})));
    }
    check(&pair, "webhooks", steps);
}

/// A webhook of a chain.
fn authorizer(name: &str, kubeconfig: &str, on_failure: &str, condition: &str) -> Value {
    json!({"type": "Webhook", "name": name, "webhook": {
        "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": on_failure,
        "matchConditionSubjectAccessReviewVersion": "v1",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig},
        "matchConditions": [{"expression": condition}],
    }})
}

fn chain(authorizers: &[Value]) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": authorizers,
    })
}

#[test]
fn a_chain_of_authorizers_decides_as_with_the_original() {
    let hook = Issuer::up();
    let rights = hook.kubeconfig("rights");
    let about = |resources: &str| {
        format!("has(request.resourceAttributes) && request.resourceAttributes.resource in {resources}")
    };
    // Where the rest of a condition holds, it cannot be said whether the whole does: the policy for failures counts.
    let fails = |condition: &str| format!("{condition} && request.nonResourceAttributes.path == '/'");
    let rbac = json!({"type": "RBAC", "name": "rbac"});
    let friends = format!("request.user == 'friend' && {}", about("['configmaps', 'secrets', 'pods']"));
    let groups = format!("'friends' in request.groups && {}", about("['events']"));
    let labels = "request.resourceAttributes.?labelSelector.requirements.orValue([])";
    let selected = format!("{} && {labels}.exists(r, r.key == 'a')", about("['endpoints']"));
    let (strict, lenient) = (about("['replicationcontrollers']"), about("['services']"));
    let path = "request.user == 'friend' && request.resourceAttributes.verb == 'x'";
    let first = chain(&[
        authorizer("friends", &rights, "Deny", &friends),
        authorizer("groups", &rights, "Deny", &fails(&groups)),
        authorizer("selected", &rights, "Deny", &fails(&selected)),
        authorizer("strict", &rights, "Deny", &fails(&strict)),
        authorizer("lenient", &rights, "NoOpinion", &fails(&lenient)),
        authorizer("as-lenient", &rights, "NoOpinion", &fails(&lenient)),
        authorizer("paths", &rights, "Deny", path),
        rbac.clone(),
    ]);
    let pair = Pair::up(&[
        &hook.authorization_flag(&first),
        &format!("--authentication-token-webhook-config-file={}", hook.kubeconfig("tokens")),
        TOKENS_VERSION,
    ]);
    let mut steps = Vec::new();
    for (name, request) in [
        ("what the first allows", format!("GET {NAMESPACE}/configmaps/none")),
        ("what the first denies", format!("GET {NAMESPACE}/secrets/none")),
        ("what the first leaves to others", format!("GET {NAMESPACE}/pods/none")),
        ("a group that one fails for", format!("GET {NAMESPACE}/events/none")),
        ("a selection that one fails for", format!("GET {NAMESPACE}/endpoints?labelSelector=a%3Db")),
        ("another selection", format!("GET {NAMESPACE}/endpoints?labelSelector=b%3Da")),
        ("what a strict one fails for", format!("GET {NAMESPACE}/replicationcontrollers/none")),
        ("what a lenient one fails for", format!("GET {NAMESPACE}/services/none")),
        ("a path of which a condition cannot say", "GET /metrics".to_owned()),
        ("a path that is everybody's", "GET /version".to_owned()),
    ] {
        steps.push(friend(name, &request, None));
    }
    let mut alice =
        Step::json("one of whom no condition holds", &format!("GET {NAMESPACE}/secrets/none"), None);
    alice.user = "alice".to_owned();
    steps.push(alice);
    steps.push(own_rules());
    for resource in ["configmaps", "secrets", "pods", "replicationcontrollers", "services"] {
        steps.push(review(&json!({"resource": resource, "verb": "get", "namespace": "default"})));
    }
    check(&pair, "chain", steps);

    hook.authorization_flag(&chain(&[authorizer("friends", &rights, "Deny", &about("['secrets']")), rbac]));
    let asked = friend("what nobody allows any more", &format!("GET {NAMESPACE}/configmaps/none"), None);
    for side in [&pair.original, &pair.ours] {
        until("the other chain to decide", || {
            let answer = side.client().ask("GET", &asked.path, &asked.headers, &[]).ok()?;
            (answer.status == 403).then_some(())
        });
    }
    let denied = friend("what it still denies", &format!("GET {NAMESPACE}/secrets/none"), None);
    check(&pair, "another chain", vec![asked, denied]);
}
