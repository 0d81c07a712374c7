//! DaemonSets: a pod on every node that suits.
//!
//! Owns: which nodes suit ([`nodes`]), which pods they lack or have too much ([`placement`]), updates ([`update`]), what the
//! pods are ([`template`]). The scheduler binds them. Begin at [`DaemonSets::decide`]. Facts: kube-controller-manager 1.36,
//! `pkg/controller/daemon`.

mod nodes;
mod placement;
mod template;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit;
use control_core::selectors::Selector;
use serde_json::{Value, json};

use self::nodes::Needs;
use self::placement::Placement;
use self::template::HASH_LABEL;
use crate::claim::{self, claim};
use crate::kinds::{DAEMON_SETS, NODES, PODS, REVISIONS};
use crate::revisions::{self, History};
use crate::{
    Act, Change, Context, Controller, Decision, Kind, Note, Refused, Stage, World, Write, object, pods,
    status,
};

/// Most pods that are made in one pass, and most that are lost.
const BURST: usize = 250;

/// The controller.
#[derive(Debug)]
pub struct DaemonSets;

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn account(&self) -> &'static str {
        "daemon-set-controller"
    }
    fn follows(&self) -> &[Kind] {
        &[DAEMON_SETS, PODS, NODES, REVISIONS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            DAEMON_SETS => keys.push(object::key(change.object())),
            NODES => node_concerns(world, change, keys),
            _ => change.both().for_each(|owned| claim::owners_of(world, DAEMON_SETS, owned, keys)),
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(set) = world.get(DAEMON_SETS, key).filter(|set| !object::is_deleting(set)) else {
            return Decision::nothing();
        };
        let Some(selector) = Selector::of(&set["spec"]["selector"]) else { return Decision::nothing() };
        if selector.is_empty() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            let note = Note::warning(DAEMON_SETS, set, "SelectingAll", text);
            return Decision { stages: vec![Stage::Tell(note)], again: None };
        }
        let pods = claim(world, PODS, DAEMON_SETS, set, &selector, |_| true);
        let revisions = claim(world, REVISIONS, DAEMON_SETS, set, &selector, |_| true);
        let claims: Vec<Act> = pods.acts.into_iter().chain(revisions.acts).collect();
        if !claims.is_empty() {
            // What comes of them brings the key back.
            return Decision::nothing().all(claims);
        }
        let history = History::of(set, revisions.held);
        let revision = match present(set, &history, &pods.held) {
            Ok(revision) => revision,
            Err(decision) => return decision,
        };
        let placement = Placement::of(set, revision, world.all(NODES), &pods.held, context.now);
        let change = placement.change();
        let (mut begin, mut end) = (change.begin, change.end);
        if begin.is_empty() && end.is_empty() {
            let step = update::step(&placement);
            (begin, end) = (step.begin, step.end);
        }
        begin.truncate(BURST);
        end.truncate(BURST);
        let mut decision =
            Decision { stages: change.notes.into_iter().map(Stage::Tell).collect(), again: change.again };
        if !begin.is_empty() {
            let made = template::pods_for(set, placement.hash(), &begin, context).into_iter();
            decision.stages.push(Stage::Growing(made.map(|pod| pods::made(DAEMON_SETS, set, pod)).collect()));
        }
        decision = decision.all(end.into_iter().map(|pod| pods::lost(DAEMON_SETS, set, pod)).collect());
        let used: BTreeSet<&str> =
            pods.held.iter().filter_map(|pod| object::label(pod, HASH_LABEL)).collect();
        let is_used =
            |revision: &Value| object::label(revision, HASH_LABEL).is_some_and(|hash| used.contains(hash));
        decision = decision.all(history.forgotten(&set["spec"]["revisionHistoryLimit"], is_used));
        if let Some(act) = status::update(DAEMON_SETS, set, counted(&placement), &["collisionCount"]) {
            decision = decision.then(act);
        }
        let least = object::int(set, &["spec", "minReadySeconds"]);
        match pods::next_available(&pods.held, least, context.now) {
            Some(wait) => decision.again_in(wait),
            None => decision,
        }
    }

    fn refused(&self, world: &World, key: &ObjectName, _: &Context, refused: &Refused<'_>) -> Vec<Act> {
        let Some(set) = world.get(DAEMON_SETS, key) else { return Vec::new() };
        let Write::Create { object } = &refused.act.write else { return Vec::new() };
        if refused.code != 409 || refused.act.kind != REVISIONS {
            return Vec::new();
        }
        // Another template has the same hash; a revision that is not known yet may be ours, as the news will tell.
        let Some(other) = world.get(REVISIONS, &refused.act.target()) else { return Vec::new() };
        if object::controller_uid(other) == Some(object::uid(set))
            && edit::semantic_eq(&other["data"], &object["data"])
        {
            return Vec::new();
        }
        let mut counted = Value::clone(set);
        counted["status"]["collisionCount"] = (object::int(set, &["status", "collisionCount"]) + 1).into();
        vec![Act::status(DAEMON_SETS, counted)]
    }
}

