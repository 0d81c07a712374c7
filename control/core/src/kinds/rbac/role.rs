//! Role and ClusterRole.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::kind::{Context, NameRule};
use crate::selectors::{self, Selector};

#[derive(Debug)]
pub struct Strategy {
    pub namespaced: bool,
}

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn validate_create(&self, object: &Value, _: &Context<'_>) -> Errors {
        self.validate(object, false)
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let selectors = At::object(old).get("aggregationRule").get("clusterRoleSelectors");
        let lenient = selectors.items().any(|selector| !selectors::validate(&selector, false).is_empty());
        self.validate(new, lenient)
    }
}

impl Strategy {
    fn validate(&self, role: &Value, lenient: bool) -> Errors {
        let role = At::object(role);
        let mut errors = Errors::new();
        for rule in role.get("rules").items() {
            errors.extend(self.rule(&rule));
        }
        if !self.namespaced && role.has("aggregationRule") {
            errors.extend(aggregation(&role.get("aggregationRule"), lenient));
        }
        errors
    }

    fn rule(&self, rule: &At<'_>) -> Errors {
        let mut errors = Errors::new();
        let has = |name: &str| !rule.get(name).is_empty();
        if !has("verbs") {
            errors.push(rule.get("verbs").required("verbs must contain at least one value"));
        }
        if has("nonResourceURLs") {
            let urls = rule.get("nonResourceURLs");
            if self.namespaced {
                errors.push(urls.invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if has("apiGroups") || has("resources") || has("resourceNames") {
                errors
                    .push(urls.invalid("rules cannot apply to both regular resources and non-resource URLs"));
            }
            return errors;
        }
        if !has("apiGroups") {
            errors.push(rule.get("apiGroups").required("resource rules must supply at least one api group"));
        }
        if !has("resources") {
            errors.push(rule.get("resources").required("resource rules must supply at least one resource"));
        }
        errors
    }
}

fn aggregation(rule: &At<'_>, lenient: bool) -> Errors {
    let selectors = rule.get("clusterRoleSelectors");
    if selectors.is_empty() {
        return vec![
            selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil"),
        ];
    }
    let mut errors = Errors::new();
    for selector in selectors.items() {
        errors.extend(selectors::validate(&selector, lenient));
        if Selector::of(selector.value).is_none() {
            errors.push(FieldError::invalid_shown(&selector.path, "null", "invalid label selector."));
        }
    }
    errors
}
