//! What creating and changing means for objects of a kind that is defined at run time.

use apiclient_core::wire::Cause;
use control_schema::crd::{Validator, Violations};
use serde_json::Value;

use crate::edit::{at, generation, remove, restore, semantic_eq, set_generation, text};
use crate::field::{Fault, FieldError, Path};
use crate::kind::{Context, DefinedField, Strategy};
use crate::kinds::status;

#[derive(Debug)]
pub struct Custom {
    /// The status is written by its subresource alone.
    pub has_status: bool,
    /// By apiVersion.
    pub validators: Vec<(String, Validator)>,
    /// What field selectors may ask for.
    pub fields: Vec<DefinedField>,
}

impl Custom {
    fn violations(&self, object: &Value, old: Option<&Value>) -> Violations {
        let version = text(object, &["apiVersion"]);
        let validator = self.validators.iter().find(|(name, _)| name == version);
        validator.map(|(_, validator)| validator.validate(object, old)).unwrap_or_default()
    }

    /// What of an object is not its metadata, and not a status that has a subresource of its own.
    fn same_spec(&self, new: &Value, old: &Value) -> bool {
        let counted = |field: &str| {
            field != "metadata"
                && field != "apiVersion"
                && field != "kind"
                && !(self.has_status && field == "status")
        };
        let fields = |object: &'_ Value| -> Vec<String> {
            let members = object.as_object().into_iter().flatten();
            members.map(|(name, _)| name.clone()).filter(|name| counted(name)).collect()
        };
        let mut all = fields(new);
        all.extend(fields(old));
        all.iter().all(|field| semantic_eq(at(new, &[field]), at(old, &[field])))
    }
}

impl Strategy for Custom {
    fn prepare_create(&self, object: &mut Value, _: &Context<'_>) {
        if self.has_status {
            remove(object, "status");
        }
        set_generation(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            let mut kept = old.clone();
            restore(&mut kept, new, "status");
            restore(&mut kept, new, "metadata");
            *new = kept;
            status::keep_metadata(new, old);
            return;
        }
        if self.has_status {
            restore(new, old, "status");
        }
        if !self.same_spec(new, old) {
            set_generation(new, generation(old) + 1);
        }
    }

    fn validate_create(&self, object: &Value, _: &Context<'_>) -> Vec<FieldError> {
        self.violations(object, None).causes.iter().map(error).collect()
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Vec<FieldError> {
        self.violations(new, Some(old)).causes.iter().map(error).collect()
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_some() { self.violations(object, old).warnings } else { Vec::new() }
    }

    fn defined_fields(&self) -> &[DefinedField] {
        &self.fields
    }

    fn unknown_selector(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    fn checks_legacy_finalizers(&self) -> bool {
        false
    }
}

/// A cause as one of a field's faults.
pub fn error(cause: &Cause) -> FieldError {
    let path = if cause.field == "<nil>" { Path::default() } else { Path::new(&cause.field) };
    FieldError { fault: Fault::named(&cause.reason), path, message: cause.message.clone() }
}
