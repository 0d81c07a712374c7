//! What is told of a body that is not as its kind is declared: the original's words, as its strict decoder (1.36.3) gave
//! them for the same bodies.

use control_schema::builtin;
use control_schema::codec::json;

/// Kind, body, and either the problems of a body that is read or the error of one that is not.
type Case =
    (&'static str, &'static str, &'static str, Result<&'static [&'static str], &'static [&'static str]>);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("v1", "ConfigMap", r#"{"data":{"a":"1","a":"2"},"dat":1}"#, Ok(&[r#"duplicate field "data.a""#, r#"unknown field "dat""#])),
    ("v1", "Pod", r#"{"spec":{"containers":[{"name":"a","foo":1},{"bar":2,"name":"x","name":"y"}],"Volumes":[]},"spec":{"hostNetwork":true}}"#, Ok(&[r#"unknown field "spec.containers[0].foo""#, r#"unknown field "spec.containers[1].bar""#, r#"duplicate field "spec.containers[1].name""#, r#"unknown field "spec.Volumes""#, r#"duplicate field "spec""#])),
    ("v1", "Pod", r#"{"spec":{"containers":["x"]}}"#, Err(&[r#"json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"#])),
    ("v1", "Pod", r#"{"spec":{"containers":{"a":1}}}"#, Err(&[r#"json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"#])),
    ("v1", "Pod", r#"{"spec":{"volumes":[{"secret":"x"}]}}"#, Err(&[r#"json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.secret of type v1.SecretVolumeSource"#])),
    ("v1", "Pod", r#"{"spec":{"dnsPolicy":5,"hostNetwork":"yes"}}"#, Err(&[r#"json: cannot unmarshal number into Go struct field PodSpec.spec.dnsPolicy of type v1.DNSPolicy"#])),
    ("apps/v1", "Deployment", r#"{"spec":{"replicas":"3"}}"#, Err(&[r#"json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#])),
    ("apps/v1", "Deployment", r#"{"spec":{"replicas":1.5}}"#, Err(&[r#"json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"#])),
    ("apps/v1", "Deployment", r#"{"spec":{"replicas":3000000000}}"#, Err(&[r#"json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"#])),
    ("apps/v1", "Deployment", r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":true}}}}"#, Err(&[r#"json: cannot unmarshal bool into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"#])),
    ("v1", "Pod", r#"{"metadata":{"creationTimestamp":"soon"}}"#, Err(&[r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#])),
    ("v1", "Pod", r#"{"metadata":{"creationTimestamp":5}}"#, Err(&[r#"json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"#])),
    ("v1", "Pod", r#"{"metadata":{"labels":{"a":1}}}"#, Err(&[r#"json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"#])),
    ("v1", "Pod", r#"{"metadata":5}"#, Err(&[r#"json: cannot unmarshal number into Go struct field Pod.metadata of type v1.ObjectMeta"#])),
    ("v1", "Pod", r#"{"kind":5}"#, Err(&[r#"couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"#])),
    ("v1", "Pod", r#"[]"#, Err(&[r#"couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#])),
    ("v1", "Pod", r#"{"spec":"#, Err(&[r#"couldn't get version/kind; json parse error: unexpected end of JSON input"#])),
    ("v1", "Pod", r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}"#, Err(&[r#"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#])),
    ("v1", "Pod", r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1KK"}}}]}}"#, Err(&[r#"unable to parse quantity's suffix"#])),
    ("v1", "Secret", r#"{"data":{"a":"%"}}"#, Err(&[r#"illegal base64 data at input byte 0"#])),
    ("v1", "Secret", r#"{"data":{"a":"QQ"}}"#, Err(&[r#"illegal base64 data at input byte 0"#])),
    ("rbac.authorization.k8s.io/v1", "Role", r#"{"rules":[{"verbs":[1]}]}"#, Err(&[r#"json: cannot unmarshal number into Go struct field PolicyRule.rules.verbs of type string"#])),
    ("authentication.k8s.io/v1", "TokenReview", r#"{"status":{"user":{"extra":{"a":5}}}}"#, Err(&[r#"json: cannot unmarshal number into Go struct field UserInfo.status.user.extra of type v1.ExtraValue"#])),
    ("coordination.k8s.io/v1", "Lease", r#"{"spec":{"renewTime":"2026-01-01T00:00:00Z"}}"#, Err(&[r#"parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#])),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"additionalProperties":5}}}]}}"#, Err(&[r#"boolean or JSON schema expected"#])),
];

#[test]
fn problems_and_errors_are_in_the_original_s_words() {
    for (api_version, kind, body, want) in CASES {
        let schema = builtin::kind(api_version, kind).expect("a built-in kind");
        let found = json::decode(&schema, body.as_bytes());
        match want {
            Ok(problems) => assert_eq!(found.expect(body).problems, *problems, "{body}"),
            Err(error) => assert_eq!([found.expect_err(body).0.as_str()], *error, "{body}"),
        }
    }
}

#[test]
fn names_are_told_apart_by_case_and_null_is_as_good_as_absent() {
    let schema = builtin::kind("v1", "ConfigMap").expect("ConfigMap");
    let found = json::decode(&schema, br#"{"Data":{"a":"b"},"data":null,"binaryData":{},"immutable":null}"#);
    let found = found.expect("an object");
    assert_eq!(found.problems, [r#"unknown field "Data""#]);
    assert_eq!(found.value, serde_json::json!({}));
}

#[test]
fn no_more_than_a_hundred_problems_are_told() {
    let schema = builtin::kind("v1", "ConfigMap").expect("ConfigMap");
    let fields: Vec<String> = (0..200).map(|n| format!("\"x{n}\":1")).collect();
    let found = json::decode(&schema, format!("{{{}}}", fields.join(",")).as_bytes()).expect("an object");
    assert_eq!(found.problems.len(), 100);
}
