//! What a node may do: read what its pods need, and little else (`--authorization-mode=Node`).
//!
//! Owns: the rules by kind, and [`graph::Graph`], which knows what leads to which node.
//! Never: checks what a request's body says; that is NodeRestriction's, in admission.

pub mod graph;
mod references;

use serde::Deserialize;

use crate::access::{Attributes, User, Verdict, quoted};
use crate::rbac::defaults;
use crate::rbac::rule::{Resolution, Rule};
use graph::{Graph, Thing};

/// The graph, and what all nodes may do.
#[derive(Debug)]
pub struct NodeAuthorizer {
    graph: Graph,
    /// Those of the ClusterRole `system:node`.
    rules: Vec<Rule>,
}

impl Default for NodeAuthorizer {
    fn default() -> Self {
        let own = defaults::objects().into_iter().find(|role| role["metadata"]["name"] == "system:node");
        let rules = own.and_then(|role| Vec::deserialize(&role["rules"]).ok()).unwrap_or_default();
        Self { graph: Graph::default(), rules }
    }
}

const LEASES: &str = "kube-node-lease";

impl NodeAuthorizer {
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    pub fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
        if !user.name.starts_with("system:node:") || !user.is_in(User::NODES) {
            return Verdict::no_opinion("");
        }
        let Some(node) = user.node() else {
            return Verdict::no_opinion(format!("unknown node for user {}", quoted(&user.name)));
        };
        let asked = Asked { graph: &self.graph, node, attributes };
        let (group, resource) = (attributes.group.as_str(), attributes.resource.as_str());
        let decided = match (group, resource) {
            ("", "secrets") => asked.read_one(Thing::Secret),
            ("", "configmaps") => asked.read_one(Thing::ConfigMap),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => {
                match attributes.verb.as_str() {
                    "update" | "patch" => asked.related(Thing::Claim),
                    _ => Err("can only get/update/patch this type".to_owned()),
                }
            }
            ("", "persistentvolumeclaims") => asked.get(Thing::Claim),
            ("", "persistentvolumes") => asked.get(Thing::Volume),
            ("resource.k8s.io", "resourceclaims") => asked.get(Thing::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => asked.get(Thing::Attachment),
            ("", "serviceaccounts") => asked.service_account(),
            ("coordination.k8s.io", "leases") => asked.lease(),
            ("storage.k8s.io", "csinodes") => asked.csi_node(),
            ("resource.k8s.io", "resourceslices") => asked.resource_slice(),
            ("", "nodes") => asked.node(),
            ("", "pods") => asked.pod(),
            // Off by default in 1.36.
            ("certificates.k8s.io", "podcertificaterequests") => Err(String::new()),
            _ if self.rules.iter().any(|rule| rule.allows(attributes)) => Ok(()),
            _ => Err(String::new()),
        };
        match decided {
            Ok(()) => Verdict::allow(""),
            Err(reason) => Verdict::no_opinion(reason),
        }
    }

    /// A node's rights cannot be listed.
    pub fn rules_for(user: &User) -> Resolution {
        if user.node().is_none() {
            return Resolution::default();
        }
        let why = "node authorizer does not support user rule resolution".to_owned();
        Resolution { incomplete: true, errors: vec![why], ..Resolution::default() }
    }
}

/// One question of a node. Each answer is yes, or why not.
struct Asked<'a> {
    graph: &'a Graph,
    node: &'a str,
    attributes: &'a Attributes,
}

type Answer = Result<(), String>;

fn no(reason: &str) -> Answer {
    Err(reason.to_owned())
}

