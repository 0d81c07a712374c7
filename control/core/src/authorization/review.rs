//! What a webhook is asked, and what its answer means: SubjectAccessReview from the side of who asks.

use apiclient_core::selector::{FieldSelector, LabelSelector, Test};
use control_schema::crd::cel::Expression;
use serde_json::{Map, Value, json};

use super::Version;
use crate::access::{Attributes, User, Verdict};

/// What is longer than this, in bytes, is not remembered: clients choose it.
const MOST_REMEMBERED: usize = 10_000;

/// The spec of a SubjectAccessReview, v1, without what is empty.
pub fn spec(attributes: &Attributes, user: &User) -> Value {
    let mut spec = Map::new();
    put(&mut spec, "user", &user.name);
    put(&mut spec, "uid", &user.uid);
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
    let mut about = Map::new();
    put(&mut about, "verb", &attributes.verb);
    if attributes.is_resource() {
        for (field, text) in names(attributes) {
            put(&mut about, field, text);
        }
        for (field, requirements) in selectors(attributes) {
            about.insert(field.to_owned(), json!({"requirements": requirements}));
        }
        spec.insert("resourceAttributes".to_owned(), about.into());
    } else {
        put(&mut about, "path", &attributes.path);
        spec.insert("nonResourceAttributes".to_owned(), about.into());
    }
    spec.into()
}

fn put(map: &mut Map<String, Value>, field: &str, text: &str) {
    if !text.is_empty() {
        map.insert(field.to_owned(), text.into());
    }
}

