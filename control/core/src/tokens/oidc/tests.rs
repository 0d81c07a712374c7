use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::config::{Flags, of_flags, read};
use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn flags() -> Flags {
    Flags {
        issuer_url: "https://id.example".to_owned(),
        client_id: "weft".to_owned(),
        username_claim: "sub".to_owned(),
        ..Flags::default()
    }
}

fn claims(more: Value) -> Value {
    let mut all = json!({"iss": "https://id.example", "aud": "weft", "sub": "ann", "exp": NOW + 60});
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}

/// An issuer of a file, with more of its one entry.
fn configured(more: &Value) -> Result<Issuer, String> {
    let mut entry = json!({
        "issuer": {"url": "https://id.example", "audiences": ["weft"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    });
    for (name, value) in more.as_object().expect("an object") {
        entry[name] = value.clone();
    }
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [entry],
    });
    read(&file, &["https://own.example".to_owned()])
        .map(|found| found.issuers.into_iter().next().expect("one"))
}

#[test]
fn claims_mean_a_user_as_the_flags_say() {
    let user = |flags: Flags, more: Value| of_flags(flags, &[]).expect("flags").user(&claims(more), now());
    assert_eq!(user(flags(), json!({})).expect("ann").name, "https://id.example#ann");
    let plain = || Flags { username_prefix: "-".to_owned(), ..flags() };
    assert_eq!(user(plain(), json!({})).expect("ann").name, "ann");
    let grouped = || Flags { groups_claim: "g".to_owned(), groups_prefix: "p:".to_owned(), ..plain() };
    assert_eq!(user(grouped(), json!({"g": ["a", "b"]})).expect("ann").groups, ["p:a", "p:b"]);
    assert_eq!(user(grouped(), json!({"g": "a", "jti": "7"})).expect("ann").groups, ["p:a"]);
    let extra = user(grouped(), json!({"jti": "7"})).expect("ann").extra;
    assert_eq!(extra["authentication.kubernetes.io/credential-id"], ["JTI=7"]);
    let by_mail = || Flags { username_claim: "email".to_owned(), ..flags() };
    assert_eq!(user(by_mail(), json!({"email": "a@b"})).expect("ann").name, "a@b");
    let required = Flags { required_claims: vec![("hd".to_owned(), "x".to_owned())], ..plain() };
    for (flags, more, why) in [
        (by_mail(), json!({"email": "a@b", "email_verified": false}), "oidc: email not verified"),
        (by_mail(), json!({}), "oidc: parse username claims \"email\": claim not present"),
        (plain(), json!({"aud": ["x"]}), "oidc: verify token: oidc: expected audience \"weft\" got [\"x\"]"),
        (
            plain(),
            json!({"exp": NOW - 1}),
            "oidc: verify token: oidc: token is expired (Token Expiry: 2027-01-15 07:59:59 +0000 UTC)",
        ),
        (
            plain(),
            json!({"nbf": NOW + 61}),
            "oidc: verify token: oidc: current time 2027-01-15 08:00:00 +0000 UTC before the nbf (not before) time: \
             2027-01-15 08:01:01 +0000 UTC",
        ),
        (
            grouped(),
            json!({"g": 5}),
            "oidc: parse groups claim \"g\": json: cannot unmarshal number into Go value of type string",
        ),
        (required.clone(), json!({}), "oidc: required claim hd not present in ID token"),
        (required, json!({"hd": "y"}), "oidc: required claim hd value does not match. Got = y, want = x"),
    ] {
        assert_eq!(user(flags, more), Err(BadToken(why.to_owned())));
    }
}

#[test]
fn the_groups_may_stand_in_another_token() {
    let grouped = || Flags { groups_claim: "g".to_owned(), ..flags() };
    let of = |flags: Flags, more: Value| of_flags(flags, &[]).expect("flags").distributed(&claims(more));
    let (names, sources) = (json!({"g": "a"}), json!({"a": {"endpoint": "https://e", "access_token": "t"}}));
    let found = of(grouped(), json!({"_claim_names": names, "_claim_sources": sources}));
    let (endpoint, access_token) = ("https://e".to_owned(), "t".to_owned());
    assert_eq!(found, Ok(Some(Distributed { claim: "g".to_owned(), endpoint, access_token })));
    for more in [
        json!({}),
        json!({"_claim_names": {"other": "a"}, "_claim_sources": sources}),
        json!({"g": [], "_claim_names": names, "_claim_sources": sources}),
        json!({"_claim_names": names, "_claim_sources": {"a": {"JWT": "x"}}}),
    ] {
        assert_eq!(of(grouped(), more.clone()), Ok(None), "{more}");
    }
    let not_asked_for = of(flags(), json!({"_claim_names": names, "_claim_sources": sources}));
    assert_eq!(not_asked_for, Ok(None));
    for (more, why) in [
        (json!({"_claim_names": names}), "oidc: no claim sources"),
        (
            json!({"_claim_names": names, "_claim_sources": {}}),
            "id token _claim_names contained a source a missing in _claims_sources",
        ),
    ] {
        let why = format!("oidc: could not expand distributed claims: {why}");
        assert_eq!(of(grouped(), more), Err(BadToken(why)));
    }
}

