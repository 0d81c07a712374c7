//! What controllers are told at start.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::node_ipam::Network;
use crate::node_lifecycle::Limits;

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
    /// Pods that have ended and may stay (`--terminated-pod-gc-threshold`); 0 for any number.
    pub ended_pods: usize,
    pub node_limits: Limits,
    /// Networks that nodes get their ranges of (`--cluster-cidr`); without any they get none.
    pub pod_networks: Vec<Network>,
    /// Ranges that no node may have (`--service-cluster-ip-range`).
    pub service_networks: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_ca: None,
            tokens: None,
            ended_pods: 12_500,
            node_limits: Limits::default(),
            pod_networks: Vec::new(),
            service_networks: Vec::new(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root_ca, tokens, ended_pods, node_limits, pod_networks, service_networks } = self;
        f.debug_struct("Settings")
            .field("root_ca", &root_ca.is_some())
            .field("tokens", &tokens.is_some())
            .field("ended_pods", ended_pods)
            .field("node_limits", node_limits)
            .field("pod_networks", pod_networks)
            .field("service_networks", service_networks)
            .finish()
    }
}
