//! Acting as somebody else: whether a user may, and who that is then.
//!
//! Modes are tried from the narrowest to the widest, as kube-apiserver 1.36 does (KEP-5284): the node of a service
//! account's own pod, any node, a service account, other users, each allowed for one verb at a time; then the old right
//! `impersonate`, which holds for every request.

use apiclient_core::names;
use apiclient_core::wire::Status;

use crate::access::{Attributes, Authorize, User, forbidden, quoted};
use crate::rbac::rule::quoted_list;
use crate::tokens::check::account_user;

const AUTHENTICATION: &str = "authentication.k8s.io";
/// From so many on, the right to everything is asked for once, before each is asked for.
const MANY: usize = 4;

/// Who `wanted` is, completed by the groups that such a user always has. `attributes` is what `user` asks to do.
///
/// # Errors
/// 403, by the first mode that applies.
pub fn impersonate(
    wanted: &User,
    attributes: &Attributes,
    user: &User,
    authorizer: &dyn Authorize,
) -> Result<User, Status> {
    let mut first = None;
    for mode in Mode::ALL {
        let check = Check { mode, user, authorizer };
        if !mode.applies(wanted, user) {
            continue;
        }
        match check.run(wanted, attributes) {
            Ok(found) => return Ok(found),
            Err(refused) => drop(first.get_or_insert(refused)),
        }
    }
    Err(first.unwrap_or_else(|| forbidden(attributes, user, "all impersonation modes failed")))
}

/// The text of the 400 for headers without a name, which shows what they hold as Go does.
pub fn nameless(wanted: &User) -> String {
    let list = |values: &[String]| {
        if values.is_empty() {
            "[]string(nil)".to_owned()
        } else {
            let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            format!("[]string{{{}}}", values.join(", "))
        }
    };
    let extra = if wanted.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let all: Vec<_> =
            wanted.extra.iter().map(|(key, of)| format!("{}:{}", quoted(key), list(of))).collect();
        format!("map[string][]string{{{}}}", all.join(", "))
    };
    format!(
        "requested &user.DefaultInfo{{Name:\"\", UID:{}, Groups:{}, Extra:{extra}}} without impersonating a user name",
        quoted(&wanted.uid),
        list(&wanted.groups),
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    /// The verb `impersonate`.
    Legacy,
}

fn node_of(name: &str) -> Option<&str> {
    name.strip_prefix("system:node:").filter(|node| names::dns1123_subdomain(node).is_ok())
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn applies(self, wanted: &User, user: &User) -> bool {
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let account = wanted.service_account().is_some();
        let node = node_of(&wanted.name);
        match self {
            Self::AssociatedNode => {
                let of = user.extra.get("authentication.kubernetes.io/node-name");
                only_name
                    && user.service_account().is_some()
                    && node.is_some_and(|node| of.is_some_and(|of| *of == [node]))
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account,
            Self::UserInfo => node.is_none() && !account,
            Self::Legacy => true,
        }
    }
}

struct Check<'a> {
    mode: Mode,
    user: &'a User,
    authorizer: &'a dyn Authorize,
}

