//! ServiceCIDR: a range that addresses of Services come from.

use std::time::SystemTime;

use serde_json::Value;

use super::super::{cells, status};
use crate::at::{At, Errors};
use crate::edit::{list, remove, restore};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::IMMUTABLE;
use crate::table::BuiltIn;
use crate::{ages, cidrs, shown};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, range: &mut Value, _: &Context<'_>) {
        remove(range, "status");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            status::keep_metadata(new, old);
            restore(new, old, "spec");
        } else {
            restore(new, old, "status");
        }
    }

    fn validate_create(&self, range: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(range).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if status::is_status(context) {
            return Errors::new();
        }
        let spec = At::object(new).get("spec");
        let (cidrs, before) = (spec.get("cidrs"), list(old, &["spec", "cidrs"]));
        let changed =
            |(cidr, old): (At<'_>, &Value)| (cidr.value != old).then(|| cidr.invalid_text(IMMUTABLE));
        match (before.len(), cidrs.len()) {
            (old, new) if old == new => cidrs.items().zip(before).filter_map(changed).collect(),
            // A second family may be added later.
            (1, 2) => cidrs.items().zip(before).filter_map(changed).chain(validate(&spec)).collect(),
            _ => vec![cidrs.invalid(IMMUTABLE)],
        }
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let cidrs = spec.get("cidrs");
    match cidrs.len() {
        0 => return vec![cidrs.required("at least one CIDR required")],
        1 | 2 => {}
        _ => {
            let spec = shown::fields(&[("CIDRs", shown::any(&cidrs))]);
            return vec![FieldError::invalid_shown(&cidrs.path, &spec, "may only hold up to 2 values")];
        }
    }
    let mut errors = Errors::new();
    for cidr in cidrs.items() {
        errors.extend(cidr.invalid_each(cidrs::strict(cidr.text())));
    }
    let family = |cidr: At<'_>| cidrs::Cidr::parse(cidr.text()).map(|cidr| cidr.address.is_ipv4());
    let families: Vec<Option<bool>> = cidrs.items().map(family).collect();
    if let [Some(first), Some(second)] = families[..]
        && first == second
    {
        errors.push(cidrs.invalid(
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ));
    }
    errors
}

pub const COLUMNS: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("CIDRs", "string", "The ranges, one for each family."), BuiltIn::age()];

pub fn row(range: &Value, now: SystemTime) -> Vec<Value> {
    let cidrs: Vec<&str> = list(range, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
    vec![cells::name(range), cidrs.join(",").into(), ages::of(range, now).into()]
}