fn names(attributes: &Attributes) -> [(&'static str, &str); 6] {
    [
        ("namespace", &attributes.namespace),
        ("group", &attributes.group),
        ("version", &attributes.version),
        ("resource", &attributes.resource),
        ("subresource", &attributes.subresource),
        ("name", &attributes.name),
    ]
}

fn selectors(attributes: &Attributes) -> impl Iterator<Item = (&'static str, Vec<Value>)> {
    let both =
        [("fieldSelector", of_fields(&attributes.fields)), ("labelSelector", of_labels(&attributes.labels))];
    both.into_iter().filter(|(_, requirements)| !requirements.is_empty())
}

fn of_fields(selector: &FieldSelector) -> Vec<Value> {
    let shown = |one: &apiclient_core::selector::FieldRequirement| {
        let operator = if one.equal { "In" } else { "NotIn" };
        json!({"key": one.field, "operator": operator, "values": [one.value]})
    };
    selector.requirements().iter().map(shown).collect()
}

/// Comparisons with numbers are left out: a selector only narrows, so what is asked for is more than what was wanted.
fn of_labels(selector: &LabelSelector) -> Vec<Value> {
    let shown = |one: &apiclient_core::selector::Requirement| match &one.test {
        Test::Exists => Some(json!({"key": one.key, "operator": "Exists"})),
        Test::DoesNotExist => Some(json!({"key": one.key, "operator": "DoesNotExist"})),
        Test::In(values) => Some(json!({"key": one.key, "operator": "In", "values": values})),
        Test::NotIn(values) => Some(json!({"key": one.key, "operator": "NotIn", "values": values})),
        Test::GreaterThan(_) | Test::LessThan(_) => None,
    };
    selector.requirements().iter().filter_map(shown).collect()
}

/// The object that is sent.
pub fn question(spec: &Value, version: Version) -> Value {
    let mut spec = spec.clone();
    if version == Version::V1beta1
        && let Some(fields) = spec.as_object_mut()
        && let Some(groups) = fields.remove("groups")
    {
        fields.insert("group".to_owned(), groups);
    }
    json!({
        "apiVersion": format!("authorization.k8s.io/{}", version.name()),
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": spec,
        "status": {"allowed": false},
    })
}

/// Whether all conditions hold. One that does not settles it, whatever becomes of the others.
///
/// # Errors
/// None fails, and some cannot be evaluated.
pub fn is_matched(conditions: &[Expression], attributes: &Attributes, user: &User) -> Result<bool, String> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let request = shown_to_conditions(attributes, user);
    let mut errors = Vec::new();
    for condition in conditions {
        match condition.answer(&request) {
            Ok(Value::Bool(true)) => {}
            Ok(Value::Bool(false)) => return Ok(false),
            Ok(_) => errors.push(format!(
                "cel evaluation error: expression '{}' eval result type should be bool",
                condition.source()
            )),
            Err(why) => errors.push(format!(
                "cel evaluation error: expression '{}' resulted in error: {why}",
                condition.source()
            )),
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        all => Err(format!("[{}]", all.join(", "))),
    }
}

/// The spec as conditions see it: texts are there, empty ones too.
fn shown_to_conditions(attributes: &Attributes, user: &User) -> Value {
    let mut request = json!({"user": user.name, "groups": user.groups, "uid": user.uid, "extra": user.extra});
    if !attributes.is_resource() {
        request["nonResourceAttributes"] = json!({"verb": attributes.verb, "path": attributes.path});
        return request;
    }
    let mut about = json!({"verb": attributes.verb});
    for (field, text) in names(attributes) {
        about[field] = text.into();
    }
    for (field, requirements) in selectors(attributes) {
        about[field] = json!({"requirements": requirements});
    }
    request["resourceAttributes"] = about;
    request
}

/// What the status of an answer means. One that both allows and denies denies.
pub fn verdict(status: &Value) -> Verdict {
    let is = |field: &str| status[field].as_bool() == Some(true);
    let reason = status["reason"].as_str().unwrap_or_default();
    match (is("denied"), is("allowed")) {
        (true, _) => Verdict::deny(reason),
        (false, true) => Verdict::allow(reason),
        (false, false) => Verdict::no_opinion(reason),
    }
}

/// Whether the answer may be remembered.
pub fn may_be_remembered(attributes: &Attributes) -> bool {
    let names = names(attributes).into_iter().map(|(_, text)| text.len()).sum::<usize>();
    names + attributes.verb.len() + attributes.path.len() < MOST_REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User {
            name: "ann".to_owned(),
            groups: vec!["dev".to_owned()],
            extra: [("scope".to_owned(), vec!["a".to_owned()])].into(),
            ..User::default()
        }
    }

    fn list() -> Attributes {
        Attributes {
            verb: "list".to_owned(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            namespace: "a".to_owned(),
            path: "/api/v1/namespaces/a/pods".to_owned(),
            fields: "spec.nodeName=n,metadata.name!=x".parse().expect("a selector"),
            labels: "app in (b,a),!c,n>1".parse().expect("a selector"),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_webhook_is_asked_for_what_the_request_is_about() {
        let spec = spec(&list(), &ann());
        let selectors = json!([
            {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
            {"key": "metadata.name", "operator": "NotIn", "values": ["x"]},
        ]);
        assert_eq!(
            spec,
            json!({
                "user": "ann", "groups": ["dev"], "extra": {"scope": ["a"]},
                "resourceAttributes": {
                    "verb": "list", "version": "v1", "resource": "pods", "namespace": "a",
                    "fieldSelector": {"requirements": selectors},
                    "labelSelector": {"requirements": [
                        {"key": "app", "operator": "In", "values": ["a", "b"]},
                        {"key": "c", "operator": "DoesNotExist"},
                    ]},
                },
            })
        );
        let older = question(&spec, Version::V1beta1);
        assert_eq!(older["apiVersion"], "authorization.k8s.io/v1beta1");
        assert_eq!((&older["spec"]["group"], &older["spec"]["groups"]), (&json!(["dev"]), &Value::Null));
        let path = Attributes { verb: "get".into(), path: "/metrics".into(), ..Attributes::default() };
        assert_eq!(
            super::spec(&path, &ann())["nonResourceAttributes"],
            json!({"verb": "get", "path": "/metrics"})
        );
    }

    #[test]
    fn an_answer_that_denies_denies() {
        assert_eq!(verdict(&json!({"allowed": true, "reason": "r"})), Verdict::allow("r"));
        assert_eq!(verdict(&json!({"allowed": true, "denied": true})), Verdict::deny(""));
        assert_eq!(verdict(&json!({"denied": true})), Verdict::deny(""));
        assert_eq!(verdict(&json!({"reason": "r"})), Verdict::no_opinion("r"));
        assert_eq!(verdict(&json!(null)), Verdict::no_opinion(""));
    }

    #[test]
    fn a_condition_that_fails_settles_it_and_one_that_cannot_be_evaluated_is_an_error() {
        let matched = |sources: &[&str]| {
            let compiled = sources.iter().map(|source| Expression::new(source, "request").expect(source));
            is_matched(&compiled.collect::<Vec<_>>(), &list(), &ann())
        };
        assert_eq!(matched(&[]), Ok(true));
        assert_eq!(matched(&["request.user == 'ann'", "'dev' in request.groups"]), Ok(true));
        assert_eq!(matched(&["request.resourceAttributes.namespace == 'b'"]), Ok(false));
        assert_eq!(matched(&["has(request.nonResourceAttributes)"]), Ok(false));
        assert_eq!(matched(&["request.resourceAttributes.subresource == ''"]), Ok(true));
        let wrong = "request.nonResourceAttributes.path == '/'";
        assert_eq!(matched(&[wrong, "request.user == 'bob'"]), Ok(false), "it fails whatever the other is");
        let error = matched(&[wrong]).expect_err("no such key");
        assert!(error.contains("resulted in error: no such key: nonResourceAttributes"), "{error}");
    }

    #[test]
    fn what_a_client_made_long_is_not_remembered() {
        assert!(may_be_remembered(&list()));
        assert!(!may_be_remembered(&Attributes { name: "x".repeat(MOST_REMEMBERED), ..list() }));
    }
}
