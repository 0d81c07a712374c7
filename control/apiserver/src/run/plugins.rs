//! Which admission plugins run, and with which settings: from the flags and the file of
//! `--admission-control-config-file`, which is read at start.

use std::path::Path;

use control_core::admission::chain::Settings;
use control_core::admission::configuration::{self, Source};
use control_core::admission::pod_security::PodSecurity;
use serde_json::Value;

use super::{ServeError, read, unusable};
use crate::options::Options;

pub fn settings(options: &Options) -> Result<Settings, ServeError> {
    let pod_security = match &options.admission_config {
        Some(file) => pod_security(file)?,
        None => PodSecurity::default(),
    };
    Ok(Settings {
        enabled: options.enable_plugins.clone(),
        disabled: options.disable_plugins.clone(),
        not_ready_seconds: options.not_ready_toleration_seconds,
        unreachable_seconds: options.unreachable_toleration_seconds,
        pod_security,
    })
}

fn pod_security(file: &Path) -> Result<PodSecurity, ServeError> {
    let source = configuration::plugins(&document(file)?).map_err(|why| unusable(file, why))?;
    let (file, settings) = match source {
        None => return Ok(PodSecurity::default()),
        Some(Source::Here(settings)) => (file.to_owned(), settings),
        Some(Source::File(path)) => {
            let other = file.parent().unwrap_or(Path::new("")).join(path);
            let settings = document(&other)?;
            (other, settings)
        }
    };
    configuration::pod_security(&settings).map_err(|why| unusable(&file, why))
}

/// The one document of a file of YAML or JSON.
fn document(file: &Path) -> Result<Value, ServeError> {
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    control_core::configuration::document(&text).map_err(|why| unusable(file, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_plugins_are_read_from_files_beside_one_another() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("plugins.yaml"), directory.path().join("pods.yaml"));
        std::fs::write(
            &first,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n\
             plugins:\n- name: PodSecurity\n  path: pods.yaml\n",
        )
        .unwrap();
        let wrong = pod_security(&first).unwrap_err().to_string();
        assert!(wrong.contains("pods.yaml"), "{wrong}");
        let settings = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
                        exemptions: {namespaces: [kube-system]}\n";
        std::fs::write(&second, settings).unwrap();
        assert_eq!(pod_security(&first).unwrap().exempt_namespaces, ["kube-system"]);
        std::fs::write(&second, format!("{settings}defaults: {{enforce: strict}}\n")).unwrap();
        let wrong = pod_security(&first).unwrap_err().to_string();
        assert!(wrong.contains("pods.yaml") && wrong.contains("defaults.enforce"), "{wrong}");
    }
}
