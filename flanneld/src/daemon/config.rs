//! The network configuration while the daemon runs: what changed is said once, and nothing else happens.
//!
//! A running daemon keeps the configuration that it started with: another network or backend means other subnets, and
//! with them new pods, on every node.

use flanneld_core::config::NetworkConfig;
use tokio::sync::mpsc;

use crate::error::chain;
use crate::leases::{ConfigEvent, SourceError};

/// Says what each change means, until the watch ends.
pub async fn report(running: NetworkConfig, mut events: mpsc::Receiver<ConfigEvent>) {
    let mut said: Option<String> = None;
    while let Some(event) = events.recv().await {
        let words = words(&running, &event);
        if words == said {
            continue;
        }
        match &words {
            Some(words) => tracing::warn!("{words}"),
            None => tracing::info!("the network configuration is again the one that this daemon runs with"),
        }
        said = words;
    }
}

/// None: it is the one that we run with.
fn words(running: &NetworkConfig, event: &ConfigEvent) -> Option<String> {
    match event {
        ConfigEvent::Is(now) if now == running => None,
        ConfigEvent::Is(now) => Some(format!(
            "the network configuration has changed: {}. This daemon goes on with the former one; restart flanneld on \
             every node to use the new one",
            running.changes(now).join("; ")
        )),
        ConfigEvent::Unusable(SourceError::ConfigMissing { key }) => Some(format!(
            "the network configuration {key} was deleted. This daemon goes on with it, but no flanneld can start \
             before it is written again"
        )),
        ConfigEvent::Unusable(error) => Some(format!(
            "the network configuration has become unusable: {}. This daemon goes on with the former one, but no \
             flanneld can start before it is corrected",
            chain(error)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_in_the_configuration_is_named_with_the_remedy() {
        let parse = |json| NetworkConfig::parse(json).unwrap();
        let running = parse(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
        assert_eq!(words(&running, &ConfigEvent::Is(running.clone())), None);
        let now = parse(r#"{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":7}}"#);
        let said = words(&running, &ConfigEvent::Is(now)).unwrap();
        for part in ["10.5.0.0/16", "10.6.0.0/16", "VNI 7", "goes on", "restart flanneld on every node"] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        let missing = ConfigEvent::Unusable(SourceError::ConfigMissing { key: "/net/config".to_owned() });
        let said = words(&running, &missing).unwrap();
        assert!(said.contains("/net/config was deleted") && said.contains("goes on"), "{said}");
    }
}
