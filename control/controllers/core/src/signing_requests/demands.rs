//! What the signers of `kubernetes.io` demand of a request. The words are the original's.

use std::collections::BTreeSet;

use super::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, Request};

/// Whether a signer may sign this.
///
/// # Errors
/// Why it may not.
pub fn check(signer: &str, request: &Request, usages: &[&str]) -> Result<(), String> {
    match signer {
        KUBELET_SERVING => kubelet_serving(request, usages),
        KUBELET_CLIENT => kubelet_client(request, usages),
        CLIENT => client(usages),
        // What was asked for before there were names of signers has no limits.
        _ => Ok(()),
    }
}

pub fn kubelet_client(request: &Request, usages: &[&str]) -> Result<(), String> {
    of_nodes(request)?;
    let names = [
        (request.dns, "DNS subjectAltNames are not allowed"),
        (request.emails, "Email subjectAltNames are not allowed"),
        (request.addresses, "IP subjectAltNames are not allowed"),
        (request.uris, "URI subjectAltNames are not allowed"),
    ];
    refuse(&names)?;
    of_a_node(request)?;
    exactly(usages, "client auth")
}

fn kubelet_serving(request: &Request, usages: &[&str]) -> Result<(), String> {
    of_nodes(request)?;
    if request.dns == 0 && request.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    let names = [
        (request.emails, "Email subjectAltNames are not allowed"),
        (request.uris, "URI subjectAltNames are not allowed"),
    ];
    refuse(&names)?;
    exactly(usages, "server auth")?;
    of_a_node(request)
}

fn client(usages: &[&str]) -> Result<(), String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(usage)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.contains(&"client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

fn of_nodes(request: &Request) -> Result<(), String> {
    match request.organizations.as_slice() {
        [only] if only == "system:nodes" => Ok(()),
        _ => Err("subject organization is not system:nodes".to_owned()),
    }
}

fn of_a_node(request: &Request) -> Result<(), String> {
    match request.common_name.starts_with("system:node:") {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

fn refuse(names: &[(usize, &str)]) -> Result<(), String> {
    match names.iter().find(|(count, _)| *count > 0) {
        Some((_, why)) => Err((*why).to_owned()),
        None => Ok(()),
    }
}

/// These usages and no others; keys that are not RSA encipher no keys.
fn exactly(usages: &[&str], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().copied().collect();
    let mut wanted = BTreeSet::from(["digital signature", purpose]);
    if given == wanted {
        return Ok(());
    }
    wanted.insert("key encipherment");
    if given == wanted {
        return Ok(());
    }
    let mut shown: Vec<&str> = wanted.into_iter().collect();
    shown.sort_unstable();
    Err(format!("usages did not match [{}]", shown.join(" ")))
}
