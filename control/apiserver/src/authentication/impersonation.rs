//! The headers by which a client asks to be somebody else. Whether it may, `control_core::impersonation` says.

use apiclient_core::wire::Status;
use control_core::access::User;
use control_core::impersonation::nameless;
use control_core::refusal;
use http::HeaderMap;

use super::front_proxy::unescaped;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Who the headers ask to be, as they say it; `None` where they do not.
///
/// # Errors
/// 400: a uid, groups or extra without a name.
pub fn wanted(headers: &HeaderMap) -> Result<Option<User>, Status> {
    let first = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let groups = headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok());
    let mut user = User {
        name: first(USER),
        uid: first(UID),
        groups: groups.map(str::to_owned).collect(),
        ..User::default()
    };
    for (header, value) in headers {
        let Some(key) = header.as_str().strip_prefix(EXTRA) else { continue };
        let values = user.extra.entry(unescaped(key)).or_default();
        values.extend(value.to_str().ok().map(str::to_owned));
    }
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(refusal::bad_request(nameless(&user)));
    }
    Ok(Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn headers_say_whom_a_client_wants_to_be() {
        let of = |headers: &[(&str, &str)]| {
            let request =
                headers.iter().fold(Request::builder(), |all, (name, value)| all.header(*name, *value));
            wanted(request.body(()).expect("a request").headers())
        };
        assert_eq!(of(&[("Authorization", "Bearer x")]).expect("legal"), None);
        let found = of(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "devs"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Extra-Acme%2eorg%2Fscope", "view"),
        ]);
        let found = found.expect("legal").expect("a user");
        assert_eq!((found.name.as_str(), found.groups.len()), ("bob", 2));
        assert_eq!(found.extra["acme.org/scope"], ["view"]);
        assert_eq!(of(&[("Impersonate-Uid", "u")]).expect_err("no name").code, 400);
    }
}