/// DaemonSets to which a node is something else than before.
fn node_concerns(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && object::labels(old) == object::labels(new)
        && old["spec"]["taints"] == new["spec"]["taints"]
    {
        return;
    }
    let concerned = world.all(DAEMON_SETS).filter(|set| {
        let needs = Needs::of(set);
        let fit = |node: &Option<Arc<Value>>| node.as_ref().map(|node| needs.fit(node));
        fit(&change.old) != fit(&change.new)
    });
    keys.extend(concerned.map(|set| object::key(set)));
}

/// The revision of the present template; or what makes it be there, alone and with the right number.
fn present<'a>(
    set: &Arc<Value>,
    history: &'a History,
    pods: &[Arc<Value>],
) -> Result<&'a Arc<Value>, Decision> {
    let Some((revision, others)) = history.current.split_last() else {
        let revision = revisions::create(DAEMON_SETS, set, history.next(), HASH_LABEL, true);
        return Err(Decision::nothing().then(Act::create(REVISIONS, revision)));
    };
    if let Some(without) =
        history.current.iter().chain(&history.old).find(|found| object::label(found, HASH_LABEL).is_none())
    {
        let mut labelled = Value::clone(without);
        labelled["metadata"]["labels"][HASH_LABEL] = object::name(without).into();
        return Err(Decision::nothing().then(Act::update(REVISIONS, labelled)));
    }
    if !others.is_empty() {
        // Pods of a duplicate are of this revision too.
        let hash = object::label(revision, HASH_LABEL).unwrap_or_default();
        let labels = json!({"metadata": {"labels": {HASH_LABEL: hash}}});
        let of_another = pods.iter().filter(|pod| {
            others.iter().any(|other| object::label(pod, HASH_LABEL) == object::label(other, HASH_LABEL))
        });
        let relabel = of_another.map(|pod| {
            let mut patch = labels.clone();
            patch["metadata"]["uid"] = object::uid(pod).into();
            Act::new(PODS, Write::Merge { name: object::key(pod), part: "", patch })
        });
        let gone = others.iter().map(|other| Act::delete(REVISIONS, other));
        return Err(Decision::nothing().all(relabel.collect()).all(gone.collect()));
    }
    if revisions::number(revision) < history.next() {
        return Err(Decision::nothing().then(revisions::renumber(revision, history.next())));
    }
    Ok(revision)
}

/// The status, with what is to be seen now.
fn counted(placement: &Placement<'_>) -> Value {
    let set = placement.set;
    let mut status = set["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let (mut current, mut misplaced, mut ready, mut updated, mut available) = (0, 0, 0, 0, 0);
    for (name, (_, fit)) in &placement.nodes {
        let Some(oldest) = placement.pods.get(name).and_then(|pods| pods.first()) else { continue };
        if !fit.begins {
            misplaced += 1;
            continue;
        }
        current += 1;
        ready += i64::from(pods::is_ready(oldest));
        available += i64::from(placement.is_available(oldest));
        updated += i64::from(placement.is_updated(oldest));
    }
    let desired = placement.desired();
    let counts = [
        ("desiredNumberScheduled", desired),
        ("currentNumberScheduled", current),
        ("numberMisscheduled", misplaced),
        ("numberReady", ready),
        ("updatedNumberScheduled", updated),
        ("numberAvailable", available),
        ("numberUnavailable", desired - available),
        ("observedGeneration", edit::generation(set)),
    ];
    for (name, count) in counts {
        status[name] = count.into();
    }
    status
}
