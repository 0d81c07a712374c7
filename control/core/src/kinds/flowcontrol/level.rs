//! PriorityLevelConfiguration: how many requests of a level run at a time, and how many wait.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, restore, semantic_eq, set, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::{cells, status};
use crate::shown;
use crate::table::BuiltIn;

const QUEUES: i64 = 10_000_000;

/// Bits of the hash that requests are dealt to queues with.
const HASH: i64 = 60;

/// An annotation of versions before this one.
const KEEP_ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, level: &mut Value) {
        default(level, "spec", Map::new());
        let Some(spec) = existing(level, "spec") else {
            return;
        };
        if let Some(exempt) = existing(spec, "exempt") {
            default(exempt, "nominalConcurrencyShares", 0);
            default(exempt, "lendablePercent", 0);
        }
        let Some(limited) = existing(spec, "limited") else {
            return;
        };
        default(limited, "nominalConcurrencyShares", 30);
        default(limited, "lendablePercent", 0);
        let response = existing(limited, "limitResponse");
        if let Some(queuing) = response.and_then(|response| existing(response, "queuing")) {
            for (field, value) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                default(queuing, field, value);
            }
        }
    }

    fn prepare_create(&self, level: &mut Value, _: &Context<'_>) {
        status::prepare_create(level);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
        }
    }

    fn validate_create(&self, level: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(level))
    }

    fn validate_update(&self, new: &Value, _: &Value, context: &Context<'_>) -> Errors {
        let new = At::object(new);
        if status::is_status(context) { super::conditions(&new.get("status")) } else { validate(&new) }
    }
}

fn validate(level: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (metadata, spec) = (level.get("metadata"), level.get("spec"));
    let name = metadata.get("name").text();
    let annotations = metadata.get("annotations");
    if annotations.has(KEEP_ZERO) {
        errors.push(annotations.forbidden(&format!("annotation '{KEEP_ZERO}' is forbidden")));
    }
    errors.extend(validate_spec(&spec, name));
    errors.extend(mandatory(&spec, name));
    errors.extend(super::conditions(&level.get("status")));
    errors
}

fn validate_spec(spec: &At<'_>, name: &str) -> Errors {
    let mut errors = Errors::new();
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (name == "exempt") != (kind.text() == "Exempt") {
        errors.push(kind.invalid_text("must be 'Exempt' if and only if `name` is 'exempt'"));
    }
    match kind.text() {
        "Exempt" => {
            if !limited.is_absent() {
                errors.push(limited.forbidden("must be nil if the type is not Limited"));
            }
            if !exempt.is_absent() {
                errors.extend(shares(&exempt));
                errors.extend(lendable(&exempt));
            }
        }
        "Limited" => {
            if !exempt.is_absent() {
                errors.push(exempt.forbidden("must be nil if the type is Limited"));
            }
            if limited.is_absent() {
                errors.push(limited.required("must not be empty when type is Limited"));
            } else {
                errors.extend(shares(&limited));
                errors.extend(response(&limited.get("limitResponse")));
                errors.extend(lendable(&limited));
                let borrowing = limited.get("borrowingLimitPercent");
                if borrowing.int().is_some_and(|percent| percent < 0) {
                    errors.push(borrowing.invalid("if specified, must be a non-negative integer"));
                }
            }
        }
        "" => errors.push(kind.required("")),
        _ => errors.push(kind.not_supported(&["Exempt", "Limited"])),
    }
    errors
}

fn shares(of: &At<'_>) -> Option<FieldError> {
    let shares = of.get("nominalConcurrencyShares");
    shares.int().is_some_and(|shares| shares < 0).then(|| shares.invalid("must be a non-negative integer"))
}

fn lendable(of: &At<'_>) -> Option<FieldError> {
    let percent = of.get("lendablePercent");
    let outside = percent.int().is_some_and(|percent| !(0..=100).contains(&percent));
    outside.then(|| percent.invalid("must be between 0 and 100, inclusive"))
}

fn response(response: &At<'_>) -> Errors {
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.text() {
        "Reject" if queuing.is_absent() => Errors::new(),
        "Reject" => vec![queuing.forbidden("must be nil if limited.limitResponse.type is not Limited")],
        "Queue" if queuing.is_absent() => {
            vec![queuing.required("must not be empty if limited.limitResponse.type is Limited")]
        }
        "Queue" => validate_queuing(&queuing),
        "" => vec![kind.required("")],
        _ => vec![kind.not_supported(&["Queue", "Reject"])],
    }
}

