//! Projected volumes: files from several sources side by side.

use serde_json::Value;

use super::paths;
use super::volumes::{downward_file, key_to_path, mode, required};
use crate::at::{At, Errors};
use crate::field::FieldError;

pub fn validate(at: &At<'_>) -> Errors {
    let mut errors: Errors = mode(&at.get("defaultMode")).into_iter().collect();
    let mut files = Files { taken: Vec::new(), at };
    for source in at.get("sources").items() {
        let kinds = [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ];
        let found: Vec<&str> = kinds.into_iter().filter(|kind| source.has(kind)).collect();
        for kind in &found {
            errors.extend(one(kind, &source.get(kind), &mut files));
        }
        if found.len() > 1 {
            errors.push(source.forbidden("may not specify more than 1 volume type per source"));
        }
    }
    errors
}

/// The paths that sources have used already.
struct Files<'a> {
    taken: Vec<String>,
    at: &'a At<'a>,
}

impl Files<'_> {
    /// `shown` is what the original calls the culprit.
    fn take(&mut self, path: &str, shown: &str) -> Option<FieldError> {
        if path.is_empty() {
            return None;
        }
        if self.taken.iter().any(|taken| taken == path) {
            let detail = "conflicting duplicate paths";
            return Some(FieldError::invalid(&self.at.path, &Value::from(shown), detail));
        }
        self.taken.push(path.to_owned());
        None
    }
}

fn one(kind: &str, at: &At<'_>, files: &mut Files<'_>) -> Errors {
    let mut errors = Errors::new();
    match kind {
        "secret" | "configMap" => {
            errors.extend(required(at, &["name"]));
            for item in at.get("items").items() {
                errors.extend(key_to_path(&item));
                errors.extend(files.take(item.get("path").text(), at.get("name").text()));
            }
        }
        "downwardAPI" => {
            for file in at.get("items").items() {
                // The original's path here is that of the source.
                errors.extend(downward_file(&At::new(file.value, at.path.clone())));
                errors.extend(files.take(file.get("path").text(), file.get("path").text()));
            }
        }
        "serviceAccountToken" => {
            let seconds = at.get("expirationSeconds");
            match seconds.int().unwrap_or_default() {
                ..600 => errors.push(seconds.invalid_int("may not specify a duration less than 10 minutes")),
                4_294_967_297.. => {
                    errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
                }
                _ => {}
            }
            // The original's path here is that of the volume.
            let path = At::new(at.get("path").value, files.at.path.child("path"));
            if path.text().is_empty() {
                errors.push(path.required(""));
            } else {
                errors.extend(paths::not_reserved(path.text(), &path.path));
            }
        }
        // Not served by default in 1.36: what a client says of them is taken away before.
        _ => {}
    }
    errors
}
