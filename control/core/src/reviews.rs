//! The review kinds: questions about access, answered in the object's status.
//!
//! Each function takes the object as it was sent, and leaves it as it is answered.

use apiclient_core::selector::FieldSelector;
use apiclient_core::wire::Status;
use serde_json::{Value, json};

use crate::access::{Attributes, Authorize, Decision, User, together};
use crate::field::{FieldError, Path};
use crate::rbac::rule::ResolveRules;
use crate::refusal;

const GROUP: &str = "authorization.k8s.io";

/// # Errors
/// 422 where the object asks nothing, or too much.
pub fn self_subject_access(
    object: &mut Value,
    user: &User,
    authorizer: &dyn Authorize,
) -> Result<(), Status> {
    let mut errors = spec_errors(&object["spec"], false);
    errors.extend(metadata_error(object, false));
    refuse(&errors)?;
    answer(object, user, authorizer);
    Ok(())
}

/// # Errors
/// As [`self_subject_access`], or nobody is named.
pub fn subject_access(object: &mut Value, authorizer: &dyn Authorize) -> Result<(), Status> {
    let mut errors = spec_errors(&object["spec"], true);
    errors.extend(metadata_error(object, false));
    refuse(&errors)?;
    let user = asked_user(&object["spec"]);
    answer(object, &user, authorizer);
    Ok(())
}

/// # Errors
/// As [`subject_access`], or it asks about another namespace than that of the request.
pub fn local_subject_access(
    object: &mut Value,
    namespace: &str,
    authorizer: &dyn Authorize,
) -> Result<(), Status> {
    let named = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut errors = spec_errors(&object["spec"], true);
    errors.extend(metadata_error(object, true));
    let spec = Path::new("spec");
    let asked = &object["spec"]["resourceAttributes"];
    if asked.is_object() && asked["namespace"].as_str().unwrap_or_default() != named {
        let path = spec.child("resourceAttributes").child("namespace");
        errors.push(FieldError::invalid(&path, &text(&asked["namespace"]), "must match metadata.namespace"));
    }
    let path = &object["spec"]["nonResourceAttributes"];
    if path.is_object() {
        let at = spec.child("nonResourceAttributes");
        errors.push(FieldError::invalid_shown(&at, &shown_path(path), "disallowed on this kind of request"));
    }
    refuse(&errors)?;
    if asked["namespace"].as_str().unwrap_or_default() != namespace {
        return Err(refusal::bad_request("spec.resourceAttributes.namespace must match namespace"));
    }
    let user = asked_user(&object["spec"]);
    answer(object, &user, authorizer);
    Ok(())
}

/// # Errors
/// 400 without a namespace.
pub fn self_subject_rules(object: &mut Value, user: &User, rules: &dyn ResolveRules) -> Result<(), Status> {
    let namespace = object["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(refusal::bad_request("no namespace on request"));
    }
    let found = rules.rules(user, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &found.rules {
        if !rule.resources.is_empty() {
            let mut shown =
                json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(shown);
        }
        if !rule.paths.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
        }
    }
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": found.incomplete});
    if !found.errors.is_empty() {
        status["evaluationError"] = together(&found.errors).into();
    }
    // The original answers with a new object.
    object["metadata"] = json!({});
    object["spec"] = json!({});
    object["status"] = status;
    Ok(())
}

/// Who am I? `now` is RFC 3339.
pub fn self_subject(object: &mut Value, user: &User, now: &str) {
    object["metadata"] = json!({"creationTimestamp": now});
    object["status"] = json!({"userInfo": user_info(user)});
}

/// # Errors
/// 400 without a token.
pub fn token_of(object: &Value) -> Result<&str, Status> {
    match object["spec"]["token"].as_str() {
        Some(token) if !token.is_empty() => Ok(token),
        _ => Err(refusal::bad_request("token is required for TokenReview in authentication")),
    }
}

/// What came of the token of a TokenReview. `audiences` are those that it is good for, of the wanted ones.
pub fn token_reviewed(object: &mut Value, found: Result<Option<&User>, &str>, audiences: &[String]) {
    let mut status = json!({"user": {}});
    match found {
        Ok(Some(user)) => {
            status = json!({"authenticated": true, "user": user_info(user)});
            if !audiences.is_empty() {
                status["audiences"] = json!(audiences);
            }
        }
        Ok(None) => {}
        Err(why) => status["error"] = json!(why),
    }
    object["status"] = status;
}

