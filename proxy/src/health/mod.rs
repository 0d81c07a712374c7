//! What load balancers, probes and people ask the proxy over HTTP, with kube-proxy's answers.
//!
//! Owns: whether the proxy is well ([`ProxyHealth`]), the server of /healthz and /livez (10256, [`probes`]), the
//! server of /metrics, /proxyMode and /configz (10249, [`report`]), the health-check node ports ([`NodePorts`]).
//! Facts: pkg/proxy/healthcheck and cmd/kube-proxy/app/server.go of kube-proxy 1.36.
//! Never: ends the process because a port is taken, unless the options ask for that.

mod node_ports;
mod probes;
mod report;
mod state;

pub use node_ports::{NodePorts, PortFailure};
pub use probes::probes;
pub use report::{Report, report};
pub use state::{FamilyHealth, Health, ProxyHealth};
pub use telemetry::http::{BindError, Server, WhenTaken, serve};