impl Asked<'_> {
    fn verb(&self) -> &str {
        &self.attributes.verb
    }

    fn is_subresource(&self) -> bool {
        !self.attributes.subresource.is_empty()
    }

    fn related(&self, thing: Thing) -> Answer {
        let (namespace, name) = (self.attributes.namespace.as_str(), self.attributes.name.as_str());
        if name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.leads_to(thing, namespace, name, self.node) {
            return Ok(());
        }
        Err(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, thing: Thing) -> Answer {
        match self.verb() {
            "get" if self.is_subresource() => no("cannot get subresource"),
            "get" => self.related(thing),
            _ => no("can only get individual resources of this type"),
        }
    }

    fn read_one(&self, thing: Thing) -> Answer {
        if !self.attributes.is_read_only() {
            return no("can only read resources of this type");
        }
        if self.is_subresource() {
            return no("cannot read subresource");
        }
        if self.attributes.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(thing)
    }

    fn service_account(&self) -> Answer {
        if self.verb() == "get" && !self.is_subresource() {
            return self.read_one(Thing::ServiceAccount);
        }
        if self.verb() != "create" || self.attributes.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if self.attributes.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(Thing::ServiceAccount)
    }

    /// A creation says no name: NodeRestriction looks at it.
    fn is_own_or_new(&self) -> bool {
        self.verb() == "create" || self.attributes.name == self.node
    }

    fn lease(&self) -> Answer {
        if !matches!(self.verb(), "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if self.attributes.namespace != LEASES {
            return Err(format!("can only access leases in the \"{LEASES}\" system namespace"));
        }
        if self.is_own_or_new() {
            return Ok(());
        }
        no("can only access node lease with the same name as the requesting node")
    }

    fn csi_node(&self) -> Answer {
        if !matches!(self.verb(), "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if self.is_subresource() {
            return no("cannot authorize CSINode subresources");
        }
        if self.is_own_or_new() {
            return Ok(());
        }
        no("can only access CSINode with the same name as the requesting node")
    }

    fn selects_itself(&self, field: &str) -> bool {
        let wanted = self.attributes.fields.requirements();
        wanted.iter().any(|one| one.equal && one.field == field && one.value == self.node)
    }

    fn resource_slice(&self) -> Answer {
        if self.is_subresource() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match self.verb() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(Thing::ResourceSlice),
            "watch" | "list" | "deletecollection" if self.selects_itself("spec.nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn node(&self) -> Answer {
        match (self.attributes.subresource.as_str(), self.verb()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") => match self.attributes.name.as_str() {
                name if name == self.node => Ok(()),
                "" => Err(format!("node '{}' cannot read all nodes, only its own Node object", self.node)),
                name => Err(format!("node '{}' cannot read '{name}', only its own Node object", self.node)),
            },
            _ => no(""),
        }
    }

    fn pod(&self) -> Answer {
        match (self.attributes.subresource.as_str(), self.verb()) {
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            ("", "get") => self.get(Thing::Pod),
            ("", "list" | "watch") if self.selects_itself("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !self.attributes.name.is_empty() => self.related(Thing::Pod),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            _ => no(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Decision;
    use apiclient_core::selector::FieldSelector;
    use serde_json::json;

    fn world() -> NodeAuthorizer {
        let mut world = NodeAuthorizer::default();
        let pod = json!({
            "metadata": {"name": "p", "namespace": "a", "uid": "1"},
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "robot",
                "volumes": [
                    {"name": "s", "secret": {"secretName": "s1"}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": "c1"}},
                ],
            },
        });
        world.graph().changed("pods", "a", "p", Some(&pod));
        let volume = json!({
            "spec": {
                "claimRef": {"namespace": "a", "name": "c1"},
                "csi": {
                    "nodeStageSecretRef": {"namespace": "csi", "name": "stage"},
                    "controllerPublishSecretRef": {"namespace": "csi", "name": "controller"},
                },
            },
        });
        world.graph().changed("persistentvolumes", "", "v1", Some(&volume));
        let attachment = json!({"spec": {"nodeName": "n1"}});
        world.graph().changed("volumeattachments.storage.k8s.io", "", "va", Some(&attachment));
        world
    }

    /// `VERB GROUP/RESOURCE[/SUBRESOURCE] NAMESPACE/NAME`, asked by n1.
    fn asked(world: &NodeAuthorizer, text: &str) -> Verdict {
        let user = User {
            name: "system:node:n1".into(),
            groups: vec![User::NODES.into(), User::AUTHENTICATED.into()],
            ..User::default()
        };
        let parts: Vec<_> = text.split(' ').collect();
        let mut resource = parts[1].split('/');
        let mut next = || resource.next().unwrap_or_default().to_owned();
        let (namespace, name) = parts[2].split_once('/').expect("a place");
        let attributes = Attributes {
            verb: parts[0].into(),
            group: next(),
            resource: next(),
            subresource: next(),
            namespace: namespace.into(),
            name: name.into(),
            fields: match parts.get(3) {
                Some(value) => FieldSelector::default().equal("spec.nodeName", value),
                None => FieldSelector::default(),
            },
            ..Attributes::default()
        };
        world.authorize(&attributes, &user)
    }

    #[test]
    fn a_node_reads_what_its_pods_need() {
        let world = world();
        let yes = [
            "get /secrets a/s1",
            "watch /secrets a/s1",
            "get /secrets csi/stage",
            "get /persistentvolumeclaims a/c1",
            "patch /persistentvolumeclaims/status a/c1",
            "get /persistentvolumes /v1",
            "get storage.k8s.io/volumeattachments /va",
            "get /serviceaccounts a/robot",
            "create /serviceaccounts/token a/robot",
            "get /pods a/p",
            "list /pods / n1",
            "list /pods a/ n1",
            "create /pods a/",
            "create /nodes /",
            "get /nodes /n1",
            "patch /nodes/status /n1",
            "update coordination.k8s.io/leases kube-node-lease/n1",
            "create coordination.k8s.io/leases kube-node-lease/",
            "get storage.k8s.io/csinodes /n1",
            "list /services /",
            "create /events a/",
            "create certificates.k8s.io/certificatesigningrequests /",
        ];
        for question in yes {
            assert_eq!(asked(&world, question).decision, Decision::Allow, "{question}");
        }
    }

    #[test]
    fn a_node_is_told_why_it_may_not() {
        let world = world();
        let unrelated = "no relationship found between node 'n1' and this object";
        let no = [
            ("get /secrets a/s2", unrelated),
            ("get /secrets b/s1", unrelated),
            ("get /secrets csi/controller", unrelated),
            ("list /secrets a/", "No Object name found"),
            ("update /secrets a/s1", "can only read resources of this type"),
            ("list /secrets /", "can only read namespaced object of this type"),
            ("list /persistentvolumes /", "can only get individual resources of this type"),
            ("create /serviceaccounts/token a/default", unrelated),
            ("list /pods /", "can only list/watch pods with spec.nodeName field selector"),
            ("list /pods / n2", "can only list/watch pods with spec.nodeName field selector"),
            ("list /nodes /", "node 'n1' cannot read all nodes, only its own Node object"),
            ("get /nodes /n2", "node 'n1' cannot read 'n2', only its own Node object"),
            ("delete /nodes /n1", ""),
            (
                "get coordination.k8s.io/leases a/n1",
                "can only access leases in the \"kube-node-lease\" system namespace",
            ),
            (
                "get coordination.k8s.io/leases kube-node-lease/n2",
                "can only access node lease with the same name as the requesting node",
            ),
            ("list apps/deployments /", ""),
        ];
        for (question, reason) in no {
            assert_eq!(asked(&world, question), Verdict::no_opinion(reason), "{question}");
        }
    }

    #[test]
    fn what_a_pod_needed_is_closed_again_when_it_is_gone() {
        let mut world = world();
        world.graph().changed("pods", "a", "p", None);
        for question in
            ["get /secrets a/s1", "get /secrets csi/stage", "get /pods a/p", "get /persistentvolumes /v1"]
        {
            assert_eq!(asked(&world, question).decision, Decision::NoOpinion, "{question}");
        }
    }

    #[test]
    fn a_mirror_pod_opens_nothing() {
        let mut world = NodeAuthorizer::default();
        let pod = json!({
            "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}},
            "spec": {"nodeName": "n1", "volumes": [{"secret": {"secretName": "s1"}}]},
        });
        world.graph().changed("pods", "a", "p", Some(&pod));
        assert_eq!(asked(&world, "get /pods a/p").decision, Decision::Allow);
        assert_eq!(asked(&world, "get /secrets a/s1").decision, Decision::NoOpinion);
    }
}
