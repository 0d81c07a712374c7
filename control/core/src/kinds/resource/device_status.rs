//! What drivers report of the devices of a claim, in its status.

use std::collections::BTreeSet;

use super::configuration::at_most;
use super::slice;
use crate::at::{At, Errors};
use crate::edit::text;
use crate::field::FieldError;
use crate::kinds::storage::driver;
use crate::{cidrs, conditions, names, shown};

/// Conditions of one device.
const CONDITIONS: usize = 8;

/// Addresses of one device.
const ADDRESSES: usize = 16;

/// Bytes of a driver's own data.
const DATA: usize = 10 * 1024;

/// Bytes of the texts about a network interface.
const TEXTS: [(&str, usize); 2] = [("interfaceName", 256), ("hardwareAddress", 128)];

/// Of a claim's status: each device is one of those that were allocated.
pub fn validate(status: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let id = |of: &At<'_>| {
        ["driver", "pool", "device", "shareID"].map(|field| text(of.value, &[field]).to_owned())
    };
    let allocated: BTreeSet<_> =
        status.get("allocation").get("devices").get("results").items().map(|result| id(&result)).collect();
    let mut seen = BTreeSet::new();
    for device in status.get("devices").items() {
        errors.extend(driver::name(&device.get("driver")));
        errors.extend(slice::pool_name(&device.get("pool")));
        let name = device.get("device");
        errors.extend(name.invalid_each(names::dns1123_label(name.text())));
        let shown = || {
            let part = |field| shown::text(&device.get(field));
            shown::fields(&[
                ("Driver", part("driver")),
                ("Pool", part("pool")),
                ("Device", part("device")),
                ("ShareID", part("shareID")),
            ])
        };
        if !allocated.contains(&id(&device)) {
            let problem = "must be an allocated device in the claim";
            errors.push(FieldError::invalid_shown(&device.path, &shown(), problem));
        }
        let conditions = device.get("conditions");
        errors.extend(at_most(&conditions, CONDITIONS));
        errors.extend(conditions::validate(&conditions));
        errors.extend(data(&device.get("data")));
        errors.extend(network(&device.get("networkData")));
        if !seen.insert(id(&device)) {
            errors.push(FieldError::duplicate_shown(&device.path, &shown()));
        }
    }
    errors
}

fn data(data: &At<'_>) -> Option<FieldError> {
    if data.is_absent() {
        None
    } else if data.value.to_string().len() > DATA {
        Some(FieldError::too_long(&data.path, DATA))
    } else {
        let omitted =
            || FieldError::invalid(&data.path, &"<value omitted>".into(), "must be a valid JSON object");
        (!data.value.is_object()).then(omitted)
    }
}

fn network(network: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for (field, most) in TEXTS {
        let field = network.get(field);
        if field.text().len() > most {
            errors.push(FieldError::too_long(&field.path, most));
        }
    }
    let addresses = network.get("ips");
    errors.extend(at_most(&addresses, ADDRESSES));
    let mut seen = BTreeSet::new();
    for address in addresses.items() {
        errors.extend(address.invalid_each(cidrs::interface(address.text())));
        if !seen.insert(address.text()) {
            errors.push(address.duplicate());
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_driver_reports_of_allocated_devices_only() {
        let id = json!({"driver": "example.com", "pool": "p", "device": "d"});
        let found = |device: serde_json::Value| {
            let status = json!({"allocation": {"devices": {"results": [id]}}, "devices": [device]});
            validate(&At::object(&status)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(found(id.clone()).is_empty());
        let mut other = id.clone();
        other["pool"] = "q".into();
        let want = r#"devices[0]: Invalid value: {"Driver":"example.com","Pool":"q","Device":"d","ShareID":""}: must be an allocated device in the claim"#;
        assert_eq!(found(other), [want]);
        let mut wrong = id.clone();
        wrong["networkData"] = json!({"ips": ["10.0.0.1", "10.0.0.1/24", "010.0.0.1/24"]});
        assert_eq!(found(wrong).len(), 2);
    }
}
