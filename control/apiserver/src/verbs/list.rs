//! GET of a collection.

use apiclient_core::wire::{ListMeta, Status};
use control_core::refusal;
use control_store::{Freshness, ReadError, Stored};

use crate::call::Call;
use crate::encoding::list::{List, encode};
use crate::encoding::object::Selection;
use crate::registry::Served;
use crate::reply::{Response, reply};
use crate::request::info::exact_name;
use crate::request::options::{IncludeObject, ListOptions};
use crate::storage;
use crate::storage::token::Token;
use crate::storage::versions::{self, ListPlan};

/// # Errors
/// Parameters that make no sense; a version that is too old or too new.
pub async fn run(call: &Call) -> Result<Response, Status> {
    let options = ListOptions::decode(&call.query, false)?;
    let include = IncludeObject::decode(&call.query)?;
    let list = find(call, &options).await?;
    let body = encode(&call.served, &list, call.media, include)?;
    Ok(reply(200, call.media.encoding.media_type(), body))
}

/// Objects of the collection.
///
/// # Errors
/// As [`run`].
pub async fn find(call: &Call, options: &ListOptions) -> Result<List, Status> {
    let served = &*call.served;
    let selection = selection(served, options)?;
    let plan = versions::list(options)?;
    let prefix = prefix(served, &call.resource.namespace, &selection);
    let store = call.server.store();
    let start = plan.start.as_ref().map(|start| format!("{prefix}{start}"));
    let start = start.as_deref().unwrap_or_default();
    let failed = |error: ReadError| failed(&error, &plan);
    let only = exact_name(&selection.fields).filter(|_| plan.start.is_none());
    let (version, found, remaining) = if let Some(name) = only
        && let Ok(key) = served.key(prefix_namespace(served, &prefix), name)
    {
        // One object at most.
        let snapshot = store.list(&prefix, plan.freshness).await.map_err(failed)?;
        let one = snapshot.get(&key).filter(|stored| selection.admits(served, stored)).cloned();
        (snapshot.revision(), one.into_iter().collect(), 0)
    } else if store.is_direct(&prefix) && plan.limit > 0 && selection.is_everything() {
        let page = store.page(&prefix, start, plan.limit, plan.freshness).await.map_err(failed)?;
        (page.revision, page.objects, page.remaining)
    } else {
        let snapshot = store.list(&prefix, plan.freshness).await.map_err(failed)?;
        let mut matching = snapshot.iter_from(start).filter(|stored| selection.admits(served, stored));
        let (found, more): (Vec<Stored>, usize) = match plan.limit {
            0 => (matching.cloned().collect(), 0),
            limit => {
                let page: Vec<Stored> = matching.by_ref().take(limit).cloned().collect();
                let everything = selection.is_everything();
                let more = if everything { matching.count() } else { usize::from(matching.next().is_some()) };
                (page, more)
            }
        };
        if more > 0 {
            snapshot.keep();
        }
        (snapshot.revision(), found, more)
    };
    let mut meta = ListMeta { resource_version: version.to_string(), ..ListMeta::default() };
    if remaining > 0
        && let Some(last) = found.last().and_then(|last| last.key().strip_prefix(prefix.as_str()))
    {
        meta.next = Token::behind(version, last).encode();
        // How many of the rest a selector would admit, nobody knows.
        meta.remaining_item_count =
            selection.is_everything().then(|| i64::try_from(remaining).unwrap_or(i64::MAX));
    }
    Ok(List { meta, objects: found })
}

/// What the keys begin with: of a namespace that the path or a selector names, or of all.
pub fn prefix(served: &Served, namespace: &str, selection: &Selection) -> String {
    if !served.kind.namespaced {
        return served.prefix.clone();
    }
    if !namespace.is_empty() {
        return served.prefix_of(namespace);
    }
    let mut all = selection.fields.requirements().iter();
    let selected = all.find(|one| one.equal && one.field == "metadata.namespace");
    let selected = selected.map(|one| one.value.as_str()).unwrap_or_default();
    let legal = control_core::names::dns1123_label(selected).is_empty();
    served.prefix_of(if legal { selected } else { "" })
}

/// What a watch is to be told of: where one object is named, its key, so that others' changes cost that watch nothing.
pub fn watched(served: &Served, namespace: &str, selection: &Selection) -> String {
    let prefix = prefix(served, namespace, selection);
    let named = exact_name(&selection.fields);
    let key = named.and_then(|name| served.key(prefix_namespace(served, &prefix), name).ok());
    // In all namespaces there may be several of that name: then there is no key.
    key.unwrap_or(prefix)
}

fn prefix_namespace<'a>(served: &Served, prefix: &'a str) -> &'a str {
    prefix.strip_prefix(served.prefix.as_str()).unwrap_or_default().trim_end_matches('/')
}

/// # Errors
/// 400 for a field that the kind has not to select by.
pub fn selection(served: &Served, options: &ListOptions) -> Result<Selection, Status> {
    let (kind, version) = (&served.kind, &*served.of().name);
    let known = kind.strategy.selectable();
    let is_defined = |field: &str| {
        let defined = kind.strategy.defined_fields();
        defined.iter().any(|own| own.name == field && own.versions.iter().any(|own| own == version))
    };
    for one in options.fields.requirements() {
        let field = one.field.as_str();
        let is_metadata = match field {
            "metadata.name" => true,
            // Kinds that name their fields themselves name it only where their objects have it.
            "metadata.namespace" => kind.namespaced || known.is_empty(),
            _ => false,
        };
        if !is_metadata && !known.contains(&field) && !is_defined(field) {
            return Err(refusal::bad_request(kind.strategy.unknown_selector(field)));
        }
    }
    Ok(Selection { labels: options.labels.clone(), fields: options.fields.clone() })
}

/// A list that cannot go on where it should says where it can.
fn failed(error: &ReadError, plan: &ListPlan) -> Status {
    let mut status = storage::read_failed(error);
    if let (ReadError::Expired { .. }, Some(start)) = (error, &plan.start) {
        status.message = CONTINUE_EXPIRED.to_owned();
        status.metadata.next = Token { version: -1, start: start.clone() }.encode();
    }
    if let (ReadError::TooLarge { asked, current }, Freshness::Exactly(_)) = (error, plan.freshness) {
        status = refusal::too_large_resource_version(
            u64::try_from(*asked).unwrap_or(0),
            u64::try_from(*current).unwrap_or(0),
        );
    }
    status
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve \
    the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
    were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
