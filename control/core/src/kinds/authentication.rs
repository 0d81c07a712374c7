//! The kinds of `authentication.k8s.io`: questions about who somebody is. Nothing is stored; who answers is elsewhere.

use std::sync::Arc;

use control_schema::library::Library;
use serde_json::Value;

use super::entry::Group;
use crate::edit::remove;
use crate::kind::{Context, Kind, Traits};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let authentication = Group {
        library,
        name: "authentication.k8s.io",
        package: "io.k8s.api.authentication",
        versions: &["v1"],
    };
    let review = Traits { only_create: true, ..Traits::default() };
    [("SelfSubjectReview", "selfsubjectreviews"), ("TokenReview", "tokenreviews")]
        .map(|(kind, plural)| {
            authentication.cluster_kind(kind, plural).traits(review).strategy(Strategy).into()
        })
        .into()
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, review: &mut Value, _: &Context<'_>) {
        remove(review, "status");
    }
}
