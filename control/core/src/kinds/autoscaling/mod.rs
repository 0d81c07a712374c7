//! The kinds of `autoscaling`: HorizontalPodAutoscaler, in two versions. Scale is a subresource ([`crate::scale`]).

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

mod columns;
mod convert;
mod defaults;
mod metrics;
mod strategy;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let autoscaling =
        Group { library, name: "autoscaling", package: "io.k8s.api.autoscaling", versions: &["v2", "v1"] };
    vec![
        autoscaling
            .kind("HorizontalPodAutoscaler", "horizontalpodautoscalers")
            .short(&["hpa"])
            .in_all()
            .subresources(&[Subresource::Status])
            .columns(columns::COLUMNS, columns::row)
            .strategy(strategy::Strategy)
            .into(),
    ]
}
