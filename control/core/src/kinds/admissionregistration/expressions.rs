//! Expressions in CEL of policies and webhooks: what they may name, and what they must give.

use control_schema::crd::cel::{Declared, Refusal, Scope, Type};
use serde_json::Value;

use crate::at::At;
use crate::field::FieldError;

/// The name of the type of `variables`.
const VARIABLES: &str = "kubernetes.variables";

/// What the expressions of one object may name.
#[derive(Debug)]
pub struct Expressions {
    scope: Scope,
    /// Of a policy, in the order in which they are written.
    variables: Vec<(String, Declared)>,
}

impl Expressions {
    /// `params`: the policy has parameters. `composed`: it has variables of its own.
    pub fn new(params: bool, composed: bool) -> Self {
        let mut scope = Scope::new([
            ("object", Declared::plain(Type::Dyn)),
            ("oldObject", Declared::plain(Type::Dyn)),
            ("namespaceObject", namespace()),
            ("request", request()),
            ("authorizer", named("kubernetes.authorization.Authorizer")),
        ]);
        let resource = named("kubernetes.authorization.ResourceCheck");
        scope.variables.insert("authorizer.requestResource".to_owned(), resource);
        if params {
            scope.variables.insert("params".to_owned(), Declared::plain(Type::Dyn));
        }
        let mut all = Self { scope, variables: Vec::new() };
        if composed {
            all.declare();
        }
        all
    }

    fn declare(&mut self) {
        let mut variables = Declared::object(VARIABLES, []);
        for (name, of) in &self.variables {
            variables = variables.with_field(name, of.clone());
        }
        self.scope.variables.insert("variables".to_owned(), variables);
    }

    /// Checks a variable, which the expressions after it may name.
    pub fn variable(&mut self, name: &str, expression: &At<'_>) -> Option<FieldError> {
        let (of, error) = match self.scope.check(expression.text()) {
            Ok(of) => (of, None),
            Err(refusal) => (Type::Dyn, Some(told(expression, expression.text(), refusal))),
        };
        self.variables.push((name.to_owned(), Declared::plain(of)));
        self.declare();
        error
    }

    /// One that gives a boolean.
    pub fn condition(&self, expression: &At<'_>) -> Option<FieldError> {
        self.check(expression, expression.text(), &[Type::Bool])
    }

    /// One that gives a text, and may not ask the authorizer.
    pub fn message(&self, expression: &At<'_>) -> Option<FieldError> {
        let mut scope = self.scope.clone();
        scope.variables.retain(|name, _| !name.starts_with("authorizer"));
        let without = Self { scope, variables: Vec::new() };
        without.check(expression, expression.text(), &[Type::Text])
    }

    /// One that gives a text or nothing.
    pub fn annotation(&self, expression: &At<'_>) -> Option<FieldError> {
        self.check(expression, expression.text().trim(), &[Type::Text, Type::Null])
    }

    /// One that makes a part of an object (`Object{...}`), or JSON patches.
    pub fn mutation(&self, expression: &At<'_>, patches: bool) -> Option<FieldError> {
        let with = Self { scope: Scope { makes: made, ..self.scope.clone() }, variables: Vec::new() };
        let wanted = if patches { Type::list(patch().of) } else { Declared::open_object("Object").of };
        let source = expression.text().trim();
        let error = with.check(expression, source, &[wanted])?;
        Some(error)
    }

    fn check(&self, expression: &At<'_>, source: &str, wanted: &[Type]) -> Option<FieldError> {
        match self.scope.check(source) {
            Ok(of) if wanted.iter().any(|wanted| wanted.same(&of)) => None,
            Ok(of) => {
                let names: Vec<String> = wanted.iter().map(Type::name).collect();
                let wanted = match &names[..] {
                    [one] => one.clone(),
                    several => format!("one of [{}]", several.join(" ")),
                };
                Some(invalid(expression, source, &format!("must evaluate to {wanted} but got {}", of.name())))
            }
            Err(refusal) => Some(told(expression, source, refusal)),
        }
    }
}

fn invalid(expression: &At<'_>, source: &str, what: &str) -> FieldError {
    FieldError::invalid(&expression.path, &Value::from(source), what)
}

fn told(expression: &At<'_>, source: &str, refusal: Refusal) -> FieldError {
    match refusal {
        Refusal::Invalid(what) => invalid(expression, source, &what),
        Refusal::Internal(what) => FieldError::internal(&expression.path, &what),
    }
}

fn named(name: &'static str) -> Declared {
    Declared::plain(Type::Named(name))
}

fn text() -> Declared {
    Declared::plain(Type::Text)
}

fn texts() -> Declared {
    Declared::list(text(), 0)
}

/// Who asks for what, without the objects, which have variables of their own.
fn request() -> Declared {
    let named = |name: &str, last: &'static str| {
        Declared::object(name, [("group", text()), ("version", text()), (last, text())])
    };
    let kind = || named("kubernetes.GroupVersionKind", "kind");
    let resource = || named("kubernetes.GroupVersionResource", "resource");
    let user = Declared::object(
        "kubernetes.UserInfo",
        [("username", text()), ("uid", text()), ("groups", texts()), ("extra", Declared::map(texts(), 0))],
    );
    Declared::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Declared::plain(Type::Bool)),
            ("options", Declared::plain(Type::Dyn)),
        ],
    )
}

/// The namespace of the object.
fn namespace() -> Declared {
    let time = || Declared::plain(Type::Time);
    let number = || Declared::plain(Type::Int);
    let condition = Declared::object(
        "kubernetes.NamespaceCondition",
        [
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", time()),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = Declared::object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", Declared::map(text(), 0)),
            ("annotations", Declared::map(text(), 0)),
            ("UID", text()),
            ("creationTimestamp", time()),
            ("deletionGracePeriodSeconds", number()),
            ("deletionTimestamp", time()),
            ("generation", number()),
            ("resourceVersion", text()),
            ("finalizers", texts()),
        ],
    );
    let status = [("conditions", Declared::list(condition, 0)), ("phase", text())];
    Declared::object(
        "kubernetes.Namespace",
        [
            ("metadata", metadata),
            ("spec", Declared::object("kubernetes.NamespaceSpec", [("finalizers", texts())])),
            ("status", Declared::object("kubernetes.NamespaceStatus", status)),
        ],
    )
}

fn patch() -> Declared {
    Declared::object(
        "JSONPatch",
        [("op", text()), ("path", text()), ("from", text()), ("value", Declared::plain(Type::Dyn))],
    )
}

/// Objects that mutations make.
fn made(name: &str) -> Option<Declared> {
    match name {
        "JSONPatch" => Some(patch()),
        name if name == "Object" || name.starts_with("Object.") => Some(Declared::open_object(name)),
        _ => None,
    }
}
