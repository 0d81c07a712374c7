//! One write, to its certain end.
//!
//! An answer that is lost leaves open whether the write was done. The same write is then sent again until the server says
//! what is: a create has a name of its own, an update its version, a deletion its uid, so that none is done twice.

use std::sync::Arc;
use std::time::Duration;

use apiclient::objects::{Api, Write as Sent};
use apiclient::{Failure, Pace, Patch, Query, Resource};
use apiclient_core::wire::Status;
use control_controllers_core::kinds::PODS;
use control_controllers_core::volumes::protection::holds;
use control_controllers_core::{Act, Kind, Write, object};
use control_core::edit::text;
use serde_json::Value;

use crate::Limit;

const REVIEWS: Resource = Resource::new("authorization.k8s.io", "v1", "subjectaccessreviews", false);

/// Between two attempts of one write: at first, at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Writes for one controller. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    api: Arc<dyn Api>,
    limit: Arc<Limit>,
    /// Whether this process may still write: no write begins when its lease may have ended.
    leads: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// How a write ended.
#[derive(Debug)]
pub enum Outcome {
    /// What the server made of it.
    Written(Arc<Value>),
    /// It is deleted, or going; or it was gone before.
    Deleted,
    Refused(Box<Status>),
    /// It was not sent: somebody else leads, or may.
    NotLeading,
}

impl Writer {
    pub fn new(api: Arc<dyn Api>, limit: Arc<Limit>, leads: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { api, limit, leads }
    }

    pub async fn perform(&self, act: &Act) -> Outcome {
        let _leave = self.limit.leave().await;
        let mut pace = Pace::new(PAUSE.0, PAUSE.1);
        let sent = sent(act);
        let mut unsure = false;
        loop {
            let held = self.holds(act).await;
            // Asked last: a lease may end while that is looked up.
            if !(self.leads)() {
                return Outcome::NotLeading;
            }
            let written = match held {
                Ok(()) => self.api.write(&sent).await,
                Err(Failure::Refused(status)) if !is_busy(&status) => return Outcome::Refused(status),
                Err(failure) => Err(failure),
            };
            let failure = match written {
                Ok(object) => {
                    self.limit.answered();
                    return match &act.write {
                        Write::Delete { .. } => Outcome::Deleted,
                        _ => Outcome::Written(object),
                    };
                }
                Err(failure) => failure,
            };
            match failure {
                Failure::Away(_) => unsure = true,
                Failure::Refused(status) if is_busy(&status) => {
                    // A server that gave up waiting may have done it all the same.
                    unsure |= status.code == 504;
                    let wait = self.limit.refused();
                    tokio::time::sleep(wait).await;
                }
                Failure::Refused(status) => return self.refused(act, status, unsure).await,
                Failure::Garbled(problem) => {
                    let status = Status { code: 500, message: problem, ..Status::default() };
                    return Outcome::Refused(Box::new(status));
                }
            }
            tokio::time::sleep(pace.wait(None)).await;
        }
    }

    /// A write of any path, once.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Away`] too where somebody else leads.
    pub async fn once(&self, write: &Sent) -> Result<Arc<Value>, Failure> {
        let _leave = self.limit.leave().await;
        if !(self.leads)() {
            return Err(Failure::Away("this process does not lead".to_owned()));
        }
        let written = self.api.write(write).await;
        match &written {
            Ok(_) => self.limit.answered(),
            Err(Failure::Refused(status)) if is_busy(status) => _ = self.limit.refused(),
            Err(_) => {}
        }
        written
    }

