//! Beside what kube-apiserver 1.36.3 serves for deployments, without its prose: `testdata/deployments.json`.

use serde_json::{Value, json};

use super::*;
use crate::builtin;

fn schema(api_version: &str, kind: &str) -> Schema {
    builtin::kind(api_version, kind).unwrap()
}

fn deployments<'a>(deployment: &'a Schema, scale: &'a Schema) -> Resource<'a> {
    let subresource = |name, group, version, kind, schema| Subresource {
        name,
        group,
        version,
        kind,
        body: Body::Object(schema),
        verbs: vec!["get", "patch", "update"],
    };
    Resource {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
        namespaced: true,
        verbs: vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        schema: deployment,
        strategic: true,
        selectable: Vec::new(),
        subresources: vec![
            subresource("scale", "autoscaling", "v1", "Scale", scale),
            subresource("status", "apps", "v1", "Deployment", deployment),
        ],
    }
}

/// The parts of `whole` that `part` has too, so that a difference is small to read.
fn assert_within(path: &str, part: &Value, whole: &Value) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            let names =
                |members: &serde_json::Map<String, Value>| members.keys().cloned().collect::<Vec<_>>();
            if path != ".components.schemas" {
                assert_eq!(names(part), names(whole), "{path}");
            }
            for (name, value) in part {
                assert_within(&format!("{path}.{name}"), value, &whole[name]);
            }
        }
        _ => assert_eq!(part, whole, "{path}"),
    }
}

#[test]
fn the_document_of_deployments_is_the_originals_without_its_prose() {
    let (deployment, scale) = (schema("apps/v1", "Deployment"), schema("autoscaling/v1", "Scale"));
    let want: Value = serde_json::from_str(include_str!("testdata/deployments.json")).unwrap();
    let have = v3::document(&[deployments(&deployment, &scale)], "1.36");
    assert_within("", &want, &have);
}

#[test]
fn the_document_of_a_definition_is_the_originals_without_its_prose() {
    let want: Value = serde_json::from_str(include_str!("testdata/things.json")).unwrap();
    let mut written = want["components"]["schemas"]["io.test.v1.Thing"].clone();
    written.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
    let schema = crate::crd::compile("test.io", "v1", "Thing", &written, false).schema;
    let thing = Resource {
        group: "test.io",
        version: "v1",
        kind: "Thing",
        plural: "things",
        namespaced: true,
        verbs: vec!["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
        schema: &schema,
        strategic: false,
        selectable: Vec::new(),
        subresources: Vec::new(),
    };
    let mut have = v3::document(&[thing], "1.36");
    let properties = &mut have["components"]["schemas"]["io.test.v1.Thing"]["properties"];
    for field in ["apiVersion", "kind", "metadata"] {
        properties[field].as_object_mut().unwrap().remove("description").expect(field);
    }
    assert_within("", &want, &have);
}

#[test]
fn fields_that_a_definition_lets_lists_select_by_are_published() {
    let schema =
        crate::crd::compile("test.io", "v1", "Thing", &serde_json::json!({"type": "object"}), false).schema;
    let (group, version, kind, plural) = ("test.io", "v1", "Thing", "things");
    let thing = Resource {
        group,
        version,
        kind,
        plural,
        namespaced: true,
        verbs: vec!["get", "list"],
        schema: &schema,
        strategic: false,
        selectable: vec!["spec.size"],
        subresources: Vec::new(),
    };
    let published = v3::document(&[thing], "1.36");
    for name in ["io.test.v1.Thing", "io.test.v1.ThingList"] {
        let fields = &published["components"]["schemas"][name]["x-kubernetes-selectable-fields"];
        assert_eq!(*fields, serde_json::json!([{"fieldPath": "spec.size"}]), "{name}");
    }
    // What every object has is described, in both documents.
    let v2 = v2::document([&published], "1.36");
    for properties in [
        &published["components"]["schemas"]["io.test.v1.Thing"]["properties"],
        &v2["definitions"]["io.test.v1.Thing"]["properties"],
    ] {
        for field in ["apiVersion", "kind", "metadata"] {
            assert!(
                properties[field]["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{field}"
            );
        }
    }
}

#[test]
fn everything_that_is_referred_to_is_there() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let (deployment, scale) = (schema("apps/v1", "Deployment"), schema("autoscaling/v1", "Scale"));
    let v3 = v3::document(&[deployments(&deployment, &scale)], "1.36");
    let v2 = v2::document([&v3], "1.36");
    for (document, at) in [(&v3, "/components/schemas"), (&v2, "/definitions")] {
        let mut found = Vec::new();
        references(document, &mut found);
        assert!(found.len() > 200);
        for reference in found {
            let name = reference.strip_prefix(&format!("#{at}/")).unwrap();
            assert!(document.pointer(at).unwrap().get(name).is_some(), "{reference}");
        }
    }
}

#[test]
fn what_kubectl_looks_for_is_there() {
    let (deployment, scale) = (schema("apps/v1", "Deployment"), schema("autoscaling/v1", "Scale"));
    let document = v3::document(&[deployments(&deployment, &scale)], "1.36");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|one| one["name"] == "fieldValidation" && one["in"] == "query"));
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    let index = v3::index([("apis/apps/v1", "AB12")]);
    assert_eq!(
        index,
        json!({"paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=AB12"}}})
    );
}

#[test]
fn kinds_without_protobuf_take_no_strategic_patches() {
    let deployment = schema("apps/v1", "Deployment");
    let resource =
        Resource { strategic: false, subresources: Vec::new(), ..deployments(&deployment, &deployment) };
    let document = v3::document(&[resource], "1.36");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_none());
    assert!(patch["responses"]["200"]["content"].get("application/vnd.kubernetes.protobuf").is_none());
}
