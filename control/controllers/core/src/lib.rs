//! What controllers decide: what is to be written, given the objects that are known and the time.
//!
//! Owns: every decision of the controllers, each in a folder of its name ([`Controller`], [`all`]); what is known of the
//! server's objects, this program's own writes included ([`World`]); the order of work ([`Queue`]).
//! Never: performs I/O, reads the clock.

mod act;
mod amount;
mod claim;
mod controller;
pub mod discovery;
mod engine;
mod hash;
pub mod kinds;
pub mod object;
mod pod_end;
pub mod pods;
mod queue;
mod revisions;
pub mod settings;
mod status;
#[cfg(test)]
mod trial;
mod world;

pub use act::{Act, Note, Stage, Write};
pub use controller::{Context, Controller, Decision, MANAGER, Refused};
pub use engine::{Ended, Engine, Work};
pub use kinds::Kind;
pub use queue::Queue;
pub use settings::Settings;
pub use world::{Change, World};

pub mod autoscaler;
mod bootstrap_signer;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
mod disruption;
pub mod endpoints;
mod expiry;
pub mod garbage;
pub mod job;
mod legacy_tokens;
pub mod namespaces;
pub mod node_ipam;
pub mod node_lifecycle;
mod node_ttl;
mod pod_gc;
pub mod replica_set;
mod resource_claims;
mod resource_quota;
mod role_aggregation;
pub mod service_accounts;
mod service_cidrs;
pub mod service_lb;
pub mod signing_requests;
pub mod stateful_set;
mod taint_eviction;
pub mod ttl_after_finished;
pub mod volumes;

/// Every controller of this program that these settings allow.
pub fn all(settings: &Settings) -> Vec<Box<dyn Controller>> {
    let mut all: Vec<Box<dyn Controller>> = vec![
        Box::new(cron_job::CronJobs),
        Box::new(daemon_set::DaemonSets),
        Box::new(deployment::Deployments),
        Box::new(job::Jobs),
        Box::new(replica_set::ReplicaSets::sets()),
        Box::new(replica_set::ReplicaSets::controllers()),
        Box::new(stateful_set::StatefulSets),
        Box::new(ttl_after_finished::TtlAfterFinished),
        Box::new(service_accounts::Accounts),
        Box::new(endpoints::EndpointSlices),
        Box::new(endpoints::Endpoints),
        Box::new(endpoints::Mirror),
        Box::new(pod_gc::PodGc::new(settings.ended_pods)),
        Box::new(node_ttl::NodeTtl),
        Box::new(resource_quota::ResourceQuotas),
        Box::new(service_cidrs::ServiceCidrs),
        Box::new(expiry::OldRequests),
        Box::new(expiry::OldTokens),
        Box::new(signing_requests::Approving),
        Box::new(bootstrap_signer::BootstrapSigner),
        Box::new(legacy_tokens::LegacyTokens::new(settings.unused_tokens)),
        Box::new(disruption::DisruptionBudgets),
        Box::new(disruption::StaleDisruptions),
        Box::new(role_aggregation::RoleAggregation),
        Box::new(node_lifecycle::NodeLifecycle::new(settings.node_limits)),
        Box::new(taint_eviction::TaintEviction::default()),
        Box::new(volumes::binder::Binder),
        Box::new(volumes::protection::Claims),
        Box::new(volumes::protection::Volumes),
        Box::new(volumes::protection::AttributesClasses),
        Box::new(volumes::ephemeral::EphemeralVolumes),
        Box::new(volumes::expand::Expander),
        Box::new(volumes::attach::AttachDetach::default()),
        Box::new(volumes::local_path::LocalPath),
        Box::new(resource_claims::PodClaims),
        Box::new(resource_claims::Reservations),
    ];
    if let Some(root_ca) = &settings.root_ca {
        all.push(Box::new(service_accounts::RootCa::new(root_ca.clone())));
    }
    if let Some(signer) = &settings.tokens {
        all.push(Box::new(service_accounts::TokenSecrets::new(signer.clone(), settings.root_ca.clone())));
    }
    if !settings.signers.is_empty() {
        let (signers, longest) = (settings.signers.clone(), settings.signing_duration);
        all.push(Box::new(signing_requests::Signing::new(signers, longest)));
    }
    if !settings.pod_networks.is_empty() {
        let (networks, reserved) = (settings.pod_networks.clone(), settings.service_networks.clone());
        all.push(Box::new(node_ipam::NodeIpam::new(networks, reserved)));
    }
    if !settings.balanced.is_empty() {
        all.push(Box::new(service_lb::ServiceLb::new(settings.balanced.clone())));
    }
    all
}
