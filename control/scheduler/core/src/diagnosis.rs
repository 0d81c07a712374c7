//! Why a pod went nowhere, in the original's words.

use std::collections::BTreeMap;

use crate::cluster::NodeId;
use crate::filters::{Refusal, Rejection};
use crate::plugin::{Plugin, Plugins};
use crate::pod::Pod;

/// What was said about the nodes.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// All nodes, asked or not.
    pub nodes: usize,
    pub rejections: Vec<(NodeId, Rejection)>,
    /// Nodes that were left out since the pod names others.
    pub left_out: usize,
    /// Why no node came into question at all.
    pub refusal: Option<Refusal>,
    /// What extenders said, and whether preemption cannot help.
    pub extenders: Vec<(NodeId, String, bool)>,
    /// Some extender took nodes away.
    pub by_extender: bool,
    /// What came of the attempt to make room; empty where there was none.
    pub preemption: String,
}

impl Diagnosis {
    /// Who said no: what has to change is theirs.
    pub fn plugins(&self) -> Plugins {
        let mut found: Plugins = self.rejections.iter().map(|(_, rejection)| rejection.plugin()).collect();
        if let Some(refusal) = &self.refusal {
            found.add(refusal.plugin);
        }
        if self.left_out > 0 {
            found.add(Plugin::NodeAffinity);
        }
        if self.by_extender {
            found.add(Plugin::Extender);
        }
        found
    }

    /// `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable. preemption: ...`
    pub fn message(&self, pod: &Pod) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        match &self.refusal {
            Some(refusal) if !refusal.message.is_empty() => {
                text.push_str(&format!(" {}.", refusal.message));
            }
            _ => {
                let reasons = self.histogram(pod);
                if !reasons.is_empty() {
                    text.push_str(&format!(" {}.", reasons.join(", ")));
                }
            }
        }
        if !self.preemption.is_empty() {
            text.push(' ');
            text.push_str(&self.preemption);
        }
        text
    }

    fn histogram(&self, pod: &Pod) -> Vec<String> {
        // Equal rejections are many, so that each is put into words once.
        let mut kinds: Vec<(Rejection, usize)> = Vec::new();
        for (_, rejection) in &self.rejections {
            match kinds.iter_mut().find(|(known, _)| known.reason == rejection.reason) {
                Some((_, count)) => *count += 1,
                None => kinds.push((*rejection, 1)),
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (rejection, count) in kinds {
            for text in rejection.texts(pod) {
                *counts.entry(text).or_default() += count;
            }
        }
        for (_, text, _) in &self.extenders {
            *counts.entry(text.clone()).or_default() += 1;
        }
        if self.left_out > 0 {
            counts.insert("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned(), self.left_out);
        }
        let mut lines: Vec<String> =
            counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort();
        lines
    }
}
