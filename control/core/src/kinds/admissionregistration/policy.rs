//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy.

use std::collections::BTreeSet;

use control_schema::crd::cel;
use serde_json::Value;

use super::expressions::Expressions;
use super::matching::{self, one_of};
use crate::at::{At, Errors};
use crate::conditions;
use crate::edit::{default, existing, remove, restore, set_generation};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::status;
use crate::names;

const ANNOTATIONS: usize = 20;

/// Bytes of an expression.
const ANNOTATION: usize = 5 << 10;

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

#[derive(Debug)]
pub struct Strategy {
    pub mutating: bool,
}

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, policy: &mut Value) {
        let Some(spec) = existing(policy, "spec") else {
            return;
        };
        default(spec, "failurePolicy", "Fail");
        if let Some(matching) = existing(spec, "matchConstraints") {
            matching::set_defaults(matching);
        }
    }

    fn prepare_create(&self, policy: &mut Value, _: &Context<'_>) {
        remove(policy, "status");
        set_generation(policy, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
            return;
        }
        restore(new, old, "status");
        status::count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, policy: &Value, _: &Context<'_>) -> Errors {
        self.validate(&At::object(policy))
    }

    fn validate_update(&self, new: &Value, _: &Value, context: &Context<'_>) -> Errors {
        let policy = At::object(new);
        if !status::is_status(context) {
            return self.validate(&policy);
        }
        let status = policy.get("status");
        let mut errors = Errors::new();
        for warning in status.get("typeChecking").get("expressionWarnings").items() {
            for field in ["warning", "fieldRef"] {
                if warning.get(field).text().trim().is_empty() {
                    errors.push(warning.get(field).required(""));
                }
            }
        }
        errors.extend(conditions::validate(&status.get("conditions")));
        errors
    }
}

impl Strategy {
    fn validate(&self, policy: &At<'_>) -> Errors {
        let mut errors = Errors::new();
        let spec = policy.get("spec");
        let failure = spec.get("failurePolicy");
        // The schema's defaults leave an empty spec alone, the original's do not.
        errors.extend(one_of(&failure, &["Fail", "Ignore"]));
        if spec.has("paramKind") {
            errors.extend(matching::param_kind(&spec.get("paramKind")));
        }
        let constraints = spec.get("matchConstraints");
        if constraints.is_absent() {
            errors.push(constraints.required(""));
        } else {
            errors.extend(matching::validate(&constraints));
            if constraints.get("resourceRules").is_empty() {
                errors.push(constraints.get("resourceRules").required(""));
            }
            if self.mutating {
                errors.extend(matching::mutable_operations(&constraints));
            }
        }
        let params = spec.has("paramKind");
        errors.extend(matching::conditions(&spec.get("matchConditions"), params));
        let mut expressions = Expressions::new(params, self.mutating || !spec.get("variables").is_empty());
        errors.extend(spec.get("variables").items().flat_map(|one| variable(&one, &mut expressions)));
        if self.mutating {
            errors.extend(mutations(&spec, &expressions));
        } else {
            errors.extend(validations(&spec, policy.get("metadata").get("name").text(), &expressions));
        }
        errors
    }
}

fn variable(variable: &At<'_>, expressions: &mut Expressions) -> Errors {
    let mut errors = Errors::new();
    let (name, expression) = (variable.get("name"), variable.get("expression"));
    if name.text().trim().is_empty() {
        errors.push(name.required("name is not specified"));
    } else if !names::c_identifier(name.text()).is_empty() || cel::RESERVED.contains(&name.text()) {
        errors.push(name.invalid("must be a valid CEL identifier"));
    }
    match expression_there(&expression, "expression is not specified") {
        Some(error) => errors.push(error),
        None => errors.extend(expressions.variable(name.text(), &expression)),
    }
    errors
}

fn expression_there(expression: &At<'_>, problem: &str) -> Option<FieldError> {
    expression.text().trim().is_empty().then(|| expression.required(problem))
}

fn validations(spec: &At<'_>, name: &str, expressions: &Expressions) -> Errors {
    let mut errors = Errors::new();
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let problem = "validations or auditAnnotations must contain at least one item";
        return vec![validations.required(problem), annotations.required(problem)];
    }
    for validation in validations.items() {
        let expression = validation.get("expression");
        match expression_there(&expression, "expression is not specified") {
            Some(error) => errors.push(error),
            None => errors.extend(expressions.condition(&expression)),
        }
        let (message, reason) = (validation.get("message"), validation.get("reason"));
        let of_expression = validation.get("messageExpression");
        if !of_expression.is_empty() && of_expression.text().trim().is_empty() {
            errors.push(of_expression.invalid("must be non-empty if specified"));
        } else if !of_expression.is_empty() {
            errors.extend(expressions.message(&of_expression));
        }
        if !message.is_empty() && message.text().trim().is_empty() {
            errors.push(message.invalid("must be non-empty if specified"));
        } else if message.text().trim().contains(['\n', '\r']) {
            errors.push(message.invalid("must not contain line breaks"));
        }
        errors.extend(one_of(&reason, &REASONS));
    }
    if annotations.len() > ANNOTATIONS {
        let problem = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        errors.push(annotations.invalid(&problem));
    }
    let mut seen = BTreeSet::new();
    for annotation in annotations.items() {
        let key = annotation.get("key");
        let whole = format!("{name}/{}", key.text());
        let shown = Value::from(whole.as_str());
        if name.is_empty() {
            errors.push(key.invalid_text("requires metadata.name be non-empty"));
        } else {
            let problems = names::qualified(&whole).into_iter();
            errors.extend(problems.map(|problem| FieldError::invalid(&key.path, &shown, &problem)));
        }
        let value = annotation.get("valueExpression");
        match expression_there(&value, "valueExpression is not specified") {
            Some(error) => errors.push(error),
            None if value.text().trim().len() > ANNOTATION => {
                errors.push(value.required(&format!("must not exceed {ANNOTATION} bytes in length")));
            }
            None => errors.extend(expressions.annotation(&value)),
        }
        if !seen.insert(key.text()) {
            errors.push(key.duplicate());
        }
    }
    errors
}

fn mutations(spec: &At<'_>, expressions: &Expressions) -> Errors {
    let mut errors = Errors::new();
    let (mutations, again) = (spec.get("mutations"), spec.get("reinvocationPolicy"));
    if mutations.is_empty() {
        errors.push(mutations.required("mutations must contain at least one item"));
    }
    for mutation in mutations.items() {
        let kind = mutation.get("patchType");
        let (own, other) = match kind.text() {
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "" => {
                errors.push(kind.required(""));
                continue;
            }
            _ => {
                errors.push(kind.not_supported(&["ApplyConfiguration", "JSONPatch"]));
                continue;
            }
        };
        let patch = mutation.get(own);
        if patch.is_absent() {
            errors.push(patch.required(&format!("must be specified when patchType is {}", kind.text())));
        } else {
            let expression = patch.get("expression");
            match expression_there(&expression, "") {
                Some(error) => errors.push(error),
                None => errors.extend(expressions.mutation(&expression, own == "jsonPatch")),
            }
        }
        if mutation.has(other) {
            let shown = Value::from(format!("{{{other}}}"));
            let problem = format!("must not be specified when patchType is {}", kind.text());
            errors.push(FieldError::invalid(&mutation.get(other).path, &shown, &problem));
        }
    }
    if again.is_empty() {
        errors.push(again.required(""));
    } else {
        errors.extend(one_of(&again, &["IfNeeded", "Never"]));
    }
    errors
}