/// `authentication.k8s.io/v1`'s UserInfo.
pub fn user_info(user: &User) -> Value {
    let mut info = json!({});
    for (field, value) in [("username", &user.name), ("uid", &user.uid)] {
        if !value.is_empty() {
            info[field] = json!(value);
        }
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// The kind is empty in these refusals, as it is in the original's.
fn refuse(errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(refusal::invalid_kind(GROUP, "", "", errors)) }
}

fn text(value: &Value) -> Value {
    value.as_str().unwrap_or_default().into()
}

fn spec_errors(spec: &Value, names_user: bool) -> Vec<FieldError> {
    let path = Path::new("spec");
    let mut errors = Vec::new();
    let both = "cannot be specified in combination with resourceAttributes";
    let none = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    match (spec["resourceAttributes"].is_object(), &spec["nonResourceAttributes"]) {
        (true, given @ Value::Object(_)) => {
            errors.push(FieldError::invalid_shown(
                &path.child("nonResourceAttributes"),
                &shown_path(given),
                both,
            ));
        }
        (false, Value::Object(_)) | (true, _) => {}
        (false, _) => errors.push(FieldError::invalid(&path.child("resourceAttributes"), &Value::Null, none)),
    }
    let no_groups = spec["groups"].as_array().is_none_or(Vec::is_empty);
    if names_user && text(&spec["user"]) == "" && no_groups {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&path.child("user"), &text(&spec["user"]), why));
    }
    for name in ["fieldSelector", "labelSelector"] {
        let at = path.child("resourceAttributes").child(name);
        errors.extend(selector_error(&spec["resourceAttributes"][name], &at));
    }
    errors
}

/// As the original shows it: a Go struct without names of JSON.
fn shown_path(asked: &Value) -> String {
    let of = |field: &str| asked[field].as_str().unwrap_or_default();
    json!({"Path": of("path"), "Verb": of("verb")}).to_string()
}

fn selector_error(selector: &Value, path: &Path) -> Option<FieldError> {
    let (raw, list) = (text(&selector["rawSelector"]), selector["requirements"].as_array());
    match (raw != "", list.is_some_and(|list| !list.is_empty())) {
        (true, true) => {
            let why = "may not specified at the same time as requirements";
            Some(FieldError::invalid(&path.child("rawSelector"), &raw, why))
        }
        (false, false) if selector.is_object() => {
            let why = format!("when {path} is specified, requirements or rawSelector is required");
            Some(FieldError::required(&path.child("requirements"), &why))
        }
        _ => None,
    }
}

fn metadata_error(object: &Value, with_namespace: bool) -> Option<FieldError> {
    let metadata = object["metadata"].as_object()?;
    let allowed = |field: &str| field == "managedFields" || with_namespace && field == "namespace";
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if metadata.iter().all(|(field, value)| allowed(field) || empty(value)) {
        return None;
    }
    let why = if with_namespace { "must be empty except for namespace" } else { "must be empty" };
    Some(FieldError::invalid(&Path::new("metadata"), &object["metadata"], why))
}

