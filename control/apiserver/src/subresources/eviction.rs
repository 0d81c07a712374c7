//! `eviction`: a pod goes, where its PodDisruptionBudget allows it.
//!
//! What the budget says, `control_core::eviction` decides.

use std::sync::Arc;
use std::time::Duration;

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::access::User;
use control_core::admission::Operation;
use control_core::eviction::{self, Judgement};
use control_core::field::{FieldError, Path};
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_store::{Freshness, Stored};
use http::Method;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use serde_json::Value;

use crate::admit::{self, Write};
use crate::call::{Call, Wire};
use crate::encoding::object::decode;
use crate::encoding::status;
use crate::negotiation::{Media, Offer, content_encoding};
use crate::reply::{Body, Response};
use crate::request::info::Resource;
use crate::request::options::{self, DeleteOptions, WriteOptions};
use crate::request::query::Query;
use crate::strategy::managed;
use crate::verbs::delete;
use crate::verbs::store_update::{self, Change, Updated};
use crate::{decoding, storage};

/// How often an eviction is tried where somebody else writes the pod, and what is waited between.
const TRIES: (usize, Duration) = (20, Duration::from_millis(500));

/// Who writes budgets here.
const MANAGER: &str = "kube-apiserver";

/// # Errors
/// The body is no eviction, or the budget allows none now (429).
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let encoding = content_encoding(&call.headers, Offer::All)?;
    let write_options = WriteOptions::decode(&call.query, options::Write::Create)?;
    let versions = ["policy/v1", "policy/v1beta1"];
    let (mut eviction, warnings) =
        decoding::part(&versions, "Eviction", &bytes, encoding, write_options.validation)?;
    call.warn(warnings);
    let namespace = edit::text(&eviction, &["metadata", "namespace"]);
    if !namespace.is_empty() && namespace != call.resource.namespace {
        return Err(refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let name = call.resource.name.clone();
    let write = Write {
        operation: Operation::Create,
        subresource: Some(Subresource::Eviction),
        dry_run: write_options.dry_run,
    };
    admit::mutate(call, &write, &mut eviction, None).await?;
    if edit::text(&eviction, &["metadata", "name"]) != name {
        return Err(refusal::bad_request("name in URL does not match name in Eviction object"));
    }
    let given = edit::at(&eviction, &["deleteOptions"]);
    const BREAKING: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";
    if given[BREAKING].as_bool() == Some(true) {
        let why = "can not be set for pod eviction, try after removing the option";
        let fault = FieldError::invalid(&Path::new("deleteOptions").child(BREAKING), &true.into(), why);
        return Err(refusal::invalid_kind("policy", "Eviction", &name, &[fault]));
    }
    let mut options = DeleteOptions::from_object(given)?;
    options.dry_run |= write_options.dry_run;
    admit::validate(call, &write, &mut eviction, None).await?;
    if let Some(pod) = Box::pin(spare(call, &options)).await? {
        Box::pin(evict(call, &options, &pod)).await?;
    }
    let done = Status { status: "Success".to_owned(), code: 201, ..Status::default() };
    Ok(status::answer(&done, call.media))
}

async fn latest(call: &Call) -> Result<Value, Status> {
    let found = call.server.store().get(&call.key()?, Freshness::Latest).await;
    let found = found.map_err(|error| storage::read_failed(&error))?;
    decode(&call.served, &found.ok_or_else(|| call.not_found())?)
}

/// Deletes a pod that no budget counts; `Some`: the pod runs, and budgets must be asked.
async fn spare(call: &mut Call, options: &DeleteOptions) -> Result<Option<Value>, Status> {
    let (tries, pause) = TRIES;
    let mut tried = 0;
    loop {
        let pod = latest(call).await?;
        if !eviction::ignores_budgets(&pod) {
            return Ok(Some(pod));
        }
        let mut own = options.clone();
        if !eviction::is_over(&pod) && own.resource_version.is_none() {
            own.resource_version = Some(edit::text(&pod, &["metadata", "resourceVersion"]).to_owned());
        }
        tried += 1;
        match mark_and_delete(call, &own).await {
            Err(refused) if refused.is_conflict() && options.resource_version.is_none() && tried < tries => {
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome.map(|()| None),
        }
    }
}

/// Deletes a pod that runs, where its budget allows that.
async fn evict(call: &mut Call, options: &DeleteOptions, pod: &Value) -> Result<(), Status> {
    let budgets = budgets(call).await?;
    let own = eviction::budgets_of(pod, &budgets);
    let (mut options, asked) = (options.clone(), options.resource_version.is_some());
    let mut unready_under = None;
    match own.as_slice() {
        [] => {}
        [budget] => {
            let name = edit::text(budget, &["metadata", "name"]);
            match eviction::judge(pod, budget) {
                Judgement::Free => {
                    // It must not have become ready since.
                    options.resource_version =
                        Some(edit::text(pod, &["metadata", "resourceVersion"]).to_owned());
                    unready_under = Some(name);
                }
                Judgement::Costs => spend(call, name, options.dry_run).await?,
            }
        }
        _ => return Err(eviction::several_budgets()),
    }
    match (mark_and_delete(call, &options).await, unready_under) {
        (Err(refused), Some(budget)) if refused.is_conflict() && !asked => Err(eviction::too_soon(budget)),
        (outcome, _) => outcome,
    }
}

async fn budgets(call: &Call) -> Result<Vec<Value>, Status> {
    let table = call.server.registry().table();
    let Some(served) = table.by_qualified("poddisruptionbudgets.policy") else { return Ok(Vec::new()) };
    let prefix = served.prefix_of(&call.resource.namespace);
    let snapshot = call.server.store().list(&prefix, Freshness::Latest).await;
    let snapshot = snapshot.map_err(|error| storage::read_failed(&error))?;
    snapshot.iter().map(|stored: &Stored| decode(served, stored)).collect()
}

/// Takes an eviction from what a budget allows, as this server's own write.
async fn spend(call: &Call, budget: &str, dry_run: bool) -> Result<(), Status> {
    let table = call.server.registry().table();
    let served = table.by_qualified("poddisruptionbudgets.policy").cloned();
    let mut own = Call {
        server: Arc::clone(&call.server),
        served: served.ok_or_else(|| refusal::missing("policy", "poddisruptionbudgets", budget))?,
        resource: Resource {
            group: "policy".to_owned(),
            version: "v1".to_owned(),
            namespace: call.resource.namespace.clone(),
            resource: "poddisruptionbudgets".to_owned(),
            name: budget.to_owned(),
            subresource: "status".to_owned(),
            ..Resource::default()
        },
        query: Query::default(),
        headers: HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(MANAGER))]),
        method: Method::PUT,
        wire: Wire::default(),
        user: Arc::new(User {
            name: User::SERVER.to_owned(),
            groups: vec![User::MASTERS.to_owned()],
            ..User::default()
        }),
        media: Media::default(),
        now: call.now,
        warnings: Vec::new(),
    };
    let (pod, now) = (call.resource.name.as_str(), time::seconds(call.now));
    let mut make = |call: &mut Call, old: &Value| {
        let mut spent = eviction::spend(old, pod, &now)?;
        managed::track(call, old, &mut spent, MANAGER, Some(Subresource::Status));
        Ok(spent)
    };
    let options =
        WriteOptions { dry_run, ..WriteOptions::decode(&Query::default(), options::Write::Update)? };
    let change = Change {
        subresource: Some(Subresource::Status),
        options: &options,
        uid: None,
        may_create: false,
        make: &mut make,
    };
    store_update::run(&mut own, change).await.map(drop)
}

