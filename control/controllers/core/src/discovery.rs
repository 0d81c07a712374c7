//! The kinds that a server has, as its discovery documents tell.

use std::collections::BTreeSet;

use control_core::edit::{list, text};
use serde_json::Value;

/// A kind that a server serves in a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub group: String,
    pub version: String,
    /// As paths name it.
    pub plural: String,
    /// As objects name it.
    pub kind: String,
    pub namespaced: bool,
    pub verbs: BTreeSet<String>,
}

impl Resource {
    /// What can be done to its objects.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.contains(verb)
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`; `pods.` in the core group, as the original writes it in conditions.
    pub fn group_resource(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// A group's versions, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub versions: Vec<String>,
}

impl Group {
    /// The path of a version's document.
    pub fn path(&self, version: &str) -> String {
        match &*self.name {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        }
    }
}

/// Reads `/api` and `/apis`.
pub fn groups(core: &Value, named: &Value) -> Vec<Group> {
    let versions = list(core, &["versions"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut groups = vec![Group { name: String::new(), versions }];
    groups.extend(list(named, &["groups"]).iter().map(|group| {
        let preferred = text(group, &["preferredVersion", "version"]);
        let all = list(group, &["versions"]).iter().map(|version| text(version, &["version"]));
        let mut versions: Vec<String> = all.map(str::to_owned).collect();
        versions.sort_by_key(|version| version != preferred);
        Group { name: text(group, &["name"]).to_owned(), versions }
    }));
    groups
}

/// Reads the document of a version; subresources are left out.
pub fn resources(group: &str, version: &str, document: &Value) -> Vec<Resource> {
    let whole =
        list(document, &["resources"]).iter().filter(|resource| !text(resource, &["name"]).contains('/'));
    whole
        .map(|resource| Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: text(resource, &["name"]).to_owned(),
            kind: text(resource, &["kind"]).to_owned(),
            namespaced: resource["namespaced"] == true,
            verbs: list(resource, &["verbs"]).iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
        .collect()
}

/// Each kind once, in the version that its group prefers. `all` has the versions of a group in the order of [`Group`].
pub fn preferred(all: Vec<Resource>) -> Vec<Resource> {
    let mut seen = BTreeSet::new();
    all.into_iter()
        .filter(|resource| seen.insert((resource.group.clone(), resource.plural.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_is_known_once_in_its_preferred_version() {
        let groups = groups(
            &json!({"versions": ["v1"]}),
            &json!({"groups": [{
                "name": "g", "preferredVersion": {"version": "v2"},
                "versions": [{"version": "v1"}, {"version": "v2"}],
            }]}),
        );
        let paths: Vec<String> = groups
            .iter()
            .flat_map(|group| group.versions.iter().map(|version| group.path(version)))
            .collect();
        assert_eq!(paths, ["/api/v1", "/apis/g/v2", "/apis/g/v1"]);
        let document = json!({"resources": [
            {"name": "as", "kind": "A", "namespaced": true, "verbs": ["delete", "list"]},
            {"name": "as/status", "kind": "A", "namespaced": true, "verbs": ["get"]},
        ]});
        let older = json!({"resources": [
            {"name": "as", "kind": "A", "namespaced": true, "verbs": ["delete"]},
            {"name": "bs", "kind": "B", "verbs": ["delete"]},
        ]});
        let all = [resources("g", "v2", &document), resources("g", "v1", &older)].concat();
        let all = preferred(all);
        let names: Vec<(&str, &str, bool)> =
            all.iter().map(|r| (&*r.version, &*r.plural, r.namespaced)).collect();
        assert_eq!(names, [("v2", "as", true), ("v1", "bs", false)]);
        assert!(all[0].can("list") && !all[0].can("watch"));
    }
}
