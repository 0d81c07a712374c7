//! The kinds of objects that tests make: where the API has them, and where its server keeps them in etcd.

use serde_json::Value;

use host::programs::ProgramError;

#[derive(Debug)]
pub struct KindOf {
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    /// Below `/registry/`.
    stored: &'static str,
}

const KINDS: [KindOf; 8] = [
    of("v1", "Service", "services", true, "services/specs"),
    of("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true, "endpointslices"),
    of("v1", "Node", "nodes", false, "minions"),
    of("v1", "Namespace", "namespaces", false, "namespaces"),
    of("v1", "Event", "events", true, "events"),
    of("events.k8s.io/v1", "Event", "events", true, "events"),
    of("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", false, "servicecidrs"),
    of("networking.k8s.io/v1", "IPAddress", "ipaddresses", false, "ipaddresses"),
];

const fn of(
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    stored: &'static str,
) -> KindOf {
    KindOf { api_version, kind, plural, namespaced, stored }
}

/// What an object says that it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    kind: &'static KindOf,
    namespace: &'a str,
    pub name: &'a str,
}

impl<'a> Identity<'a> {
    /// Reads `apiVersion`, `kind` and the names. An object without a namespace is in `default`.
    pub fn of(object: &'a Value) -> Result<Self, ProgramError> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (version, kind) = (text("/apiVersion").unwrap_or_default(), text("/kind").unwrap_or_default());
        let known = KINDS.iter().find(|known| known.api_version == version && known.kind == kind);
        let unknown =
            || ProgramError::Unusable(format!("no known kind of object: {version} {kind} in {object}"));
        let name = text("/metadata/name")
            .ok_or_else(|| ProgramError::Unusable(format!("an object without a name: {object}")))?;
        let namespace = text("/metadata/namespace").unwrap_or("default");
        Ok(Self { kind: known.ok_or_else(unknown)?, namespace, name })
    }

    /// The URL path of all objects of its kind and namespace.
    pub fn collection(&self) -> String {
        let KindOf { api_version, plural, namespaced, .. } = self.kind;
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        match namespaced {
            true => format!("{root}/{api_version}/namespaces/{}/{plural}", self.namespace),
            false => format!("{root}/{api_version}/{plural}"),
        }
    }

    /// Its own URL path.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// Its key in the server's etcd.
    pub fn key(&self) -> String {
        let KindOf { stored, namespaced, .. } = self.kind;
        match namespaced {
            true => format!("/registry/{stored}/{}/{}", self.namespace, self.name),
            false => format!("/registry/{stored}/{}", self.name),
        }
    }

    pub fn is(&self, kind: &str) -> bool {
        self.kind.kind == kind
    }

    pub fn namespace(&self) -> &str {
        self.namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_knows_its_paths_and_its_key() {
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                           "metadata": {"namespace": "a", "name": "b"}});
        let found = Identity::of(&slice).unwrap();
        assert_eq!(found.path(), "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices/b");
        assert_eq!(found.key(), "/registry/endpointslices/a/b");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
        let found = Identity::of(&node).unwrap();
        assert_eq!((found.path(), found.key()), ("/api/v1/nodes/n".into(), "/registry/minions/n".into()));
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}});
        assert!(Identity::of(&pod).unwrap_err().to_string().contains("no known kind of object: v1 Pod"));
    }
}
