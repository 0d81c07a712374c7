//! The names of a kind, and which of them are free in its group.

use serde_json::{Value, json};

use crate::edit::{at, list, text};

/// What a kind is called (`CustomResourceDefinitionNames`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub kind: String,
    pub list_kind: String,
    pub categories: Vec<String>,
}

impl Names {
    /// What a definition asks for.
    pub fn of_spec(definition: &Value) -> Self {
        Self::of(at(definition, &["spec", "names"]))
    }

    /// What it has.
    pub fn of_status(definition: &Value) -> Self {
        Self::of(at(definition, &["status", "acceptedNames"]))
    }

    fn of(names: &Value) -> Self {
        let one = |field: &str| text(names, &[field]).to_owned();
        let many = |field: &str| {
            let all = list(names, &[field]).iter().filter_map(Value::as_str);
            all.map(str::to_owned).collect()
        };
        Self {
            plural: one("plural"),
            singular: one("singular"),
            short_names: many("shortNames"),
            kind: one("kind"),
            list_kind: one("listKind"),
            categories: many("categories"),
        }
    }

    pub fn as_value(&self) -> Value {
        let mut names = json!({"plural": self.plural, "kind": self.kind});
        for (field, value) in [("singular", &self.singular), ("listKind", &self.list_kind)] {
            if !value.is_empty() {
                names[field] = value.as_str().into();
            }
        }
        for (field, values) in [("shortNames", &self.short_names), ("categories", &self.categories)] {
            if !values.is_empty() {
                names[field] = json!(values);
            }
        }
        names
    }

    /// What paths and `kubectl` call objects of the kind.
    fn resources(&self) -> impl Iterator<Item = &str> {
        let short = self.short_names.iter().map(String::as_str);
        [self.plural.as_str(), self.singular.as_str()]
            .into_iter()
            .chain(short)
            .filter(|name| !name.is_empty())
    }

    /// The names that a definition gets that asks for these and has `held`, and the reason and message of a conflict
    /// with `others` of its group. A name that is not free stays what it was.
    pub fn accepted(&self, held: &Self, others: &[Self]) -> (Self, Option<(&'static str, String)>) {
        let is_resource = |name: &str| others.iter().any(|other| other.resources().any(|own| own == name));
        let is_kind = |name: &str| others.iter().any(|other| other.kind == name || other.list_kind == name);
        let in_use = |name: &str| format!("{} is already in use", crate::field::quote(name));
        let mut got = held.clone();
        let mut conflict = None;
        let mut refuse = |reason, message| conflict = Some((reason, message));
        match is_resource(&self.plural) {
            true => refuse("PluralConflict", in_use(&self.plural)),
            false => got.plural.clone_from(&self.plural),
        }
        match !self.singular.is_empty() && is_resource(&self.singular) {
            true => refuse("SingularConflict", in_use(&self.singular)),
            false => got.singular.clone_from(&self.singular),
        }
        let taken: Vec<String> =
            self.short_names.iter().filter(|name| is_resource(name)).map(|name| in_use(name)).collect();
        match taken.as_slice() {
            [] => got.short_names.clone_from(&self.short_names),
            [only] => refuse("ShortNamesConflict", only.clone()),
            several => refuse("ShortNamesConflict", format!("[{}]", several.join(", "))),
        }
        match is_kind(&self.kind) {
            true => refuse("KindConflict", in_use(&self.kind)),
            false => got.kind.clone_from(&self.kind),
        }
        match is_kind(&self.list_kind) {
            true => refuse("ListKindConflict", in_use(&self.list_kind)),
            false => got.list_kind.clone_from(&self.list_kind),
        }
        got.categories.clone_from(&self.categories);
        (got, conflict)
    }
}
