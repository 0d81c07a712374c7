//! The kinds of `rbac.authorization.k8s.io`: roles, and who has them. What they allow is decided elsewhere.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Traits};

mod binding;
mod role;

const NAME: &str = "rbac.authorization.k8s.io";

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let rbac = Group { library, name: NAME, package: "io.k8s.api.rbac", versions: &["v1"] };
    let traits = Traits { create_on_update: true, ..Traits::default() };
    vec![
        rbac.kind("Role", "roles").traits(traits).strategy(role::Strategy { namespaced: true }).into(),
        rbac.kind("RoleBinding", "rolebindings")
            .traits(traits)
            .columns(binding::COLUMNS, binding::cells)
            .strategy(binding::Strategy { namespaced: true })
            .into(),
        rbac.cluster_kind("ClusterRole", "clusterroles")
            .traits(traits)
            .strategy(role::Strategy { namespaced: false })
            .into(),
        rbac.cluster_kind("ClusterRoleBinding", "clusterrolebindings")
            .traits(traits)
            .columns(binding::COLUMNS, binding::cells)
            .strategy(binding::Strategy { namespaced: false })
            .into(),
    ]
}
