//! Nobody grants what they do not have: the check on writes of roles and of bindings.
//!
//! It stands between the mutating and the validating half of admission, where the original's storage has it.

use serde::Deserialize;
use serde_json::Value;

use super::GROUP;
use super::cover;
use super::rule::{Resolution, ResolveRules, RoleRef, Rule, quoted_list};
use crate::access::{Attributes, Authorize, User, forbidden_because, quoted};
use crate::admission::{AdmissionRequest, Operation};
use crate::refusal;
use apiclient_core::wire::Status;

/// # Errors
/// 403 where the write would grant more than the user has; 404 where a binding's role is missing and the user may not
/// bind it blindly.
pub fn check(
    request: &AdmissionRequest<'_>,
    authorizer: &dyn Authorize,
    rules: &dyn ResolveRules,
) -> Result<(), Status> {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    if request.group != GROUP || !request.subresource.is_empty() || !writes {
        return Ok(());
    }
    if request.user.is_in(User::MASTERS)
        || request.old.is_some_and(|old| differs_only_for_gc(request.object, old))
    {
        return Ok(());
    }
    match request.resource {
        "clusterroles" | "roles" => role(request, authorizer, rules),
        "clusterrolebindings" | "rolebindings" => binding(request, authorizer, rules),
        _ => Ok(()),
    }
}