impl Check<'_> {
    fn run(&self, wanted: &User, attributes: &Attributes) -> Result<User, Status> {
        if self.mode != Mode::Legacy {
            let verb = format!("impersonate-on:{}:{}", self.mode.name(), attributes.verb);
            self.ask(Attributes { verb, ..attributes.clone() })?;
        }
        let mut found = wanted.clone();
        self.name(wanted, &mut found)?;
        if !wanted.uid.is_empty() {
            self.ask(self.about(AUTHENTICATION, "uids", &wanted.uid))?;
        }
        self.groups(&wanted.groups)?;
        self.extra(wanted)?;
        let group = if found.name == User::ANONYMOUS {
            Some(User::UNAUTHENTICATED)
        } else {
            Some(User::AUTHENTICATED).filter(|_| !found.is_in(User::UNAUTHENTICATED))
        };
        found.groups.extend(group.filter(|group| !found.is_in(group)).map(str::to_owned));
        Ok(found)
    }

    fn about(&self, group: &str, resource: &str, name: &str) -> Attributes {
        let verb = match self.mode {
            Mode::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        };
        let version = if group.is_empty() || group == AUTHENTICATION { "v1" } else { "" };
        let [group, version, resource, name] = [group, version, resource, name].map(str::to_owned);
        Attributes { verb, group, version, resource, name, ..Attributes::default() }
    }

    fn ask(&self, attributes: Attributes) -> Result<(), Status> {
        // A right to be one's own node is one for all nodes.
        let named = self.mode == Mode::AssociatedNode && attributes.verb == "impersonate:associated-node";
        let attributes = if named { Attributes { name: "*".to_owned(), ..attributes } } else { attributes };
        let verdict = self.authorizer.authorize(&attributes, self.user);
        if verdict.is_allowed() { Ok(()) } else { Err(forbidden(&attributes, self.user, &verdict.reason)) }
    }

    /// Names and groups were of the core group before they were of the authentication group.
    fn group_of_names(&self) -> &'static str {
        if self.mode == Mode::Legacy { "" } else { AUTHENTICATION }
    }

    fn name(&self, wanted: &User, found: &mut User) -> Result<(), Status> {
        let mut asked = self.about(self.group_of_names(), "users", &wanted.name);
        if let (Some(node), true) = (node_of(&wanted.name), self.mode != Mode::Legacy) {
            (asked.resource, asked.name) = ("nodes".to_owned(), node.to_owned());
            found.groups = vec![User::NODES.to_owned()];
        }
        if let Some((namespace, name)) = wanted.service_account() {
            asked.resource = "serviceaccounts".to_owned();
            (asked.namespace, asked.name) = (namespace.to_owned(), name.to_owned());
            if wanted.groups.is_empty() {
                found.groups = account_user(namespace, name, "").groups;
            }
        }
        self.ask(asked)
    }

    fn groups(&self, groups: &[String]) -> Result<(), Status> {
        let about = |name: &str| self.about(self.group_of_names(), "groups", name);
        if self.mode != Mode::Legacy {
            let refused = |name: &str, why: &str| Err(forbidden(&about(name), self.user, why));
            if groups.iter().any(String::is_empty) {
                return refused("", "impersonating the empty string group is not allowed");
            }
            if groups.iter().any(|group| group == User::MASTERS) {
                return refused(User::MASTERS, "impersonating the system:masters group is not allowed");
            }
            if groups.len() >= MANY && self.ask(about("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.ask(about(group)))
    }

    fn extra(&self, wanted: &User) -> Result<(), Status> {
        let about = |key: &str, value: &str| Attributes {
            subresource: key.to_owned(),
            ..self.about(AUTHENTICATION, "userextras", value)
        };
        let count: usize = wanted.extra.values().map(Vec::len).sum();
        if self.mode != Mode::Legacy {
            for (key, values) in &wanted.extra {
                if let Some(why) = bad_extra(key, values) {
                    return Err(forbidden(&about("", ""), self.user, &why));
                }
            }
            if count.max(wanted.extra.len()) >= MANY && self.ask(about("*", "*")).is_ok() {
                return Ok(());
            }
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.ask(about(key, value))?;
            }
        }
        Ok(())
    }
}

fn bad_extra(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let prefixed = key
        .split_once('/')
        .is_some_and(|(domain, path)| names::dns1123_subdomain(domain).is_ok() && !path.is_empty());
    if !prefixed {
        let listed = quoted_list(&[key.to_owned()]);
        let key = listed.trim_matches(['[', ']']);
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key}: must be a domain-prefixed path (such as \"acme.io/foo\")"
        ));
    }
    if values.is_empty() {
        return Some("impersonating empty values in extra is not allowed".to_owned());
    }
    let empty = values.iter().any(String::is_empty);
    empty.then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Verdict;

    /// Allows what it is given: `VERB RESOURCE NAME`.
    #[derive(Debug)]
    struct May(&'static [&'static str]);

    impl Authorize for May {
        fn authorize(&self, attributes: &Attributes, _user: &User) -> Verdict {
            let Attributes { verb, resource, name, .. } = attributes;
            let allowed = self.0.contains(&format!("{verb} {resource} {name}").trim());
            if allowed { Verdict::allow("") } else { Verdict::no_opinion("") }
        }
    }

    fn named(name: &str, groups: &[&str]) -> User {
        User {
            name: name.into(),
            groups: groups.iter().map(|one| (*one).into()).collect(),
            ..User::default()
        }
    }

    fn tried(wanted: &User, user: &User, may: &'static [&'static str]) -> Result<User, String> {
        let list = Attributes { verb: "list".into(), resource: "pods".into(), ..Attributes::default() };
        impersonate(wanted, &list, user, &May(may)).map_err(|refused| refused.message)
    }

    #[test]
    fn the_old_right_holds_for_every_request() {
        let alice = named("alice", &[]);
        let found =
            tried(&named("bob", &["devs"]), &alice, &["impersonate users bob", "impersonate groups devs"]);
        assert_eq!(found, Ok(named("bob", &["devs", User::AUTHENTICATED])));
        let account =
            tried(&named("system:serviceaccount:a:b", &[]), &alice, &["impersonate serviceaccounts b"]);
        let groups = ["system:serviceaccounts", "system:serviceaccounts:a", User::AUTHENTICATED];
        assert_eq!(account, Ok(named("system:serviceaccount:a:b", &groups)));
        let nobody = tried(&named(User::ANONYMOUS, &[]), &alice, &["impersonate users system:anonymous"]);
        assert_eq!(nobody, Ok(named(User::ANONYMOUS, &[User::UNAUTHENTICATED])));
    }

    #[test]
    fn a_refusal_is_that_of_the_narrowest_mode() {
        let alice = named("alice", &[]);
        assert_eq!(
            tried(&named("bob", &[]), &alice, &[]).expect_err("a refusal"),
            r#"pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" at the cluster scope"#
        );
        assert_eq!(
            tried(&named("bob", &[]), &alice, &["impersonate-on:user-info:list pods"])
                .expect_err("a refusal"),
            r#"users.authentication.k8s.io "bob" is forbidden: User "alice" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope"#
        );
        let masters = tried(
            &named("bob", &[User::MASTERS]),
            &alice,
            &["impersonate-on:user-info:list pods", "impersonate:user-info users bob"],
        );
        assert!(
            masters
                .expect_err("a refusal")
                .ends_with("impersonating the system:masters group is not allowed")
        );
    }

    #[test]
    fn a_service_account_may_be_the_node_that_it_runs_on() {
        let mut agent = named("system:serviceaccount:a:agent", &[]);
        agent.extra.insert("authentication.kubernetes.io/node-name".into(), vec!["n".into()]);
        let may = &["impersonate-on:associated-node:list pods", "impersonate:associated-node nodes *"];
        let own = tried(&named("system:node:n", &[]), &agent, may);
        assert_eq!(own, Ok(named("system:node:n", &[User::NODES, User::AUTHENTICATED])));
        assert!(tried(&named("system:node:m", &[]), &agent, may).is_err());
    }

    #[test]
    fn headers_without_a_name_are_shown_as_go_shows_them() {
        let wanted = named("", &["x"]);
        let shown = r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, Extra:map[string][]string(nil)} without impersonating a user name"#;
        assert_eq!(nameless(&wanted), shown);
    }
}
