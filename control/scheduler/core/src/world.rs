//! All that decisions look at.

use crate::cluster::Cluster;
use crate::preemption::budget::Budgets;
use crate::selectors::Selectors;
use crate::volumes::Storage;

/// What is known of the objects.
#[derive(Debug, Default)]
pub struct World {
    pub cluster: Cluster,
    /// Whose pods are alike.
    pub selectors: Selectors,
    /// Pods that should not be deleted to make room.
    pub budgets: Budgets,
    pub storage: Storage,
}
