//! Fields of a struct by their names, and types by Go's.

use super::{AnyForm, Field, Library, Scalar, Shape, Type};

/// Fields by their names: a table of places, most of them empty, in which a name is where its hash says or close behind.
#[derive(Debug, Default)]
pub(super) struct Names(Box<[u16]>);

impl Names {
    const EMPTY: u16 = u16::MAX;

    pub(super) fn of(fields: &[Field]) -> Self {
        let mut table = vec![Self::EMPTY; (fields.len() * 2 + 1).next_power_of_two()].into_boxed_slice();
        for (place, field) in (0..Self::EMPTY).zip(fields) {
            let mut at = Self::hash(&field.name) & (table.len() - 1);
            while table[at] != Self::EMPTY {
                at = (at + 1) & (table.len() - 1);
            }
            table[at] = place;
        }
        Self(table)
    }

    pub(super) fn find(&self, fields: &[Field], name: &str) -> Option<usize> {
        let mask = self.0.len().checked_sub(1)?;
        let mut at = Self::hash(name) & mask;
        while self.0[at] != Self::EMPTY {
            let place = usize::from(self.0[at]);
            if *fields[place].name == *name {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Of four of its bytes and its length, which tell nearly all fields of a struct apart.
    fn hash(name: &str) -> usize {
        let bytes = name.as_bytes();
        let at = |n: usize| usize::from(bytes.get(n).copied().unwrap_or_default());
        let size = bytes.len();
        size.wrapping_mul(31)
            ^ at(0)
            ^ at(size / 2) << 2
            ^ at(size.wrapping_sub(1)) << 4
            ^ at(size.wrapping_sub(3)) << 1
    }
}

impl Library {
    /// A type as Go names it: `v1.Protocol`, `[]v1.Container`, `map[string]string`.
    pub fn go_name(&self, of: &Type) -> String {
        if !of.go.is_empty() {
            return of.go.to_owned();
        }
        let name = match &of.shape {
            Shape::List { items, .. } => return format!("[]{}", self.go_name(items)),
            Shape::Map { values, .. } => return format!("map[string]{}", self.go_name(values)),
            Shape::Struct { id, .. } => {
                let name = &self.get(*id).name;
                let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
                return name[dots.nth(1).unwrap_or_default()..].to_owned();
            }
            Shape::Scalar(scalar) => match scalar {
                Scalar::Bool => "bool",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Float => "float64",
                Scalar::String => "string",
                Scalar::Bytes => "[]uint8",
                Scalar::Time => "v1.Time",
                Scalar::MicroTime => "v1.MicroTime",
                Scalar::Duration => "v1.Duration",
                Scalar::Quantity => "resource.Quantity",
                Scalar::IntOrString => "intstr.IntOrString",
            },
            Shape::Any(form) => match form {
                AnyForm::Object => "runtime.RawExtension",
                AnyForm::Fields => "v1.FieldsV1",
                AnyForm::Value => "v1.JSON",
                AnyForm::SchemaOrBool(_) => "v1.JSONSchemaPropsOrBool",
                AnyForm::SchemaOrSchemas(_) => "v1.JSONSchemaPropsOrArray",
                AnyForm::SchemaOrStrings(_) => "v1.JSONSchemaPropsOrStringArray",
                AnyForm::None => "interface {}",
            },
        };
        name.to_owned()
    }
}
