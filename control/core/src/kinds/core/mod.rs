//! The kinds of the core group.
//!
//! A module holds the strategies, validation and columns of a kind or two; [`resources`] and [`cells`] what they share.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource, Traits};

pub mod cells;
pub mod claim;
mod config;
mod controller;
pub mod endpoints;
pub mod event;
mod limit_range;
mod namespace;
mod node;
pub mod pod;
mod quota;
pub mod resources;
pub mod service;
mod volume;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    use Subresource::{Finalize, Proxy, Scale, Status, Token};
    let core = Group { library, name: "", package: "io.k8s.api.core", versions: &["v1"] };
    let create_on_update = Traits { create_on_update: true, ..Traits::default() };
    let event = Traits { ttl: Some(3_600), no_garbage_collection: true, ..create_on_update };
    let namespace = Traits { no_delete_collection: true, ..Traits::default() };
    [
        core.kind("Binding", "bindings").traits(Traits { only_create: true, ..Traits::default() }),
        core.cluster_kind("ComponentStatus", "componentstatuses")
            .short(&["cs"])
            .traits(Traits { only_read: true, ..Traits::default() })
            .columns(controller::COMPONENT_STATUS, controller::component_status),
        core.kind("ConfigMap", "configmaps")
            .short(&["cm"])
            .strategy(config::ConfigMap)
            .columns(config::CONFIG_MAP, config::config_map),
        core.kind("Endpoints", "endpoints")
            .short(&["ep"])
            .stored_under("services/endpoints")
            .traits(create_on_update)
            .strategy(endpoints::Endpoints)
            .columns(endpoints::ENDPOINTS, endpoints::endpoints),
        core.kind("Event", "events")
            .short(&["ev"])
            .traits(event)
            .strategy(event::Event)
            .columns(event::EVENT, event::event),
        core.kind("LimitRange", "limitranges")
            .short(&["limits"])
            .traits(create_on_update)
            .strategy(limit_range::LimitRange),
        core.cluster_kind("Namespace", "namespaces")
            .short(&["ns"])
            .subresources(&[Finalize, Status])
            .traits(namespace)
            .strategy(namespace::Namespace)
            .columns(namespace::NAMESPACE, namespace::namespace),
        core.cluster_kind("Node", "nodes")
            .short(&["no"])
            .stored_under("minions")
            .subresources(&[Proxy, Status])
            .strategy(node::Node)
            .columns(node::NODE, node::node),
        core.cluster_kind("PersistentVolume", "persistentvolumes")
            .short(&["pv"])
            .subresources(&[Status])
            .strategy(volume::PersistentVolume)
            .columns(volume::PERSISTENT_VOLUME, volume::persistent_volume),
        core.kind("PersistentVolumeClaim", "persistentvolumeclaims")
            .short(&["pvc"])
            .subresources(&[Status])
            .strategy(claim::PersistentVolumeClaim)
            .columns(claim::PERSISTENT_VOLUME_CLAIM, claim::persistent_volume_claim),
        core.kind("Pod", "pods")
            .short(&["po"])
            .in_all()
            .subresources(pod::SUBRESOURCES)
            .traits(Traits { graceful: true, ..Traits::default() })
            .strategy(pod::Pod)
            .columns(pod::table::POD, pod::table::pod),
        core.kind("PodTemplate", "podtemplates")
            .strategy(controller::PodTemplate)
            .columns(controller::POD_TEMPLATE, controller::pod_template),
        core.kind("ReplicationController", "replicationcontrollers")
            .short(&["rc"])
            .in_all()
            .traits(Traits { orphans: true, ..Traits::default() })
            .stored_under("controllers")
            .subresources(&[Scale, Status])
            .strategy(controller::ReplicationController)
            .columns(controller::REPLICATION_CONTROLLER, controller::replication_controller),
        core.kind("ResourceQuota", "resourcequotas")
            .short(&["quota"])
            .subresources(&[Status])
            .strategy(quota::ResourceQuota)
            .columns(quota::RESOURCE_QUOTA, quota::resource_quota),
        core.kind("Secret", "secrets").strategy(config::Secret).columns(config::SECRET, config::secret),
        core.kind("Service", "services")
            .short(&["svc"])
            .in_all()
            .stored_under("services/specs")
            .subresources(&[Proxy, Status])
            .traits(create_on_update)
            .strategy(service::Service)
            .columns(service::table::SERVICE, service::table::service),
        core.kind("ServiceAccount", "serviceaccounts")
            .short(&["sa"])
            .subresources(&[Token])
            .strategy(namespace::ServiceAccount)
            .columns(namespace::SERVICE_ACCOUNT, namespace::service_account),
    ]
    .map(Kind::from)
    .into()
}
