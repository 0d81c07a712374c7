//! TokenReview from the side of who asks: what a webhook is asked about a token, and what its answer means.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::check::{Accepted, BadToken};
use crate::access::User;
use crate::authorization::Version;

/// The object that is sent.
pub fn question(token: &str, audiences: &[String], version: Version) -> Value {
    let mut spec = json!({"token": token});
    if !audiences.is_empty() {
        spec["audiences"] = json!(audiences);
    }
    json!({
        "apiVersion": format!("authentication.k8s.io/{}", version.name()),
        "kind": "TokenReview",
        "metadata": {},
        "spec": spec,
        "status": {"user": {}},
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Option<UserInfo>,
    audiences: Option<Vec<String>>,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    uid: String,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// What the status of an answer says of a token that is to be good for one of the `wanted` audiences, for any where none
/// is. Without a word about audiences it is good for this server's `own`. `None`: the webhook does not know it.
///
/// # Errors
/// The webhook says what is wrong with it, or its answer is none.
pub fn answer(status: &Value, wanted: &[String], own: &[String]) -> Result<Option<Accepted>, BadToken> {
    let bad = |why: String| BadToken(why);
    let status = Option::<Status>::deserialize(status);
    let status = status.map_err(|error| bad(format!("the answer is no TokenReview: {error}")))?;
    let status = status.unwrap_or_default();
    let named = status.audiences.as_deref().filter(|named| !named.is_empty()).unwrap_or(own);
    let audiences: Vec<_> = wanted.iter().filter(|one| named.contains(one)).cloned().collect();
    if audiences.is_empty() && !wanted.is_empty() {
        return Ok(None);
    }
    let user = match (status.authenticated, status.user, status.error) {
        (true, user, _) => user.unwrap_or_default(),
        (false, _, why) if why.is_empty() => return Ok(None),
        (false, _, why) => return Err(bad(why)),
    };
    let user = User {
        name: user.username,
        uid: user.uid,
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    };
    Ok(Some(Accepted { user, audiences }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_a_token_says_whose_it_is_and_for_whom() {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let own = texts(&["api"]);
        let user = json!({"username": "ann", "uid": "1", "groups": ["dev"], "extra": {"scope": ["a"]}});
        let good = json!({"authenticated": true, "user": user});
        let found = answer(&good, &texts(&["api", "other"]), &own).expect("an answer").expect("a user");
        assert_eq!((found.user.name.as_str(), found.audiences), ("ann", own.clone()));
        assert_eq!(found.user.extra["scope"], ["a"]);
        assert_eq!(answer(&good, &texts(&["other"]), &own), Ok(None), "for nobody who is wanted");
        let named = json!({"authenticated": true, "user": user, "audiences": ["other"]});
        assert_eq!(answer(&named, &own, &own), Ok(None));
        assert!(answer(&named, &texts(&["other"]), &own).expect("an answer").is_some());
        let anybody = answer(&named, &[], &[]).expect("an answer").expect("a user");
        assert_eq!((anybody.user.name.as_str(), anybody.audiences), ("ann", Vec::new()));
        assert_eq!(answer(&json!({"user": {}}), &own, &own), Ok(None));
        assert_eq!(answer(&Value::Null, &own, &own), Ok(None));
        let error = json!({"authenticated": false, "error": "expired"});
        assert_eq!(answer(&error, &own, &own), Err(BadToken("expired".to_owned())));
        assert!(answer(&json!({"authenticated": "yes"}), &own, &own).is_err());
    }

    #[test]
    fn a_question_about_a_token_names_the_audiences() {
        let asked = question("t", &["api".to_owned()], Version::V1);
        assert_eq!(asked["apiVersion"], "authentication.k8s.io/v1");
        assert_eq!(asked["spec"], json!({"token": "t", "audiences": ["api"]}));
    }
}
