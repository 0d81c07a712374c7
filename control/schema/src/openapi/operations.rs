//! What can be done at which path.

use serde_json::{Map, Value, json};

use super::content::{JSON, PROTOBUF, content, objects, reference, responses, streams};
use super::{Body, Resource, Subresource, api_version, parameters};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Kinds that answer a deletion with what they deleted.
const DELETED_WHOLE: &[(&str, &str)] = &[
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ResourceQuota"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "ResourceClaimTemplate"),
    ("resource.k8s.io", "ResourceSlice"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
];

type Paths = Map<String, Value>;

/// Operations of one path, each with its method.
#[derive(Default)]
struct Item(Vec<(&'static str, Operation)>);

struct Operation {
    id: String,
    action: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: Value,
    /// Group, version and kind of the object.
    of: (String, String, String),
}

/// A resource, with the words that its operations are named by.
struct Names<'a> {
    resource: &'a Resource<'a>,
    /// `AppsV1`.
    prefix: String,
    /// `apps_v1`.
    tag: String,
    /// `NamespacedDeployment`.
    kind: String,
}

/// All paths of a group's version.
pub(super) fn paths(resources: &[Resource<'_>]) -> Paths {
    let mut paths = Paths::new();
    let Some(first) = resources.first() else { return paths };
    let (prefix, tag) = (prefix(first), tag(first));
    let root = root(first);
    let list = reference(&format!("{META}.APIResourceList"));
    // The original does not publish this for groups that only definitions make.
    if resources.iter().any(|resource| resource.strategic) {
        paths.insert(
            format!("{root}/"),
            json!({"get": {
                "tags": [tag],
                "operationId": format!("get{prefix}APIResources"),
                "responses": {"200": {"content": objects(&list)}, "401": {}},
            }}),
        );
    }
    for resource in resources {
        let scope = if resource.namespaced { "Namespaced" } else { "" };
        let names = Names {
            resource,
            prefix: prefix.clone(),
            tag: tag.clone(),
            kind: format!("{scope}{}", resource.kind),
        };
        names.add(&root, &mut paths);
    }
    paths
}

fn root(resource: &Resource<'_>) -> String {
    let scope = if resource.group.is_empty() { "api" } else { "apis" };
    format!("/{scope}/{}", api_version(resource.group, resource.version))
}

/// `RbacAuthorizationV1` of `rbac.authorization.k8s.io/v1`.
fn prefix(resource: &Resource<'_>) -> String {
    let group = if resource.group.is_empty() { "core" } else { short(resource.group) };
    let words = group.split(['.', '-']).chain([resource.version]);
    words.map(capitalized).collect()
}

/// `rbacAuthorization_v1`.
fn tag(resource: &Resource<'_>) -> String {
    let group = if resource.group.is_empty() { "core" } else { short(resource.group) };
    let mut words = group.split(['.', '-']);
    let first = words.next().unwrap_or_default().to_owned();
    format!("{}_{}", words.map(capitalized).fold(first, |all, word| all + &word), resource.version)
}

fn short(group: &str) -> &str {
    group.strip_suffix(".k8s.io").unwrap_or(group)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// Where a schema of CustomResourceDefinitions has no protobuf form, the original still offers JSON and YAML alone.
impl Names<'_> {
    fn objects(&self, schema: &Value) -> Value {
        if self.resource.strategic { objects(schema) } else { content(&[JSON, "application/yaml"], schema) }
    }

    fn body(&self, schema: &Value) -> Value {
        let content = if self.resource.strategic { content(&["*/*"], schema) } else { self.objects(schema) };
        json!({"content": content, "required": true})
    }

    fn delete_options(&self) -> Value {
        let mut body = self.body(&reference(&format!("{META}.DeleteOptions")));
        if let Some(body) = body.as_object_mut() {
            body.remove("required");
        }
        body
    }

    fn streams(&self, schema: &Value) -> Value {
        if self.resource.strategic { streams(schema) } else { self.objects(schema) }
    }

    fn own(&self) -> (String, String, String) {
        let of = self.resource;
        (of.group.to_owned(), of.version.to_owned(), of.kind.to_owned())
    }

    fn has(&self, verb: &str) -> bool {
        self.resource.verbs.contains(&verb)
    }

    fn operation(&self, verb: &str, suffix: &str, action: &'static str) -> Operation {
        Operation {
            id: format!("{verb}{}{}{suffix}", self.prefix, self.kind),
            action,
            parameters: Vec::new(),
            body: None,
            responses: Value::Null,
            of: self.own(),
        }
    }

    fn add(&self, root: &str, paths: &mut Paths) {
        let of = self.resource;
        let name = &of.schema.root().name;
        let (object, list) = (reference(name), reference(&format!("{name}List")));
        let space = if of.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{space}/{}", of.plural);
        let one = format!("{collection}/{{name}}");
        self.collection(&object, &list).into_paths(self, format!("{root}{collection}"), paths);
        self.one(&object).into_paths(self, format!("{root}{one}"), paths);
        if of.namespaced && self.has("list") {
            let id = format!("list{}{}ForAllNamespaces", self.prefix, of.kind);
            let item = Item(vec![("get", Operation { id, ..self.list(&list) })]);
            item.into_paths(self, format!("{root}/{}", of.plural), paths);
        }
        if self.has("watch") && of.strategic {
            self.watches(root, &collection, &one, paths);
        }
        for subresource in &of.subresources {
            let path = format!("{root}{one}/{}", subresource.name);
            let item = self.subresource(subresource, "");
            item.into_paths(self, path.clone(), paths);
            if subresource.name == "proxy" && matches!(subresource.body, Body::Connection) {
                self.subresource(subresource, "WithPath").into_paths(self, format!("{path}/{{path}}"), paths);
            }
        }
    }

    fn list(&self, list: &Value) -> Operation {
        Operation {
            parameters: parameters::list(),
            responses: responses(&["200"], &self.streams(list)),
            ..self.operation("list", "", "list")
        }
    }

    fn collection(&self, object: &Value, list: &Value) -> Item {
        let mut item = Item::default();
        if self.has("list") {
            item.0.push(("get", self.list(list)));
        }
        if self.has("create") {
            let created = Operation {
                parameters: parameters::write(),
                body: Some(self.body(object)),
                responses: responses(&["200", "201", "202"], &self.objects(object)),
                ..self.operation("create", "", "post")
            };
            item.0.push(("post", created));
        }
        if self.has("deletecollection") {
            let id = format!("delete{}Collection{}", self.prefix, self.kind);
            let deleted = Operation {
                id,
                // As the original publishes it for definitions.
                parameters: match self.resource.strategic {
                    true => parameters::delete_collection(),
                    false => parameters::list(),
                },
                body: self.resource.strategic.then(|| self.delete_options()),
                responses: responses(&["200"], &self.objects(&reference(&format!("{META}.Status")))),
                ..self.operation("", "", "deletecollection")
            };
            item.0.push(("delete", deleted));
        }
        item
    }

    fn one(&self, object: &Value) -> Item {
        let mut item = self.object_operations(&self.resource.verbs, object, "", &self.own());
        if self.has("delete") {
            let whole = DELETED_WHOLE.contains(&(self.resource.group, self.resource.kind));
            let answer = if whole { object.clone() } else { reference(&format!("{META}.Status")) };
            let deleted = Operation {
                parameters: parameters::delete(),
                body: Some(self.delete_options()),
                responses: responses(&["200", "202"], &self.objects(&answer)),
                ..self.operation("delete", "", "delete")
            };
            item.0.push(("delete", deleted));
        }
        item
    }

    /// Reading and writing one object, or a subresource that is an object.
    fn object_operations(
        &self,
        verbs: &[&str],
        object: &Value,
        suffix: &str,
        of: &(String, String, String),
    ) -> Item {
        let mut item = Item::default();
        let whole = self.objects(object);
        let patched: &[&str] = if self.resource.strategic { &["200", "201"] } else { &["200"] };
        let operation =
            |verb: &str, action| Operation { of: of.clone(), ..self.operation(verb, suffix, action) };
        for verb in verbs {
            let done = match *verb {
                "get" => {
                    let parameters = if self.resource.strategic {
                        Vec::new()
                    } else {
                        vec![parameters::resource_version()]
                    };
                    let responses = responses(&["200"], &whole);
                    ("get", Operation { parameters, responses, ..operation("read", "get") })
                }
                "update" => (
                    "put",
                    Operation {
                        parameters: parameters::write(),
                        body: Some(self.body(object)),
                        responses: responses(&["200", "201"], &whole),
                        ..operation("replace", "put")
                    },
                ),
                "patch" => (
                    "patch",
                    Operation {
                        parameters: parameters::patch(),
                        body: Some(json!({"content": self.patches(), "required": true})),
                        responses: responses(patched, &whole),
                        ..operation("patch", "patch")
                    },
                ),
                _ => continue,
            };
            item.0.push(done);
        }
        item
    }

    fn patches(&self) -> Value {
        let patch = reference(&format!("{META}.Patch"));
        let mut types = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if self.resource.strategic {
            types.push("application/strategic-merge-patch+json");
        }
        content(&types, &patch)
    }

    fn watches(&self, root: &str, collection: &str, one: &str, paths: &mut Paths) {
        let event = reference(&format!("{META}.WatchEvent"));
        let watch = |id: String, action| Operation {
            id,
            parameters: parameters::list(),
            responses: responses(&["200"], &self.streams(&event)),
            ..self.operation("", "", action)
        };
        let (prefix, kind) = (&self.prefix, &self.kind);
        let mut add = |path: String, id: String, action| {
            Item(vec![("get", watch(id, action))]).into_paths(self, format!("{root}/watch{path}"), paths);
        };
        add(collection.to_owned(), format!("watch{prefix}{kind}List"), "watchlist");
        if self.has("get") {
            add(one.to_owned(), format!("watch{prefix}{kind}"), "watch");
        }
        if self.resource.namespaced {
            let id = format!("watch{prefix}{}ListForAllNamespaces", self.resource.kind);
            add(format!("/{}", self.resource.plural), id, "watchlist");
        }
    }

    fn subresource(&self, subresource: &Subresource<'_>, with_path: &str) -> Item {
        let suffix = format!("{}{with_path}", capitalized(subresource.name));
        let of = (subresource.group.to_owned(), subresource.version.to_owned(), subresource.kind.to_owned());
        let text = content(&["*/*"], &json!({"type": "string"}));
        match subresource.body {
            Body::Object(schema) => {
                let object = reference(&schema.root().name);
                let mut item = self.object_operations(&subresource.verbs, &object, &suffix, &of);
                if subresource.verbs.contains(&"create") {
                    let created = Operation {
                        parameters: parameters::write(),
                        body: Some(self.body(&object)),
                        responses: responses(&["200", "201", "202"], &self.objects(&object)),
                        of,
                        ..self.operation("create", &suffix, "post")
                    };
                    item.0.push(("post", created));
                }
                item
            }
            Body::Text => {
                let plain =
                    content(&[JSON, PROTOBUF, "application/yaml", "text/plain"], &json!({"type": "string"}));
                let read = Operation {
                    parameters: parameters::options(self.resource, subresource.name),
                    responses: responses(&["200"], &plain),
                    of,
                    ..self.operation("read", &suffix, "get")
                };
                Item(vec![("get", read)])
            }
            Body::Connection => {
                let methods: &[(&'static str, &str)] = match subresource.name {
                    "proxy" => &[
                        ("get", "Get"),
                        ("put", "Put"),
                        ("post", "Post"),
                        ("delete", "Delete"),
                        ("options", "Options"),
                        ("head", "Head"),
                        ("patch", "Patch"),
                    ],
                    _ => &[("get", "Get"), ("post", "Post")],
                };
                let operations = methods.iter().map(|(method, word)| {
                    let id = format!("connect{}{word}{}{suffix}", self.prefix, self.kind);
                    let operation = Operation {
                        id,
                        parameters: parameters::options(self.resource, subresource.name),
                        responses: responses(&["200"], &text),
                        of: of.clone(),
                        ..self.operation("", "", "connect")
                    };
                    (*method, operation)
                });
                Item(operations.collect())
            }
        }
    }
}

impl Item {
    /// Parameters that all operations take stand at the path itself.
    fn into_paths(mut self, names: &Names<'_>, path: String, paths: &mut Paths) {
        let Some((_, first)) = self.0.first() else { return };
        let shared: Vec<Value> = first
            .parameters
            .iter()
            .filter(|one| self.0.iter().all(|(_, operation)| operation.parameters.contains(one)))
            .cloned()
            .collect();
        let connection = first.action == "connect";
        let mut common = shared.clone();
        common.extend(
            ["name", "namespace", "path"]
                .iter()
                .filter(|name| path.contains(&format!("{{{name}}}")))
                .map(|name| parameters::path(name)),
        );
        if !connection {
            common.push(parameters::pretty());
        }
        let mut item = Map::new();
        for (method, operation) in &mut self.0 {
            operation.parameters.retain(|one| !shared.contains(one));
            item.insert((*method).to_owned(), operation.document(&names.tag));
        }
        item.insert("parameters".to_owned(), Value::Array(parameters::sorted(common)));
        paths.insert(path, Value::Object(item));
    }
}

impl Operation {
    fn document(&self, tag: &str) -> Value {
        let (group, version, kind) = &self.of;
        let mut out = json!({
            "tags": [tag],
            "operationId": self.id,
            "responses": self.responses,
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        });
        if !self.parameters.is_empty() {
            out["parameters"] = Value::Array(parameters::sorted(self.parameters.clone()));
        }
        if let Some(body) = &self.body {
            out["requestBody"] = body.clone();
        }
        out
    }
}
