//! The plugins in the original's order.
//!
//! ResourceQuota is none of them: it writes, and comes after all validation ([`super::quota`] says what). Webhooks and
//! policies have their places before it: the mutating ones after [`Chain::mutate`], the validating ones after
//! [`Chain::validate`].

use std::collections::BTreeSet;

use apiclient_core::wire::Status;

use super::{Admission, AdmissionRequest, Notes, World};
use super::{
    certificates, limit_ranger, namespace, node_restriction, pod_security, priority, runtime_class,
    service_account, storage, tolerations,
};

/// Which plugins run.
#[derive(Debug)]
pub struct Chain(Vec<Box<dyn Admission>>);

/// What a flag of the server says about its plugins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--enable-admission-plugins`, besides those that are on by default.
    pub enabled: Vec<String>,
    /// `--disable-admission-plugins`.
    pub disabled: Vec<String>,
    pub not_ready_seconds: i64,
    pub unreachable_seconds: i64,
    pub pod_security: pod_security::PodSecurity,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: Vec::new(),
            disabled: Vec::new(),
            not_ready_seconds: 300,
            unreachable_seconds: 300,
            pod_security: pod_security::PodSecurity::default(),
        }
    }
}

/// Off unless enabled.
const OFF: [&str; 1] = ["NodeRestriction"];

impl Chain {
    pub fn new(settings: &Settings) -> Self {
        let mut all = plugins(settings);
        all.retain(|plugin| runs(plugin.name(), settings));
        Self(all)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|plugin| plugin.name())
    }

    /// `looked` is told of each plugin that has looked, and whether it refuses: who measures them reads the clock.
    ///
    /// # Errors
    /// The first refusal.
    pub fn mutate(
        &self,
        request: &mut AdmissionRequest<'_>,
        world: &World<'_>,
        mut looked: impl FnMut(&'static str, bool),
    ) -> Result<(), Status> {
        self.0.iter().try_for_each(|plugin| {
            let outcome = plugin.mutate(request, world);
            looked(plugin.name(), outcome.is_err());
            outcome
        })
    }

    /// `looked`: as for [`Chain::mutate`].
    ///
    /// # Errors
    /// The first refusal.
    pub fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        notes: &mut Notes,
        mut looked: impl FnMut(&'static str, bool),
    ) -> Result<(), Status> {
        self.0.iter().try_for_each(|plugin| {
            let outcome = plugin.validate(request, world, notes);
            looked(plugin.name(), outcome.is_err());
            outcome
        })
    }
}

/// Whether a plugin runs, ResourceQuota among them.
pub fn runs(name: &str, settings: &Settings) -> bool {
    let named = |list: &[String]| list.iter().any(|one| one == name);
    !named(&settings.disabled) && (!OFF.contains(&name) || named(&settings.enabled))
}

/// All names that the flags take: those of plugins, and ResourceQuota.
pub fn known() -> BTreeSet<&'static str> {
    plugins(&Settings::default()).iter().map(|plugin| plugin.name()).chain(["ResourceQuota"]).collect()
}

fn plugins(settings: &Settings) -> Vec<Box<dyn Admission>> {
    vec![
        Box::new(namespace::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(tolerations::TaintNodesByCondition),
        Box::new(settings.pod_security.clone()),
        Box::new(priority::Priority),
        Box::new(tolerations::DefaultTolerationSeconds {
            not_ready: settings.not_ready_seconds,
            unreachable: settings.unreachable_seconds,
        }),
        Box::new(storage::DefaultStorageClass),
        Box::new(storage::StorageObjectInUseProtection),
        Box::new(storage::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(storage::DefaultIngressClass),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_run_in_the_originals_order_unless_they_are_disabled() {
        let names: Vec<_> = Chain::new(&Settings::default()).names().collect();
        assert_eq!(names.first(), Some(&"NamespaceLifecycle"));
        assert!(!names.contains(&"NodeRestriction"));
        let disabled = Settings { disabled: vec!["Priority".to_owned()], ..Settings::default() };
        assert!(!Chain::new(&disabled).names().any(|name| name == "Priority"));
        assert!(known().contains("ResourceQuota"));
    }
}
