//! Admission: what else must hold, or be filled in, before an object is written.
//!
//! Owns: one module for each plugin of the original, their order ([`chain`]), and what they see of a request
//! ([`AdmissionRequest`]) and of the world ([`World`]). Begin at [`Admission`].
//! Never: performs I/O, reads the clock or makes random numbers; what a decision needs it is given.
//!
//! Objects are in the version that is stored, decoded, and defaulted by their schema.

pub mod certificates;
pub mod chain;
pub mod configuration;
pub mod limit_ranger;
pub mod namespace;
pub mod node_restriction;
pub mod pod;
pub mod pod_security;
pub mod priority;
pub mod quota;
pub mod runtime_class;
pub mod service_account;
pub mod storage;
pub mod tolerations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use apiclient_core::wire::Status;
use serde_json::Value;

use crate::access::{Authorize, User, forbidden_because};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
}

/// A write on its way. Which one, by the names of discovery.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// Empty for the core kinds.
    pub group: &'a str,
    pub version: &'a str,
    /// Plural: `pods`.
    pub resource: &'a str,
    /// Of the resource, whatever the subresource: `Pod`.
    pub kind: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub operation: Operation,
    /// Empty for what is in no namespace. That of a Namespace is its own name, as in the original.
    pub namespace: &'a str,
    /// Empty while the name is still to be generated.
    pub name: &'a str,
    /// What is to be written; of a subresource with a kind of its own, that (`Eviction`). `Null` for a deletion.
    pub object: &'a mut Value,
    /// What is there: for updates and deletions.
    pub old: Option<&'a Value>,
    pub user: &'a User,
    pub dry_run: bool,
    /// CreateOptions, UpdateOptions or DeleteOptions.
    pub options: &'a Value,
}

impl AdmissionRequest<'_> {
    /// This resource, and no subresource of it.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.is_subresource(group, resource, "")
    }

    pub fn is_subresource(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.group == group && self.resource == resource && self.subresource == subresource
    }

    pub fn is_create(&self) -> bool {
        self.operation == Operation::Create
    }

    pub fn is_update(&self) -> bool {
        self.operation == Operation::Update
    }

    /// 403, as plugins answer (`admission.NewForbidden`).
    pub fn forbidden(&self, why: &str) -> Status {
        forbidden_because(self.group, self.resource, self.shown_name(), why)
    }

    /// The name in refusals: given, else the prefix of the one to be generated.
    pub fn shown_name(&self) -> &str {
        if !self.name.is_empty() {
            return self.name;
        }
        let given = |field: &str| self.object["metadata"][field].as_str().filter(|name| !name.is_empty());
        match &*self.object {
            Value::Object(_) => given("name").or_else(|| given("generateName")).unwrap_or("Unknown"),
            _ => "Unknown",
        }
    }
}

/// Objects that are stored, as far as this server knows them.
pub trait Objects: fmt::Debug + Send + Sync {
    /// `resource` is as [`crate::kind::Kind::qualified`] has it: `pods`, `priorityclasses.scheduling.k8s.io`. The
    /// namespace is empty for what is in none.
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// In the order of their names. An empty namespace means all.
    fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>>;
}

/// What a decision may look at besides the request.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub objects: &'a dyn Objects,
    /// The whole chain of authorizers: some plugins ask whether the user may do something else, too.
    pub authorizer: &'a dyn Authorize,
    /// For names that must differ.
    pub random: u64,
}

/// What a decision says besides yes or no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Lines for the client's `Warning` headers.
    pub warnings: Vec<String>,
    /// For the audit log: `pod-security.kubernetes.io/audit-violations` and the like.
    pub annotations: BTreeMap<String, String>,
}

/// A plugin. All mutations of the chain come first, then the objects are validated by their strategy, then all
/// validations of the chain.
pub trait Admission: fmt::Debug + Send + Sync {
    /// As `--enable-admission-plugins` names it.
    fn name(&self) -> &'static str;

