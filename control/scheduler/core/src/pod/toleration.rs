//! Taints of nodes, and which of them a pod tolerates.
//!
//! Facts: `core/v1/toleration.go`.

use serde_json::Value;

use crate::read;

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
    /// None that the scheduler knows.
    Other,
}

impl Effect {
    fn named(text: &str) -> Self {
        match text {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => Self::Other,
        }
    }

    /// It keeps pods away.
    pub fn forbids(self) -> bool {
        matches!(self, Self::NoSchedule | Self::NoExecute)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// Empty: every key.
    key: String,
    /// `None`: every value.
    value: Option<String>,
    /// `None`: every effect.
    effect: Option<Effect>,
}

pub fn read(tolerations: &Value) -> Vec<Toleration> {
    read::list(tolerations).iter().filter_map(toleration).collect()
}

fn toleration(toleration: &Value) -> Option<Toleration> {
    let value = match read::text(toleration, "operator") {
        "" | "Equal" => Some(read::text(toleration, "value").to_owned()),
        "Exists" => None,
        // Lt and Gt are off in the original unless a feature gate is set.
        _ => return None,
    };
    let effect = read::text(toleration, "effect");
    Some(Toleration {
        key: read::text(toleration, "key").to_owned(),
        value,
        effect: (!effect.is_empty()).then(|| Effect::named(effect)),
    })
}

pub fn taints(taints: &Value) -> Vec<Taint> {
    let taint = |taint: &Value| Taint {
        key: read::text(taint, "key").to_owned(),
        value: read::text(taint, "value").to_owned(),
        effect: Effect::named(read::text(taint, "effect")),
    };
    read::list(taints).iter().map(taint).collect()
}

impl Toleration {
    fn covers(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| toleration.covers(taint))
}

/// None of the taints keeps the pod away.
pub fn admits(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints.iter().filter(|taint| taint.effect.forbids()).all(|taint| tolerated(tolerations, taint))
}

/// How many taints would rather not have the pod.
pub fn unwelcome(taints: &[Taint], tolerations: &[Toleration]) -> i64 {
    let count = taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule && !tolerated(tolerations, taint))
        .count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_taint_is_tolerated_by_key_value_and_effect() {
        let taints = taints(&json!([{"key": "a", "value": "b", "effect": "NoSchedule"}]));
        for (toleration, want) in [
            (json!({"key": "a", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "a", "value": "b"}), true),
            (json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}), true),
            (json!({"key": "a", "value": "c"}), false),
            (json!({"key": "b", "operator": "Exists"}), false),
            (json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "a", "operator": "Gt", "value": "0"}), false),
        ] {
            assert_eq!(admits(&taints, &read(&json!([toleration]))), want, "{toleration}");
        }
        assert!(!admits(&taints, &[]));
    }
}
