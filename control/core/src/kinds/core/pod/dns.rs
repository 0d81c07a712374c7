//! How a pod finds others, and what it is called itself.

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::names;

/// `dnsConfig`.
pub fn validate(spec: &At<'_>) -> Errors {
    let config = spec.get("dnsConfig");
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").text() == "None" {
        if config.is_absent() {
            return vec![config.required("must provide `dnsConfig` when `dnsPolicy` is None")];
        }
        if servers.is_empty() {
            return vec![
                servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None"),
            ];
        }
    }
    let mut errors = Errors::new();
    if servers.len() > 3 {
        errors.push(servers.invalid("must not have more than 3 nameservers"));
    }
    for server in servers.items() {
        errors.extend(server.invalid_each(names::legacy_ip(server.text())));
    }
    if searches.len() > 32 {
        errors.push(searches.invalid("must not have more than 32 search paths"));
    }
    let size: usize = searches.items().map(|search| search.text().len() + 1).sum();
    if size > 2048 + 1 {
        errors.push(
            searches.invalid("must not have more than 2048 characters (including spaces) in the search list"),
        );
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        let of = |detail: String| FieldError::invalid(&search.path, &name.into(), &detail);
        errors.extend(names::dns1123_subdomain_with_underscore(name).into_iter().map(of));
    }
    for option in config.get("options").items() {
        if option.get("name").text().is_empty() {
            errors.push(option.required("must not be empty"));
        }
    }
    errors
}

/// `hostnameOverride`.
pub fn host_name(spec: &At<'_>) -> Errors {
    let name = spec.get("hostnameOverride");
    let mut errors = Errors::new();
    if name.is_absent() {
        return errors;
    }
    if spec.get("setHostnameAsFQDN").is_true() {
        errors.push(name.forbidden("may not be specified when setHostnameAsFQDN is true"));
    }
    if spec.get("hostNetwork").is_true() {
        errors.push(name.forbidden("may not be specified when hostNetwork is true"));
    }
    if name.text().len() > 64 {
        errors.push(FieldError::too_long(&name.path, 64));
    }
    errors.extend(name.invalid_each(names::dns1123_subdomain(name.text())));
    errors
}

/// `hostAliases`: lines of /etc/hosts.
pub fn host_aliases(aliases: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for alias in aliases.items() {
        let ip = alias.get("ip");
        errors.extend(ip.invalid_each(names::legacy_ip(ip.text())));
        for host in alias.get("hostnames").items() {
            errors.extend(host.invalid_each(names::dns1123_subdomain(host.text())));
        }
    }
    errors
}