    /// What the act depends on is there, or is not there, by the server's own word.
    async fn holds(&self, act: &Act) -> Result<(), Failure> {
        self.alive(act).await?;
        self.unused(act).await?;
        self.allowed(act).await?;
        let Some((kind, name, uid)) = &act.absent else { return Ok(()) };
        match self.api.read(&resource(*kind).object_path(&name.namespace, &name.name, "")).await {
            Ok(found) if uid.is_empty() || object::uid(&found) == uid => {
                let message = format!("{} {name} is there", kind.name);
                Err(Failure::Refused(Box::new(Status {
                    code: 409,
                    reason: "Conflict".to_owned(),
                    message,
                    ..Status::default()
                })))
            }
            Ok(_) => Ok(()),
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// No pod uses the claim.
    async fn unused(&self, act: &Act) -> Result<(), Failure> {
        let Some(claim) = &act.unused else { return Ok(()) };
        let namespace = object::namespace(claim).to_owned();
        let query = Query { namespace, ..Query::new(PODS.name, resource(PODS)) };
        let listed = self.api.list(&query, false).await?;
        let Some(pod) = listed.objects.iter().find(|pod| holds(pod, claim)) else { return Ok(()) };
        let message = format!("Pod {} uses claim {}", object::key(pod), object::key(claim));
        Err(Failure::Refused(Box::new(Status {
            code: 409,
            reason: "Conflict".to_owned(),
            message,
            ..Status::default()
        })))
    }

    /// The owner that the act is done for is there.
    async fn alive(&self, act: &Act) -> Result<(), Failure> {
        let Some((kind, owner)) = &act.alive else { return Ok(()) };
        let path = resource(*kind).object_path(object::namespace(owner), object::name(owner), "");
        let found = self.api.read(&path).await?;
        if object::uid(&found) == object::uid(owner) && !object::is_deleting(&found) {
            return Ok(());
        }
        let message = format!("{} {:?} is gone or going", kind.name, object::name(owner));
        Err(Failure::Refused(Box::new(Status {
            code: 404,
            reason: "NotFound".to_owned(),
            message,
            ..Status::default()
        })))
    }

    /// Who the act is done for may do it.
    async fn allowed(&self, act: &Act) -> Result<(), Failure> {
        let Some(review) = &act.allowed else { return Ok(()) };
        let path = REVIEWS.path("");
        let review = self.api.write(&Sent::Create { path, object: review.clone() }).await?;
        if review["status"]["allowed"] == true {
            return Ok(());
        }
        let message = "subject access review was not approved".to_owned();
        Err(Failure::Refused(Box::new(Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message,
            ..Status::default()
        })))
    }

    /// A refusal that may be the echo of an attempt that was done.
    async fn refused(&self, act: &Act, status: Box<Status>, unsure: bool) -> Outcome {
        match &act.write {
            Write::Delete { .. } if status.is_not_found() => Outcome::Deleted,
            // Another of its name is there: what was to go is gone. A server may also say so of a change at the same moment:
            // to count that as a deletion would be to wait for the end of what stays.
            Write::Delete { name, options } if status.is_conflict() => {
                let path = resource(act.kind).object_path(&name.namespace, &name.name, "");
                let wanted = text(options, &["preconditions", "uid"]);
                match self.api.read(&path).await {
                    Ok(found) if object::uid(&found) == wanted && !object::is_deleting(&found) => {
                        Outcome::Refused(status)
                    }
                    Ok(_) => Outcome::Deleted,
                    Err(Failure::Refused(found)) if found.is_not_found() => Outcome::Deleted,
                    Err(_) => Outcome::Refused(status),
                }
            }
            Write::Create { object } if unsure && status.already_exists() => {
                let path =
                    resource(act.kind).object_path(object::namespace(object), object::name(object), "");
                match self.api.read(&path).await {
                    Ok(found) if object::controller_uid(&found) == object::controller_uid(object) => {
                        Outcome::Written(found)
                    }
                    _ => Outcome::Refused(status),
                }
            }
            _ => Outcome::Refused(status),
        }
    }
}

/// The same request is good later.
fn is_busy(status: &Status) -> bool {
    matches!(status.code, 429 | 503 | 504)
}

/// As `apiclient` names a kind.
pub fn resource(kind: Kind) -> Resource {
    Resource::new(kind.group, kind.version, kind.plural, kind.namespaced)
}

fn sent(act: &Act) -> Sent {
    let resource = resource(act.kind);
    let whole = |object: &Value| {
        // Items of lists come without them.
        let mut object = object.clone();
        object["apiVersion"] = act.kind.api_version().into();
        object["kind"] = act.kind.name.into();
        object
    };
    match &act.write {
        Write::Create { object } => {
            Sent::Create { path: resource.path(object::namespace(object)), object: whole(object) }
        }
        Write::Update { part, object } => Sent::Update {
            path: resource.object_path(object::namespace(object), object::name(object), part),
            object: whole(object),
        },
        Write::Merge { name, part, patch } => Sent::Patch {
            path: resource.object_path(&name.namespace, &name.name, part),
            patch: Patch::Merge(patch.clone()),
        },
        Write::Strategic { name, part, patch } => Sent::Patch {
            path: resource.object_path(&name.namespace, &name.name, part),
            patch: Patch::Strategic(patch.clone()),
        },
        Write::Delete { name, options } => Sent::Delete {
            path: resource.object_path(&name.namespace, &name.name, ""),
            options: options.clone(),
        },
        Write::Post { name, part, object } => Sent::Create {
            path: resource.object_path(&name.namespace, &name.name, part),
            object: object.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use apiclient::Pending;
    use apiclient::objects::{Changes, Listed};
    use serde_json::json;

    use super::*;

    /// Refuses each write by a conflict, and has one pod, or none.
    struct Busy(Option<Value>);

    fn refusal<T>(code: u16, reason: &str) -> Result<T, Failure> {
        Err(Failure::Refused(Box::new(Status { code, reason: reason.to_owned(), ..Status::default() })))
    }

    impl Api for Busy {
        fn server(&self) -> String {
            "of this test".to_owned()
        }

        fn read<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
            let found = self.0.clone().map(Arc::new);
            Box::pin(async move { found.map_or_else(|| refusal(404, "NotFound"), Ok) })
        }

        fn list<'a>(&'a self, _: &'a Query, _: bool) -> Pending<'a, Result<Listed, Failure>> {
            Box::pin(async { Ok(Listed::default()) })
        }

        fn watch<'a>(&'a self, _: &'a Query, _: &'a str) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
            Box::pin(async { refusal(410, "Expired") })
        }

        fn write<'a>(&'a self, _: &'a Sent) -> Pending<'a, Result<Arc<Value>, Failure>> {
            Box::pin(async { refusal(409, "Conflict") })
        }
    }

    #[tokio::test]
    async fn a_deletion_that_meets_a_conflict_counts_only_where_the_object_has_gone_or_goes() {
        let pod = |uid: &str, more: Value| {
            let mut pod = json!({"metadata": {"namespace": "d", "name": "db-2", "uid": uid}});
            more.as_object().into_iter().flatten().for_each(|(field, value)| {
                pod["metadata"][field] = value.clone();
            });
            pod
        };
        let going = json!({"deletionTimestamp": "2024-01-01T00:00:00Z"});
        for (found, gone) in [
            (None, true),
            (Some(pod("another", json!({}))), true),
            (Some(pod("own", going)), true),
            (Some(pod("own", json!({}))), false),
        ] {
            let api = Arc::new(Busy(found.clone()));
            let writer = Writer::new(api, Arc::new(Limit::default()), Arc::new(|| true));
            let outcome = writer.perform(&Act::delete(PODS, &pod("own", json!({})))).await;
            assert_eq!(matches!(outcome, Outcome::Deleted), gone, "{found:?}: {outcome:?}");
        }
    }
}
