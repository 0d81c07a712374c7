//! The kinds of `batch`: work that ends.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::Subresource::Status;
use crate::kind::{Kind, Traits};

mod cron_job;
mod indexes;
mod job;
mod job_spec;
mod job_status;
mod job_update;
mod policies;
pub mod schedule;
mod time_zone;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let batch = Group { library, name: "batch", package: "io.k8s.api.batch", versions: &["v1"] };
    vec![
        batch
            .kind("CronJob", "cronjobs")
            .short(&["cj"])
            .in_all()
            .subresources(&[Status])
            .columns(cron_job::COLUMNS, cron_job::row)
            .strategy(cron_job::Strategy)
            .into(),
        batch
            .kind("Job", "jobs")
            .in_all()
            .traits(Traits { orphans: true, ..Traits::default() })
            .subresources(&[Status])
            .columns(job::COLUMNS, job::row)
            .strategy(job::Strategy)
            .into(),
    ]
}