/// The pod says why it goes, and goes.
async fn mark_and_delete(call: &mut Call, options: &DeleteOptions) -> Result<(), Status> {
    let mut options = options.clone();
    if !options.dry_run {
        let (now, wanted) = (time::seconds(call.now), options.clone());
        let mut make = |call: &mut Call, old: &Value| {
            let mut marked = old.clone();
            holds(&wanted, old, &call.resource.name)?;
            eviction::mark(&mut marked, &now);
            Ok(marked)
        };
        let of_status = WriteOptions::decode(&Query::default(), options::Write::Update)?;
        let change = Change {
            subresource: Some(Subresource::Status),
            options: &of_status,
            uid: None,
            may_create: false,
            make: &mut make,
        };
        match store_update::run(call, change).await? {
            Updated::Written { stored, .. } if options.resource_version.is_some() => {
                // It was this write that made it another version.
                options.resource_version = Some(stored.revision().to_string());
            }
            Updated::Written { .. } | Updated::Value(_) => {}
            Updated::Absent => return Err(call.not_found()),
        }
    }
    delete::one(call, &options).await.map(drop)
}

/// # Errors
/// 409: the pod is another one by now, or another version of it.
fn holds(options: &DeleteOptions, pod: &Value, name: &str) -> Result<(), Status> {
    let text = |field| edit::text(pod, &["metadata", field]);
    let refuse = |why: String| Err(refusal::conflict_on("", "Pod", name, &why));
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| !wanted.is_empty() && *wanted != text("uid"))
    {
        return refuse(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            text("uid")
        ));
    }
    let version = text("resourceVersion");
    let wanted = options.resource_version.as_deref();
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty() && *wanted != version) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        ));
    }
    Ok(())
}
