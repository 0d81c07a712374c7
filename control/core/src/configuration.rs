//! Files of configuration (`AuthenticationConfiguration`, `AuthorizationConfiguration`, `AdmissionConfiguration` and what they
//! name): one document each, of a known kind and version, with known fields only.
//!
//! Never: opens a file.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind of configuration: `apiserver.config.k8s.io/v1, v1beta1` and `AuthorizationConfiguration`.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub group: &'static str,
    /// All that are read, the newest first; they have the same fields.
    pub versions: &'static [&'static str],
    pub kind: &'static str,
}

/// The one document of a file of YAML or JSON.
///
/// # Errors
/// It is not YAML, or holds none or several.
pub fn document(text: &str) -> Result<Value, String> {
    let documents = apiclient_core::yaml::values(text).map_err(|error| error.to_string())?;
    match <[Value; 1]>::try_from(documents) {
        Ok([document]) => Ok(document),
        Err(none) if none.is_empty() => Err("empty config data".to_owned()),
        Err(several) => Err(format!("want one document, found {}", several.len())),
    }
}

/// A document of this kind. `T` has no fields for the version and the kind.
///
/// # Errors
/// It is of another kind or version, or has a field that is not known or not of its type.
pub fn read<T: DeserializeOwned>(document: &Value, wanted: Wanted) -> Result<T, String> {
    let Wanted { group, versions, kind } = wanted;
    let text = |field: &str| document[field].as_str().unwrap_or_default();
    let version = text("apiVersion").strip_prefix(group).and_then(|rest| rest.strip_prefix('/'));
    if !version.is_some_and(|version| versions.contains(&version)) || text("kind") != kind {
        return Err(format!(
            "want kind {kind} of {group}/{}, found {:?} of {:?}",
            versions.join(", "),
            text("kind"),
            text("apiVersion")
        ));
    }
    let mut fields = document.clone();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    serde_json::from_value(fields).map_err(|error| format!("strict decoding error: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        number: u8,
    }

    #[test]
    fn a_file_holds_one_document_of_a_known_kind() {
        let wanted = Wanted { group: "g.io", versions: &["v1", "v1beta1"], kind: "Own" };
        let own = |text: &str| read::<Own>(&document(text)?, wanted);
        assert_eq!(own("apiVersion: g.io/v1beta1\nkind: Own\nnumber: 1\n"), Ok(Own { number: 1 }));
        let other = "want kind Own of g.io/v1, v1beta1, found \"Own\" of \"g.io/v2\"";
        assert_eq!(own("{apiVersion: g.io/v2, kind: Own, number: 1}"), Err(other.to_owned()));
        let unknown = own("{apiVersion: g.io/v1, kind: Own, number: 1, more: 2}").expect_err("a field");
        assert!(unknown.starts_with("strict decoding error: unknown field `more`"), "{unknown}");
        assert_eq!(document(""), Err("empty config data".to_owned()));
        assert_eq!(document("a: 1\n---\nb: 2\n"), Err("want one document, found 2".to_owned()));
    }
}
