//! What controllers are told at start.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::autoscaler;
use crate::node_ipam::Network;
use crate::node_lifecycle::Limits;
use crate::service_lb::Pools;
use crate::signing_requests::Signer;

/// Signs tokens of service accounts.
pub trait TokenSigner: Send + Sync {
    /// A token with these claims; `None` where it cannot be signed now.
    fn sign(&self, claims: &Value) -> Option<String>;
}

/// Flags that decisions depend on. The default is the original's.
#[derive(Clone)]
pub struct Settings {
    /// The authority of the API server's certificate, PEM; without one nothing is published.
    pub root_ca: Option<Arc<str>>,
    /// For Secrets that hold a token; without one they stay empty.
    pub tokens: Option<Arc<dyn TokenSigner>>,
    /// By the names of signers (`--cluster-signing-cert-file` and others); without any nothing is signed.
    pub signers: BTreeMap<&'static str, Arc<dyn Signer>>,
    /// How long certificates are valid at most (`--cluster-signing-duration`).
    pub signing_duration: Duration,
    /// How long a token in a Secret may be unused (`--legacy-service-account-token-clean-up-period`).
    pub unused_tokens: Duration,
    pub autoscaler: autoscaler::Settings,
    /// Pods that have ended and may stay (`--terminated-pod-gc-threshold`); 0 for any number.
    pub ended_pods: usize,
    pub node_limits: Limits,
    /// Networks that nodes get their ranges of (`--cluster-cidr`); without any they get none.
    pub pod_networks: Vec<Network>,
    /// Ranges that no node may have (`--service-cluster-ip-range`).
    pub service_networks: Vec<String>,
    /// Addresses for Services of type LoadBalancer (`--load-balancer-pool`); without any they get none.
    pub balanced: Pools,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_ca: None,
            tokens: None,
            signers: BTreeMap::new(),
            signing_duration: YEAR,
            unused_tokens: YEAR,
            autoscaler: autoscaler::Settings::default(),
            ended_pods: 12_500,
            node_limits: Limits::default(),
            pod_networks: Vec::new(),
            service_networks: Vec::new(),
            balanced: Pools::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("root_ca", &self.root_ca.is_some())
            .field("tokens", &self.tokens.is_some())
            .field("signers", &self.signers.keys())
            .field("signing_duration", &self.signing_duration)
            .field("unused_tokens", &self.unused_tokens)
            .field("autoscaler", &self.autoscaler)
            .field("ended_pods", &self.ended_pods)
            .field("node_limits", &self.node_limits)
            .field("pod_networks", &self.pod_networks)
            .field("service_networks", &self.service_networks)
            .field("balanced", &self.balanced)
            .finish()
    }
}