#[test]
fn expressions_map_and_check_claims() {
    let issuer = configured(&json!({
        "claimMappings": {
            "username": {"expression": "'u:' + claims.sub"},
            "groups": {"expression": "claims.roles.split(',')"},
            "uid": {"claim": "oid"},
            "extra": [{"key": "acme.io/team", "valueExpression": "claims.?team.orValue('')"}],
        },
        "claimValidationRules": [
            {"claim": "hd", "requiredValue": "x"},
            {"expression": "claims.exp - claims.iat <= 86400", "message": "too long a life"},
        ],
        "userValidationRules": [{"expression": "!user.username.startsWith('u:system')", "message": "reserved"}],
    }));
    let issuer = issuer.expect("legal");
    let user = |more: Value| {
        let mut all = claims(json!({"roles": "a,,b", "oid": "1", "hd": "x", "iat": NOW}));
        all.as_object_mut().expect("claims").extend(more.as_object().expect("an object").clone());
        issuer.user(&all, now())
    };
    let found = user(json!({"team": "red"})).expect("ann");
    assert_eq!((found.name.as_str(), found.uid.as_str()), ("u:ann", "1"));
    assert_eq!(found.groups, ["a", "b"]);
    assert_eq!(found.extra["acme.io/team"], ["red"]);
    for (more, why) in [
        (
            json!({"iat": NOW - 100_000}),
            "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= \
             86400' failed: too long a life",
        ),
        (
            json!({"sub": "system:x"}),
            "oidc: error evaluating user info validation rule: validation expression \
             '!user.username.startsWith('u:system')' failed: reserved",
        ),
        (
            json!({"roles": 5}),
            "oidc: error evaluating group claim expression: expression 'claims.roles.split(',')' resulted in error: \
             no such overload",
        ),
    ] {
        assert_eq!(user(more), Err(BadToken(why.to_owned())));
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_in_the_originals_words() {
    let prefix =
        "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
    for (more, why) in [
        (
            json!({"claimMappings": {}}),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            json!({"claimMappings": {"username": {"claim": "sub"}}}),
            &*format!("jwt[0].claimMappings.username.prefix: Required value: {prefix}"),
        ),
        (
            json!({"issuer": {"url": "http://x", "audiences": ["a"]}}),
            "jwt[0].issuer.url: Invalid value: \"http://x\": URL scheme must be https",
        ),
        (
            json!({"issuer": {"url": "https://own.example", "audiences": ["a"]}}),
            "jwt[0].issuer.url: Invalid value: \"https://own.example\": URL must not overlap with disallowed issuers: \
             [https://own.example]",
        ),
        (
            json!({"issuer": {"url": "https://x", "audiences": ["a", "b"]}}),
            "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple \
             audiences",
        ),
        (
            json!({"claimValidationRules": [{"claim": "a", "expression": "true"}]}),
            "jwt[0].claimValidationRules[0]: Invalid value: \"a\": claim and expression can't both be set",
        ),
        (json!({"userValidationRules": [{}]}), "jwt[0].userValidationRules[0].expression: Required value"),
    ] {
        assert_eq!(configured(&more).expect_err("illegal"), why);
    }
    let mail = json!({"claimMappings": {"username": {"expression": "claims.email"}}});
    assert!(configured(&mail).expect_err("unverified").contains("claims.email_verified must be used"));
    let verified = json!({
        "claimMappings": {"username": {"expression": "claims.email"}},
        "claimValidationRules": [{"expression": "claims.?email_verified.orValue(true) == true"}],
    });
    assert!(configured(&verified).is_ok());
    assert!(configured(&json!({"issuerr": {}})).expect_err("unknown").contains("unknown field `issuerr`"));
    let extra = |key: &str| {
        json!({"claimMappings": {
            "username": {"claim": "sub", "prefix": ""}, "extra": [{"key": key, "valueExpression": "'x'"}],
        }})
    };
    assert!(configured(&extra("a.k8s.io/x")).expect_err("reserved").contains("reserved for Kubernetes use"));
    assert!(configured(&extra("acme.io/X")).expect_err("upper case").contains("must be lowercase"));
    assert!(configured(&extra("acme.io/x")).is_ok());
}