fn validate_queuing(queuing: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let [length, queues, hand] = ["queueLengthLimit", "queues", "handSize"].map(|field| queuing.get(field));
    let number = |field: &At<'_>| field.int().unwrap_or_default();
    if number(&length) <= 0 {
        errors.push(length.invalid_int("must be positive"));
    }
    match number(&queues) {
        ..=0 => errors.push(queues.invalid_int("must be positive")),
        many if many > QUEUES => {
            errors.push(queues.invalid(&format!("must not be greater than {QUEUES}")));
        }
        _ => {}
    }
    match (number(&hand), number(&queues)) {
        (..=0, _) => errors.push(hand.invalid_int("must be positive")),
        (size, queues) if size > queues => {
            errors.push(hand.invalid(&format!("should not be greater than queues ({queues})")));
        }
        (size, queues) if entropy(queues, size) > HASH => errors.push(hand.invalid(&format!(
            "required entropy bits of deckSize {queues} and handSize {size} should not be greater than {HASH}"
        ))),
        _ => {}
    }
    errors
}

/// Bits that are needed to deal `size` of `queues`; both fit into 32 bits.
fn entropy(queues: i64, size: i64) -> i64 {
    let (queues, size) = (i32::try_from(queues).unwrap_or(i32::MAX), i32::try_from(size).unwrap_or(i32::MAX));
    let bits = (f64::from(queues).log2() * f64::from(size)).ceil();
    // Fewer than 2^37: exact.
    bits as i64
}

/// The levels that every server has: nobody may change them, except for how much of `exempt` may be lent.
fn mandatory(spec: &At<'_>, name: &str) -> Option<FieldError> {
    let (problem, same) = match name {
        "exempt" => {
            let mut wanted = json!({"type": "Exempt"});
            set(&mut wanted, "exempt", spec.get("exempt").value.clone());
            ("except the 'spec.exempt' field must equal the fixed value", semantic_eq(spec.value, &wanted))
        }
        "catch-all" => {
            let limited = json!({"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}});
            let wanted = json!({"type": "Limited", "limited": limited});
            ("must equal the fixed value", semantic_eq(spec.value, &wanted))
        }
        _ => return None,
    };
    let problem = format!("spec of '{name}' {problem}");
    (!same).then(|| FieldError::invalid_shown(&spec.path, &spec_shown(spec), &problem))
}

fn spec_shown(spec: &At<'_>) -> String {
    let (limited, exempt) = (spec.get("limited"), spec.get("exempt"));
    let exempt = match exempt.is_absent() {
        true => "null".to_owned(),
        false => shown::fields(&[
            ("NominalConcurrencyShares", shown::any(&exempt.get("nominalConcurrencyShares"))),
            ("LendablePercent", shown::any(&exempt.get("lendablePercent"))),
        ]),
    };
    let limited = match limited.is_absent() {
        true => "null".to_owned(),
        false => shown::fields(&[
            ("NominalConcurrencyShares", shown::int(&limited.get("nominalConcurrencyShares"))),
            ("LimitResponse", response_shown(&limited.get("limitResponse"))),
            ("LendablePercent", shown::any(&limited.get("lendablePercent"))),
            ("BorrowingLimitPercent", shown::any(&limited.get("borrowingLimitPercent"))),
        ]),
    };
    shown::fields(&[("Type", shown::text(&spec.get("type"))), ("Limited", limited), ("Exempt", exempt)])
}

fn response_shown(response: &At<'_>) -> String {
    let queuing = response.get("queuing");
    let queuing = match queuing.is_absent() {
        true => "null".to_owned(),
        false => shown::fields(&[
            ("Queues", shown::int(&queuing.get("queues"))),
            ("HandSize", shown::int(&queuing.get("handSize"))),
            ("QueueLengthLimit", shown::int(&queuing.get("queueLengthLimit"))),
        ]),
    };
    shown::fields(&[("Type", shown::text(&response.get("type"))), ("Queuing", queuing)])
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Type", "string", "Whether the level has limits."),
    BuiltIn::new("NominalConcurrencyShares", "string", "Its share of the requests that run at a time."),
    BuiltIn::new("Queues", "string", "How many queues it has."),
    BuiltIn::new("HandSize", "string", "How many queues a flow is dealt."),
    BuiltIn::new("QueueLengthLimit", "string", "How many requests wait in a queue."),
    BuiltIn::age(),
];

pub fn row(level: &Value, now: SystemTime) -> Vec<Value> {
    let limited = at(level, &["spec", "limited"]);
    let queuing = at(limited, &["limitResponse", "queuing"]);
    let number = |of: &Value, field: &str| match of {
        Value::Null => Value::from("<none>"),
        of => at(of, &[field]).as_i64().unwrap_or_default().into(),
    };
    vec![
        cells::name(level),
        text(level, &["spec", "type"]).into(),
        number(limited, "nominalConcurrencyShares"),
        number(queuing, "queues"),
        number(queuing, "handSize"),
        number(queuing, "queueLengthLimit"),
        ages::of(level, now).into(),
    ]
}
