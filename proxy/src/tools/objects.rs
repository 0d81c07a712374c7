//! The objects and what they mean on one node, at one moment.

use std::collections::BTreeSet;
use std::time::Duration;

use proxy_core::cluster::{Change, Cluster};
use proxy_core::objects::Kind;
use proxy_core::table::ServiceTable;

use super::ToolError;
use crate::feeds::{self, Event, directory};
use crate::options::{Feed, Options, Source};

/// How long an API server may take to list everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// All objects, and the table that a proxy makes of them.
#[derive(Clone, Debug)]
pub struct World {
    pub cluster: Cluster,
    pub table: ServiceTable,
    /// What is wrong with a file or an object.
    pub troubles: Vec<String>,
}

impl World {
    /// Reads the objects where the options say. Needs a tokio runtime.
    ///
    /// Where nobody named the node and this host is none of the cluster's, a cluster of one node has but one answer.
    ///
    /// # Errors
    /// The objects cannot be read. One bad object among good ones is in `troubles` instead.
    pub async fn read(options: &Options) -> Result<Self, ToolError> {
        let (cluster, troubles) = match &options.feed {
            Feed::Directory(path) => {
                let loaded = directory::load(path)
                    .map_err(|source| ToolError::Directory { path: path.clone(), source })?;
                let mut cluster = Cluster::default();
                for object in loaded.objects {
                    cluster.apply(Change::Put(object));
                }
                (cluster, loaded.troubles.iter().map(ToString::to_string).collect())
            }
            Feed::Kubernetes { .. } => {
                let listed = tokio::time::timeout(PATIENCE, list(options)).await;
                listed.map_err(|_| ToolError::Late(PATIENCE))??
            }
        };
        let mut core = options.core();
        let chosen = options.settings.get("hostnameOverride").source != Source::Default;
        if !chosen && cluster.node(&core.node_name).is_none() {
            let mut nodes = cluster.nodes();
            if let (Some(only), None) = (nodes.next(), nodes.next()) {
                core.node_name = only.name.clone();
            }
        }
        let table = ServiceTable::build(&cluster, &core);
        Ok(Self { cluster, table, troubles })
    }
}

async fn list(options: &Options) -> Result<(Cluster, Vec<String>), ToolError> {
    let mut feed = feeds::start(&options.feed, &options.node_name).await?;
    let (mut cluster, mut troubles) = (Cluster::default(), Vec::new());
    let mut unlisted: BTreeSet<Kind> = Kind::ALL.into();
    while !unlisted.is_empty() {
        let Some(arrival) = feed.next().await else { break };
        match arrival.event {
            Event::Change(change) => _ = cluster.apply(change),
            Event::Listed(kind) => _ = unlisted.remove(&kind),
            Event::Trouble(trouble) => troubles.push(trouble.to_string()),
        }
    }
    Ok((cluster, troubles))
}
