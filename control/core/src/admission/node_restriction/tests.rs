use super::super::tests::{Case, Stored};
use super::*;
use serde_json::json;

fn world() -> Stored {
    let token = json!({"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}]}});
    let pod = json!({"metadata": {"namespace": "a", "name": "p", "uid": "u2"}, "spec": {"nodeName": "n1", "volumes": [token]}});
    Stored::default().with("nodes", json!({"metadata": {"name": "n1", "uid": "u1"}})).with("pods", pod).with(
        "pods",
        json!({"metadata": {"namespace": "a", "name": "q", "uid": "u3"}, "spec": {"nodeName": "n2"}}),
    )
}

fn case(group: &'static str, resource: &'static str, object: Value) -> Case {
    let user = User { name: "system:node:n1".into(), groups: vec![User::NODES.into()], ..User::default() };
    Case { user, ..Case::create(group, resource, object) }
}

fn tried(case: Case) -> Result<(), String> {
    case.mutated(&NodeRestriction, &world()).map(drop).map_err(|refused| {
        let (_, why) = refused.message.split_once(" is forbidden: ").unwrap_or(("", &refused.message));
        why.to_owned()
    })
}

fn mirror() -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true});
    json!({
        "metadata": {"name": "m", "annotations": {MIRROR: "x"}, "ownerReferences": [owner]},
        "spec": {"nodeName": "n1", "volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    })
}

#[test]
fn a_node_makes_mirror_pods_of_its_own_only() {
    assert_eq!(tried(case("", "pods", mirror())), Ok(()));
    type Edit = fn(&mut Value);
    let edits: [(Edit, &str); 7] = [
        (
            |pod| pod["metadata"]["annotations"] = json!({}),
            r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#,
        ),
        (
            |pod| pod["spec"]["nodeName"] = "n2".into(),
            r#"node "n1" can only create pods with spec.nodeName set to itself"#,
        ),
        (
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            r#"node "n1" can only create pods with an owner reference set to itself"#,
        ),
        (
            |pod| pod["metadata"]["ownerReferences"][0]["uid"] = "x".into(),
            "node n1 UID mismatch: expected x got u1",
        ),
        (
            |pod| pod["spec"]["serviceAccountName"] = "x".into(),
            r#"node "n1" can not create pods that reference serviceaccounts"#,
        ),
        (
            |pod| pod["spec"]["volumes"] = json!([{"name": "v", "csi": {"driver": "d"}}]),
            r#"node "n1" can not create pods that reference csidrivers (via CSI volumes)"#,
        ),
        (
            |pod| pod["spec"]["volumes"] = json!([{"name": "v"}]),
            r#"error checking mirror pod for API references: unknown volume type for volume  "v""#,
        ),
    ];
    for (edit, why) in edits {
        let mut pod = mirror();
        edit(&mut pod);
        assert_eq!(tried(case("", "pods", pod)), Err(why.to_owned()));
    }
}

#[test]
fn a_node_deletes_and_evicts_its_own_pods_only() {
    let delete = |name| Case { operation: Operation::Delete, name, ..case("", "pods", json!(null)) };
    assert_eq!(tried(delete("p")), Ok(()));
    assert_eq!(
        tried(delete("q")),
        Err(r#"node "n1" can only delete pods with spec.nodeName set to itself"#.into())
    );
    let evict = |name| Case { subresource: "eviction", name, ..case("", "pods", json!({})) };
    assert_eq!(tried(evict("p")), Ok(()));
    assert_eq!(tried(evict("q")), Err("node n1 can only evict pods with spec.nodeName set to itself".into()));
    let other = Case { subresource: "binding", ..case("", "pods", json!({})) };
    assert_eq!(
        tried(other),
        Err(r#"unexpected pod subresource "binding", only 'status' and 'eviction' are allowed"#.into())
    );
}

#[test]
fn a_node_writes_of_itself_only_and_not_its_own_taints() {
    let node = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}, "spec": {}});
    assert_eq!(
        tried(case("", "nodes", node(json!({"kubernetes.io/hostname": "n1", "acme.org/x": "y"})))),
        Ok(())
    );
    assert_eq!(
        tried(case("", "nodes", node(json!({"node-restriction.kubernetes.io/x": "y", "node-role.kubernetes.io/master": ""})))),
        Err(r#"node "n1" is not allowed to set the following labels: node-restriction.kubernetes.io/x, node-role.kubernetes.io/master"#.into())
    );
    let update = |name, new: Value| Case {
        operation: Operation::Update,
        name,
        old: Some(node(json!({}))),
        ..case("", "nodes", new)
    };
    assert_eq!(
        tried(update("n2", node(json!({})))),
        Err(r#"node "n1" is not allowed to modify node "n2""#.into())
    );
    let tainted = json!({"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "a"}]}});
    assert_eq!(tried(update("n1", tainted)), Err(r#"node "n1" is not allowed to modify taints"#.into()));
    assert_eq!(
        tried(update("n1", node(json!({"kubernetes.io/x": "y"})))),
        Err("is not allowed to modify labels: kubernetes.io/x".into())
    );
}

#[test]
fn a_node_asks_for_tokens_of_its_pods_and_their_audiences() {
    let token = |name: &str, uid: &str, audience: &str| {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        let object = json!({"spec": {"audiences": [audience], "boundObjectRef": bound}});
        tried(Case { subresource: "token", name: "robot", ..case("", "serviceaccounts", object) })
    };
    assert_eq!(token("p", "u2", "vault"), Ok(()));
    assert_eq!(
        token("q", "u3", "vault"),
        Err("node requested token bound to a pod scheduled on a different node".into())
    );
    assert_eq!(token("p", "", "vault"), Err("node requested token with a pod binding without a uid".into()));
    assert_eq!(
        token("p", "u2", "other"),
        Err(r#"audience "other" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"#.into())
    );
}

#[test]
fn a_node_asks_for_its_own_certificate() {
    let tried_for = |name: &str| {
        let request = certificates::tests::request(name, "system:nodes");
        let object = json!({"spec": {"signerName": "kubernetes.io/kubelet-serving", "request": request}});
        tried(case(certificates::GROUP, certificates::REQUESTS, object))
    };
    assert_eq!(tried_for("system:node:n1"), Ok(()));
    assert_eq!(tried_for("system:node:n2"), Err("can only create a node CSR with CN=system:node:n1".into()));
}

#[test]
fn others_are_not_restricted() {
    let other =
        Case { user: User { name: "alice".into(), ..User::default() }, ..case("", "pods", json!({})) };
    assert_eq!(tried(other), Ok(()));
}
