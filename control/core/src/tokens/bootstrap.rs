//! Bootstrap tokens: `ID.SECRET`, each a Secret in kube-system, by which a new node says hello.

use std::time::SystemTime;

use crate::access::User;
use crate::admission::Objects;
use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const GROUP: &str = "system:bootstrappers";

/// Who has this token; `None` where it is none, or not good (any more): somebody else may know it.
pub fn user(token: &str, now: SystemTime, objects: &dyn Objects) -> Option<User> {
    let (id, secret) = token.split_once('.')?;
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if (id.len(), secret.len()) != (6, 16) || !plain(id) || !plain(secret) {
        return None;
    }
    let found = objects.get("secrets", "kube-system", &format!("bootstrap-token-{id}"))?;
    let value = |name: &str| -> String {
        let encoded = found["data"][name].as_str().unwrap_or_default();
        STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let good = found["metadata"]["deletionTimestamp"].is_null()
        && found["type"] == "bootstrap.kubernetes.io/token"
        && same(&value("token-secret"), secret)
        && value("token-id") == id
        && holds(&value("expiration"), now)
        && value("usage-bootstrap-authentication") == "true";
    let groups = value("auth-extra-groups");
    let extra: Vec<&str> = groups.split(',').filter(|group| !group.is_empty()).collect();
    if !good || !extra.iter().all(|group| is_group(group)) {
        return None;
    }
    let mut groups: Vec<String> = extra.into_iter().chain([GROUP]).map(str::to_owned).collect();
    groups.sort();
    groups.dedup();
    Some(User { name: format!("system:bootstrap:{id}"), groups, ..User::default() })
}

/// As long for a wrong secret as for a right one.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// RFC 3339, or nothing for a token without an end. What cannot be read counts as ended.
fn holds(expiration: &str, now: SystemTime) -> bool {
    expiration.is_empty() || time::parse(expiration).is_some_and(|end| end > now)
}

fn is_group(group: &str) -> bool {
    let rest = group.strip_prefix("system:bootstrappers:");
    rest.is_some_and(|rest| {
        rest.len() <= 128
            && rest.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit())
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::Stored;
    use serde_json::{Value, json};
    use std::time::{Duration, UNIX_EPOCH};

    fn found(edit: fn(&mut Value), token: &str) -> Option<User> {
        let data = |text: &str| Value::from(STANDARD.encode(text));
        let mut secret = json!({
            "metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {
                "token-id": data("abcdef"),
                "token-secret": data("0123456789abcdef"),
                "expiration": data("1970-01-02T00:00:00Z"),
                "usage-bootstrap-authentication": data("true"),
                "auth-extra-groups": data("system:bootstrappers:kubeadm"),
            },
        });
        edit(&mut secret);
        user(token, UNIX_EPOCH + Duration::from_secs(60), &Stored::default().with("secrets", secret))
    }

    #[test]
    fn a_bootstrap_token_is_good_while_its_secret_says_so() {
        let good = "abcdef.0123456789abcdef";
        let user = found(|_| (), good).expect("a user");
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(user.groups, ["system:bootstrappers", "system:bootstrappers:kubeadm"]);
        for wrong in
            ["abcdef.0123456789abcdeX", "abcdef.0123456789abcdee", "abcdef", "abcde.0123456789abcdef"]
        {
            assert_eq!(found(|_| (), wrong), None, "{wrong}");
        }
        let edits: [fn(&mut Value); 5] = [
            |secret| secret["type"] = "Opaque".into(),
            |secret| secret["data"]["expiration"] = STANDARD.encode("1970-01-01T00:00:01Z").into(),
            |secret| secret["data"]["usage-bootstrap-authentication"] = STANDARD.encode("false").into(),
            |secret| secret["data"]["auth-extra-groups"] = STANDARD.encode("system:masters").into(),
            |secret| secret["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:01Z".into(),
        ];
        for edit in edits {
            assert_eq!(found(edit, good), None);
        }
    }
}
