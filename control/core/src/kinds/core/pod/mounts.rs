//! Volumes as a container has them: mounted as files, or as block devices.

use super::paths;
use super::spec::Pod;
use crate::at::{At, Errors};

/// `volumeMounts` of a container.
pub fn mounts(container: &At<'_>, pod: &Pod<'_>) -> Errors {
    let (list, devices) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        if pod.volume(name.text()).is_none() {
            errors.push(crate::field::FieldError::not_found(&name.path, &name.text().into()));
        }
        if path.text().is_empty() {
            errors.push(path.required(""));
        }
        if seen.contains(&path.text()) {
            errors.push(path.invalid_text("must be unique"));
        }
        seen.push(path.text());
        if devices.items().any(|device| device.get("name").text() == name.text()) {
            errors.push(name.invalid_text("must not already exist in volumeDevices"));
        }
        if devices.items().any(|device| device.get("devicePath").text() == path.text()) {
            errors.push(path.invalid_text("must not already exist as a path in volumeDevices"));
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        // The original's paths here are those of the list.
        if !sub.text().is_empty() {
            errors.extend(paths::descending(sub.text(), &list.path.child("subPath")));
        }
        if !expression.text().is_empty() {
            if !sub.text().is_empty() {
                errors.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
            }
            errors.extend(paths::descending(expression.text(), &list.path.child("subPathExpr")));
        }
        errors.extend(propagation(&mount, &list, container));
        errors.extend(recursive_read_only(&mount, &list));
    }
    errors
}

fn propagation(mount: &At<'_>, list: &At<'_>, container: &At<'_>) -> Errors {
    let mode = At::new(mount.get("mountPropagation").value, list.path.child("mountPropagation"));
    let mut errors = Errors::new();
    if mode.is_absent() {
        return errors;
    }
    if !matches!(mode.text(), "Bidirectional" | "HostToContainer" | "None") {
        errors.push(mode.not_supported(&["Bidirectional", "HostToContainer", "None"]));
    }
    if mode.text() == "Bidirectional" && !container.get("securityContext").get("privileged").is_true() {
        errors.push(
            mode.forbidden("Bidirectional mount propagation is available only to privileged containers"),
        );
    }
    errors
}

fn recursive_read_only(mount: &At<'_>, list: &At<'_>) -> Errors {
    let mode = At::new(mount.get("recursiveReadOnly").value, list.path.child("recursiveReadOnly"));
    let mut errors = Errors::new();
    match mode.text() {
        _ if mode.is_absent() => {}
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.get("readOnly").is_true() {
                errors.push(mode.forbidden("may only be specified when readOnly is true"));
            }
            if mount.has("mountPropagation") && mount.get("mountPropagation").text() != "None" {
                errors.push(
                    mode.forbidden("may only be specified when mountPropagation is None or not specified"),
                );
            }
        }
        _ => errors.push(mode.not_supported(&["Disabled", "Enabled", "IfPossible"])),
    }
    errors
}

/// `volumeDevices` of a container.
pub fn devices(container: &At<'_>, pod: &Pod<'_>) -> Errors {
    let (mounts, list) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let mut errors = Errors::new();
    let (mut names, mut seen): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in list.items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        let volume = pod.volume(name.text());
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        if names.contains(&name.text()) {
            errors.push(name.invalid_text("must be unique"));
        }
        match volume {
            None => errors.push(crate::field::FieldError::not_found(&name.path, &name.text().into())),
            Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
                errors.push(name.invalid_text(
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                ))
            }
            Some(_) => {}
        }
        if path.text().is_empty() {
            errors.push(path.required(""));
        }
        if seen.contains(&path.text()) {
            errors.push(path.invalid_text("must be unique"));
        }
        if path.text().split('/').any(|part| part == "..") {
            errors.push(path.invalid_text("can not contain backsteps ('..')"));
        } else {
            seen.push(path.text());
        }
        if mounts.items().any(|mount| mount.get("name").text() == name.text()) {
            errors.push(name.invalid_text("must not already exist in volumeMounts"));
        }
        if mounts.items().any(|mount| mount.get("mountPath").text() == path.text()) {
            errors.push(path.invalid_text("must not already exist as a path in volumeMounts"));
        }
        if !name.text().is_empty() {
            names.push(name.text());
        }
    }
    errors
}
