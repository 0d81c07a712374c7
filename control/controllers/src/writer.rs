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
            // Gone, or another of its name: what was to go is gone.
            Write::Delete { .. } if status.is_not_found() || status.is_conflict() => Outcome::Deleted,
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
