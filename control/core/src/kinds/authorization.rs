//! The kinds of `authorization.k8s.io`: questions about what somebody may do. Nothing is stored; who answers, and validates
//! the questions, is in [`crate::reviews`].

use std::sync::Arc;

use control_schema::library::Library;
use serde_json::Value;

use super::entry::Group;
use crate::edit::remove;
use crate::kind::{Context, Kind, Traits};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let authorization = Group {
        library,
        name: "authorization.k8s.io",
        package: "io.k8s.api.authorization",
        versions: &["v1"],
    };
    let review = Traits { only_create: true, ..Traits::default() };
    let local = authorization.kind("LocalSubjectAccessReview", "localsubjectaccessreviews");
    let cluster = [
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews"),
        ("SelfSubjectRulesReview", "selfsubjectrulesreviews"),
        ("SubjectAccessReview", "subjectaccessreviews"),
    ]
    .map(|(kind, plural)| authorization.cluster_kind(kind, plural));
    std::iter::once(local)
        .chain(cluster)
        .map(|entry| entry.traits(review).strategy(Strategy).into())
        .collect()
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, review: &mut Value, _: &Context<'_>) {
        remove(review, "status");
    }
}