    /// Fills in. May refuse, too, where it cannot.
    ///
    /// # Errors
    /// The answer to the client.
    fn mutate(&self, _request: &mut AdmissionRequest<'_>, _world: &World<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Sees the object as it would be written.
    ///
    /// # Errors
    /// The answer to the client.
    fn validate(
        &self,
        _request: &AdmissionRequest<'_>,
        _world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::access::{Attributes, Verdict};

    /// Objects of a test, by resource, namespace and name.
    #[derive(Clone, Debug, Default)]
    pub struct Stored(BTreeMap<(String, String, String), Arc<Value>>);

    impl Stored {
        /// In the place of one of this name.
        pub fn with(mut self, resource: &str, object: Value) -> Self {
            let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            self.0.insert((resource.to_owned(), of("namespace"), of("name")), Arc::new(object));
            self
        }

        pub fn without(mut self, resource: &str, namespace: &str, name: &str) -> Self {
            self.0.remove(&(resource.to_owned(), namespace.to_owned(), name.to_owned()));
            self
        }
    }

    impl Objects for Stored {
        fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
            self.0.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
        }

        fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
            let mine = self.0.iter().filter(|((of, within, _), _)| {
                of == resource && (namespace.is_empty() || within == namespace)
            });
            mine.map(|(_, object)| Arc::clone(object)).collect()
        }
    }

    /// Allows what it was given: `VERB RESOURCE NAME`.
    #[derive(Debug)]
    pub struct Allows(pub &'static [&'static str]);

    impl Authorize for Allows {
        fn authorize(&self, attributes: &Attributes, _user: &User) -> Verdict {
            let asked = format!("{} {} {}", attributes.verb, attributes.resource, attributes.name);
            let allowed = self.0.contains(&asked.trim());
            if allowed { Verdict::allow("") } else { Verdict::no_opinion("") }
        }
    }

    /// A request of a test: what differs from a creation in namespace `a` by nobody in particular.
    #[derive(Clone, Debug)]
    pub struct Case {
        pub group: &'static str,
        pub resource: &'static str,
        pub subresource: &'static str,
        pub operation: Operation,
        pub namespace: &'static str,
        pub name: &'static str,
        pub object: Value,
        pub old: Option<Value>,
        pub user: User,
        /// What the user may do besides, as [`Allows`] has it.
        pub allowed: &'static [&'static str],
    }

    impl Case {
        pub fn create(group: &'static str, resource: &'static str, object: Value) -> Self {
            Self {
                group,
                resource,
                subresource: "",
                operation: Operation::Create,
                namespace: "a",
                name: "",
                object,
                old: None,
                user: User::default(),
                allowed: &[],
            }
        }

        fn run<T>(
            &mut self,
            stored: &Stored,
            act: impl FnOnce(&mut AdmissionRequest<'_>, &World<'_>) -> Result<T, Status>,
        ) -> Result<T, Status> {
            let authorizer = Allows(self.allowed);
            let world = World { objects: stored, authorizer: &authorizer, random: 7 };
            let mut request = AdmissionRequest {
                group: self.group,
                version: "v1",
                resource: self.resource,
                kind: "",
                subresource: self.subresource,
                operation: self.operation,
                namespace: self.namespace,
                name: self.name,
                object: &mut self.object,
                old: self.old.as_ref(),
                user: &self.user,
                dry_run: false,
                options: &Value::Null,
            };
            act(&mut request, &world)
        }

        pub fn mutated(mut self, plugin: &dyn Admission, stored: &Stored) -> Result<Value, Status> {
            self.run(stored, |request, world| plugin.mutate(request, world))?;
            Ok(self.object)
        }

        pub fn validated(mut self, plugin: &dyn Admission, stored: &Stored) -> Result<Notes, Status> {
            self.run(stored, |request, world| {
                let mut notes = Notes::default();
                plugin.validate(request, world, &mut notes).map(|()| notes)
            })
        }
    }
}
