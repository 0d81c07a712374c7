//! What is to be written of an autoscaler: the count of its target, and its status.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::time;
use control_core::conditions;
use control_core::edit::{self, text};
use serde_json::{Value, json};

use super::pace::Memory;
use crate::kinds::AUTOSCALERS;
use crate::{Act, Note};

/// A change of the target's count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescale {
    pub from: i64,
    pub to: i64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    autoscaler: Arc<Value>,
    status: Value,
    now: SystemTime,
    /// Told before anything is written.
    pub notes: Vec<Note>,
    pub rescale: Option<Rescale>,
}

impl Plan {
    pub(super) fn new(autoscaler: &Arc<Value>, now: SystemTime) -> Self {
        let mut status = autoscaler["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        Self { autoscaler: Arc::clone(autoscaler), status, now, notes: Vec::new(), rescale: None }
    }

    pub(super) fn set(&mut self, of: &str, is: bool, reason: &str, message: &str) {
        let is = if is { "True" } else { "False" };
        conditions::set(&mut self.status, of, is, reason, message, &time::seconds(self.now));
    }

    pub(super) fn forget(&mut self, of: &str) {
        if let Some(all) = self.status["conditions"].as_array_mut() {
            all.retain(|condition| text(condition, &["type"]) != of);
        }
    }

    pub(super) fn counts(&mut self, current: i64, wanted: i64, metrics: Vec<Value>) {
        edit::set(&mut self.status, "currentReplicas", current);
        edit::set(&mut self.status, "desiredReplicas", wanted);
        match metrics.is_empty() {
            true => edit::remove(&mut self.status, "currentMetrics"),
            false => edit::set(&mut self.status, "currentMetrics", metrics),
        }
    }

    /// The target has its new count.
    pub fn rescaled(&mut self, memory: &mut Memory) {
        let Some(rescale) = self.rescale.clone() else { return };
        let message = format!("the HPA controller was able to update the target scale to {}", rescale.to);
        self.set("AbleToScale", true, "SucceededRescale", &message);
        self.forget("ScaledToZero");
        edit::set(&mut self.status, "lastScaleTime", time::seconds(self.now));
        let told = format!("New size: {}; reason: {}", rescale.to, rescale.reason);
        self.notes = vec![Note::normal(AUTOSCALERS, &self.autoscaler, "SuccessfulRescale", told)];
        if self.autoscaler["spec"]["behavior"].is_object() {
            memory.rescaled(&self.autoscaler, &rescale, self.now);
        }
    }

    /// It has not, for this reason.
    pub fn not_rescaled(&mut self, why: &str) {
        let Some(rescale) = self.rescale.take() else { return };
        let message = format!("the HPA controller was unable to update the target scale: {why}");
        self.set("AbleToScale", false, "FailedUpdateScale", &message);
        let before = self.autoscaler["status"]["desiredReplicas"].as_i64().unwrap_or_default();
        edit::set(&mut self.status, "desiredReplicas", before);
        let told = format!("New size: {}; reason: {}; error: {why}", rescale.to, rescale.reason);
        self.notes = vec![Note::warning(AUTOSCALERS, &self.autoscaler, "FailedRescale", told)];
    }

    /// The write of the status, where it has changed.
    pub fn status(&self) -> Option<Act> {
        let failed = Note::warning(AUTOSCALERS, &self.autoscaler, "FailedUpdateStatus", "");
        let act = crate::status::update(AUTOSCALERS, &self.autoscaler, self.status.clone(), &[]);
        act.map(|act| act.telling_refusals(failed))
    }

    #[cfg(test)]
    pub(super) fn shown(&self) -> &Value {
        &self.status
    }

    /// The condition of a type: its status, reason and message.
    #[cfg(test)]
    pub(super) fn condition(&self, of: &str) -> Option<(&str, &str, &str)> {
        let found =
            edit::list(&self.status, &["conditions"]).iter().find(|one| text(one, &["type"]) == of)?;
        Some((text(found, &["status"]), text(found, &["reason"]), text(found, &["message"])))
    }
}
