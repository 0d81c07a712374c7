//! Asks a server which kinds it has.

use apiclient::Failure;
use apiclient::objects::Api;
use control_controllers_core::discovery::{Group, Resource, groups, preferred, resources};
use futures::StreamExt;
use futures::stream;

/// Documents that are asked for at once.
const AT_ONCE: usize = 8;

/// What a server serves.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Each kind once, in the version that its group prefers.
    pub resources: Vec<Resource>,
    pub groups: Vec<Group>,
    /// Versions that could not be read, and why.
    pub missing: Vec<String>,
}

/// # Errors
/// Nothing could be read at all.
pub async fn discover(api: &dyn Api) -> Result<Discovered, Failure> {
    let (core, named) = futures::try_join!(api.read("/api"), api.read("/apis"))?;
    let all = groups(&core, &named);
    let versions: Vec<_> = all
        .iter()
        .flat_map(|group| group.versions.clone().into_iter().map(move |version| (group.clone(), version)))
        .collect();
    let documents = stream::iter(versions).map(|(group, version)| async move {
        let document = api.read(&group.path(&version)).await;
        (group.name, version, document)
    });
    let mut discovered = Discovered { groups: all, ..Discovered::default() };
    let mut documents = documents.buffered(AT_ONCE);
    while let Some((group, version, document)) = documents.next().await {
        match document {
            Ok(document) => discovered.resources.extend(resources(&group, &version, &document)),
            Err(failure) => discovered.missing.push(format!("{group}/{version}: {failure}")),
        }
    }
    drop(documents);
    discovered.resources = preferred(discovered.resources);
    Ok(discovered)
}

/// As `apiclient` names a kind.
pub fn path(resource: &Resource) -> apiclient::Resource {
    apiclient::Resource {
        group: resource.group.clone().into(),
        version: resource.version.clone().into(),
        plural: resource.plural.clone().into(),
        namespaced: resource.namespaced,
    }
}
