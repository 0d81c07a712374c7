//! The authority of the API server's certificate, in every namespace.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit;
use serde_json::{Value, json};

use super::is_active;
use crate::kinds::{CONFIG_MAPS, NAMESPACES};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

const NAME: &str = "kube-root-ca.crt";
const ABOUT: &str = "kubernetes.io/description";
/// The original's text: tools compare it.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// Publishes a root certificate. Its keys are namespaces.
#[derive(Debug)]
pub struct RootCa {
    /// PEM.
    certificate: Arc<str>,
}

impl RootCa {
    pub fn new(certificate: Arc<str>) -> Self {
        Self { certificate }
    }
}

impl Controller for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn account(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn follows(&self) -> &[Kind] {
        &[NAMESPACES, CONFIG_MAPS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        match change.kind {
            NAMESPACES => keys.push(object::key(changed)),
            _ if object::name(changed) == NAME => keys.push(ObjectName::new("", object::namespace(changed))),
            _ => {}
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        if !is_active(world, key) {
            return Decision::nothing();
        }
        let data = json!({"ca.crt": &*self.certificate});
        let Some(known) = world.get(CONFIG_MAPS, &ObjectName::new(&*key.name, NAME)) else {
            let published = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"namespace": &*key.name, "name": NAME, "annotations": {ABOUT: DESCRIPTION}},
            });
            return Decision::nothing().then(Act::create(CONFIG_MAPS, published));
        };
        // Somebody's own description stays.
        let described = object::annotation(known, ABOUT).is_some_and(|text| !text.is_empty());
        if object::is_deleting(known) || described && known["data"] == data {
            return Decision::nothing();
        }
        let mut published = Value::clone(known);
        edit::set(&mut published, "data", data);
        if let Some(annotations) = edit::child(&mut published["metadata"], "annotations") {
            edit::set(annotations, ABOUT, DESCRIPTION);
        }
        Decision::nothing().then(Act::update(CONFIG_MAPS, published))
    }
}