/// The user whom a SubjectAccessReview names.
fn asked_user(spec: &Value) -> User {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn answer(object: &mut Value, user: &User, authorizer: &dyn Authorize) {
    let (attributes, problem) = asked(&object["spec"]);
    let verdict = authorizer.authorize(&attributes, user);
    let mut status = json!({"allowed": verdict.is_allowed()});
    if verdict.decision == Decision::Deny {
        status["denied"] = true.into();
    }
    let problems = [verdict.error, problem];
    let problems: Vec<_> = problems.into_iter().filter(|problem| !problem.is_empty()).collect();
    for (field, said) in [("reason", verdict.reason), ("evaluationError", problems.join("; "))] {
        if !said.is_empty() {
            status[field] = said.into();
        }
    }
    object["status"] = status;
}

/// What is asked, and what of it could not be read.
fn asked(spec: &Value) -> (Attributes, String) {
    let asked = &spec["resourceAttributes"];
    let of = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
    if !asked.is_object() {
        let asked = &spec["nonResourceAttributes"];
        let of = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
        return (Attributes { verb: of("verb"), path: of("path"), ..Attributes::default() }, String::new());
    }
    let (fields, failed) = field_selector(&asked["fieldSelector"]);
    let version = of("version");
    let attributes = Attributes {
        verb: of("verb"),
        group: of("group"),
        version: if version.is_empty() { "*".to_owned() } else { version },
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        path: String::new(),
        fields,
        ..Attributes::default()
    };
    let partially = if attributes.fields.requirements().is_empty() { "" } else { "partially " };
    let problem = format!("spec.resourceAttributes.fieldSelector {partially}ignored due to parse error");
    (attributes, if failed { problem } else { String::new() })
}

/// The selector, as far as it can be read, and whether some of it could not.
fn field_selector(asked: &Value) -> (FieldSelector, bool) {
    let raw = asked["rawSelector"].as_str().unwrap_or_default();
    let Some(list) = asked["requirements"].as_array().filter(|list| !list.is_empty()) else {
        return raw.parse().map_or((FieldSelector::default(), true), |fields| (fields, false));
    };
    let (mut fields, mut failed) = (FieldSelector::default(), false);
    for wanted in list {
        let key = wanted["key"].as_str().unwrap_or_default();
        let values = wanted["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        match (wanted["operator"].as_str(), values) {
            (Some("In"), [Value::String(value)]) => fields = fields.equal(key, value),
            (Some("NotIn"), [Value::String(value)]) => fields = fields.not_equal(key, value),
            _ => failed = true,
        }
    }
    (fields, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Verdict;

    /// Allows alice to get what is called `a` where she says that she looks at node n.
    #[derive(Debug)]
    struct Alice;

    impl Authorize for Alice {
        fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
            let looks = FieldSelector::default().equal("spec.nodeName", "n");
            if user.name == "alice" && attributes.name == "a" && attributes.fields == looks {
                return Verdict::allow("she may");
            }
            Verdict::no_opinion("")
        }
    }

    #[test]
    fn a_review_is_answered_in_its_status() {
        let fields = json!({"requirements": [
            {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
            {"key": "x", "operator": "Exists"},
        ]});
        let asked = json!({"verb": "get", "resource": "pods", "name": "a", "fieldSelector": fields});
        let mut review = json!({"metadata": {}, "spec": {"user": "alice", "resourceAttributes": asked}});
        subject_access(&mut review, &Alice).expect("a review");
        let problem = "spec.resourceAttributes.fieldSelector partially ignored due to parse error";
        let wanted = json!({"allowed": true, "reason": "she may", "evaluationError": problem});
        assert_eq!(review["status"], wanted);
        self_subject_access(&mut review, &User::default(), &Alice).expect("a review");
        assert_eq!(review["status"], json!({"allowed": false, "evaluationError": problem}));
    }

    #[test]
    fn a_review_that_asks_nothing_is_refused_in_the_originals_words() {
        let refused = |review: Value| {
            let mut review = review;
            self_subject_access(&mut review, &User::default(), &Alice).expect_err("a refusal").message
        };
        let none = r#".authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"#;
        assert_eq!(refused(json!({"spec": {}})), none);
        let named =
            r#".authorization.k8s.io "" is invalid: metadata: Invalid value: {"name":"x"}: must be empty"#;
        assert_eq!(refused(json!({"metadata": {"name": "x"}, "spec": {"nonResourceAttributes": {}}})), named);
        let asked = json!({"namespace": "b"});
        let mut review =
            json!({"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": asked}});
        let refused = local_subject_access(&mut review, "a", &Alice).expect_err("another namespace").message;
        assert!(refused.ends_with(r#"Invalid value: "b": must match metadata.namespace"#), "{refused}");
    }

    #[test]
    fn a_token_review_says_who_it_is_or_what_is_wrong() {
        let user = User { name: "alice".into(), groups: vec!["devs".into()], ..User::default() };
        let mut review = json!({"spec": {"token": "t"}});
        token_reviewed(&mut review, Ok(Some(&user)), &["a".to_owned()]);
        let info = json!({"username": "alice", "groups": ["devs"]});
        assert_eq!(review["status"], json!({"authenticated": true, "user": info, "audiences": ["a"]}));
        token_reviewed(&mut review, Err("invalid bearer token"), &[]);
        assert_eq!(review["status"], json!({"user": {}, "error": "invalid bearer token"}));
        assert_eq!(token_of(&json!({"spec": {}})).expect_err("no token").code, 400);
    }
}