fn role(
    request: &AdmissionRequest<'_>,
    authorizer: &dyn Authorize,
    resolver: &dyn ResolveRules,
) -> Result<(), Status> {
    // The original asks about the name in the path: none at a creation.
    let name = if request.is_create() { "" } else { request.name };
    if may(request, authorizer, "escalate", request.resource, name) {
        return Ok(());
    }
    let wanted = Vec::<Rule>::deserialize(&request.object["rules"]).unwrap_or_default();
    covered(request, resolver, &wanted)?;
    let aggregates = |of: &Value| {
        of["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|list| !list.is_empty())
    };
    if request.resource == "clusterroles"
        && (aggregates(request.object) || request.old.is_some_and(aggregates))
        && covered(request, resolver, &everything()).is_err()
    {
        return Err(refused(request, "must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

fn binding(
    request: &AdmissionRequest<'_>,
    authorizer: &dyn Authorize,
    resolver: &dyn ResolveRules,
) -> Result<(), Status> {
    let role = RoleRef::deserialize(&request.object["roleRef"]).unwrap_or_default();
    let resource = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        // The original looks the role up before it validates.
        other => return Err(refusal::unknown(format!("unsupported role reference kind: {}", quoted(other)))),
    };
    if may(request, authorizer, "bind", resource, &role.name) {
        return Ok(());
    }
    match resolver.role(&role, request.namespace) {
        Some(wanted) => covered(request, resolver, &wanted),
        // The original names the resource of the request, with the name of the role.
        None => Err(refusal::missing(GROUP, request.resource, &role.name)),
    }
}

fn may(
    request: &AdmissionRequest<'_>,
    authorizer: &dyn Authorize,
    verb: &str,
    resource: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        version: "*".to_owned(),
        resource: resource.to_owned(),
        namespace: request.namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    authorizer.authorize(&attributes, request.user).is_allowed()
}

fn covered(
    request: &AdmissionRequest<'_>,
    resolver: &dyn ResolveRules,
    wanted: &[Rule],
) -> Result<(), Status> {
    let Resolution { rules, errors, .. } = resolver.rules(request.user, request.namespace);
    let missing = cover::missing(&rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = cover::described(&missing).into_iter().collect();
    let mut why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quoted(&request.user.name),
        quoted_list(&request.user.groups),
        lines.join("\n"),
    );
    if !errors.is_empty() {
        let listed =
            if let [one] = errors.as_slice() { one.clone() } else { format!("[{}]", errors.join(", ")) };
        why += &format!("; resolution errors: [{listed}]");
    }
    Err(refused(request, &why))
}

/// Named as the object names itself: without a name while that is to be generated.
fn refused(request: &AdmissionRequest<'_>, why: &str) -> Status {
    let name = request.object["metadata"]["name"].as_str().unwrap_or_default();
    forbidden_because(GROUP, request.resource, name, why)
}

fn everything() -> [Rule; 2] {
    let any = || vec!["*".to_owned()];
    [
        Rule { verbs: any(), api_groups: any(), resources: any(), ..Rule::default() },
        Rule { verbs: any(), paths: any(), ..Rule::default() },
    ]
}

/// The garbage collector removes owners and finalizers from objects whose rights it does not have.
fn differs_only_for_gc(new: &Value, old: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields"] {
                metadata.remove(field);
            }
        }
        object
    };
    bare(new) == bare(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Verdict;
    use crate::rbac::index::Index;
    use crate::rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES};
    use serde_json::json;

    #[derive(Debug)]
    struct World(Index);

    impl Authorize for World {
        fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
            self.0.authorize(attributes, user)
        }
    }

    impl ResolveRules for World {
        fn rules(&self, user: &User, namespace: &str) -> Resolution {
            self.0.rules_for(user, namespace)
        }

        fn role(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>> {
            self.0.rules_of(role, namespace).ok().map(<[Rule]>::to_vec)
        }
    }

    /// Alice may get pods, and what `more` says; the role `full` may all.
    fn world(more: Value) -> World {
        let mut index = Index::default();
        let mut rules = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        if let (Some(list), false) = (rules["rules"].as_array_mut(), more.is_null()) {
            list.push(more);
        }
        index.changed(CLUSTER_ROLES, "", "hers", Some(&rules));
        let full = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
        index.changed(CLUSTER_ROLES, "", "full", Some(&full));
        let binding = json!({
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "hers"},
            "subjects": [{"kind": "User", "name": "alice"}],
        });
        index.changed(CLUSTER_ROLE_BINDINGS, "", "hers", Some(&binding));
        World(index)
    }

    fn checked(world: &World, resource: &str, mut object: Value) -> Result<(), Status> {
        let user = User { name: "alice".into(), groups: vec!["devs".into()], ..User::default() };
        let request = AdmissionRequest {
            group: GROUP,
            version: "v1",
            resource,
            kind: "",
            subresource: "",
            operation: Operation::Create,
            namespace: if resource.starts_with("cluster") { "" } else { "a" },
            name: "x",
            object: &mut object,
            old: None,
            user: &user,
            dry_run: false,
            options: &Value::Null,
        };
        check(&request, world, world)
    }

    fn role_of(verbs: &[&str]) -> Value {
        let rules = json!([{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]);
        json!({"metadata": {"name": "x"}, "rules": rules})
    }

    fn binding_to(role: &str) -> Value {
        let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
        json!({"metadata": {"name": "x"}, "roleRef": role, "subjects": []})
    }

    #[test]
    fn a_role_may_hold_what_its_author_has() {
        let world = world(Value::Null);
        checked(&world, "roles", role_of(&["get"])).expect("held");
        let refused = checked(&world, "roles", role_of(&["get", "list", "watch"])).expect_err("too much");
        let wanted = "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"alice\" (groups=[\"devs\"]) is \
                      attempting to grant RBAC permissions not currently held:\n\
                      {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}";
        assert_eq!((refused.code, refused.message.as_str()), (403, wanted));
    }

    #[test]
    fn escalate_and_bind_are_rights_of_their_own() {
        let more = json!({"verbs": ["escalate"], "apiGroups": [GROUP], "resources": ["roles"]});
        checked(&world(more.clone()), "roles", role_of(&["list"])).expect("may escalate roles");
        checked(&world(more), "clusterroles", role_of(&["list"])).expect_err("but not cluster roles");
        checked(&world(Value::Null), "rolebindings", binding_to("full")).expect_err("has not all");
        let more = json!({"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["full"]});
        let world = world(more);
        checked(&world, "rolebindings", binding_to("full")).expect("may bind");
        checked(&world, "rolebindings", binding_to("hers")).expect("has it all");
        let missing = checked(&world, "clusterrolebindings", binding_to("none")).expect_err("no such role");
        assert_eq!(missing.message, r#"clusterrolebindings.rbac.authorization.k8s.io "none" not found"#);
    }

    #[test]
    fn aggregation_is_for_those_who_may_do_everything() {
        let mut role = role_of(&["get"]);
        role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        let refused = checked(&world(Value::Null), "clusterroles", role).expect_err("not she");
        assert!(refused.message.ends_with("must have cluster-admin privileges to use the aggregationRule"));
    }
}
