//! One kind through all verbs: what a client sees is what the original would answer.

mod common;

use common::{Answer, Bed, CONFIG_MAPS, Events};
use serde_json::{Value, json};

fn path(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_created_read_changed_and_deleted() {
    let bed = Bed::start().await;
    let created = bed.config_map("a", "1").await;
    assert_eq!((created["kind"].as_str(), created["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert_eq!(metadata["managedFields"][0]["manager"], "test");
    assert!(metadata["creationTimestamp"].is_string() && metadata["resourceVersion"].is_string());

    let read = bed.ask("GET", &path("a"), "").await;
    assert_eq!(read.json(), created);
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("cache-control"), "no-cache, private");
    assert!(!read.header("audit-id").is_empty());

    let again = bed.ask("POST", CONFIG_MAPS, r#"{"metadata":{"name":"a"}}"#).await;
    assert_eq!((again.code, again.message().as_str()), (409, "configmaps \"a\" already exists"));

    let changed = bed.ask("PUT", &path("a"), r#"{"metadata":{"name":"a"},"data":{"a":"2"}}"#).await;
    assert_eq!((changed.code, &changed.json()["data"]["a"]), (200, &json!("2")), "{}", changed.text);
    assert_eq!(changed.json()["metadata"]["uid"], metadata["uid"]);
    assert_ne!(changed.json()["metadata"]["resourceVersion"], metadata["resourceVersion"]);

    let deleted = bed.ask("DELETE", &path("a"), "").await;
    assert_eq!(deleted.code, 200);
    let want = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": metadata["uid"]}});
    assert_eq!(deleted.json(), want);
    let gone = bed.ask("GET", &path("a"), "").await;
    assert_eq!(
        gone.text,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"configmaps \\\"a\\\" \
         not found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"a\",\"kind\":\"configmaps\"},\"code\":404}\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_an_old_version_is_refused_and_one_that_changes_nothing_writes_nothing() {
    let bed = Bed::start().await;
    let first = bed.config_map("a", "1").await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let same = bed.ask("PUT", &path("a"), first.to_string()).await;
    assert_eq!(same.json()["metadata"]["resourceVersion"], version, "{}", same.text);
    let put = |value: &str| {
        json!({"metadata": {"name": "a", "resourceVersion": version}, "data": {"a": value}}).to_string()
    };
    assert_eq!(bed.ask("PUT", &path("a"), put("2")).await.code, 200);
    let late = bed.ask("PUT", &path("a"), put("3")).await;
    assert_eq!(late.code, 409);
    assert_eq!(
        late.message(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    let other = bed.ask("PUT", &path("a"), r#"{"metadata":{"name":"a","uid":"x"}}"#).await;
    let want = "Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: \
        /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
        precondition: x, UID in object meta: ";
    assert!(other.message().starts_with(want), "{}", other.text);
    let missing = bed.ask("PUT", &path("nope"), r#"{"metadata":{"name":"nope"}}"#).await;
    assert_eq!((missing.code, missing.message().as_str()), (404, "configmaps \"nope\" not found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_originals_words() {
    let bed = Bed::start().await;
    let start = "in version \"v1\" cannot be handled as a ConfigMap:";
    for (body, code, message) in [
        (r#"{"kind":"X"}"#, 400, format!(
            "X {start} no kind \"X\" is registered for version \"v1\" in scheme \"pkg/runtime/scheme.go:111\"")),
        (r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#, 400,
            format!("Pod {start} converting (v1.Pod) to (core.ConfigMap): unknown conversion")),
        ("{", 400, "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json \
            parse error: unexpected end of JSON input ({)".to_owned()),
        (r#"{"data":5}"#, 400, format!("ConfigMap {start} json: cannot unmarshal number into Go struct field \
            ConfigMap.data of type map[string]string")),
        ("{}", 422, "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
            .to_owned()),
        (r#"{"metadata":{"name":"b","namespace":"other"}}"#, 400,
            "the namespace of the provided object does not match the namespace sent on the request".to_owned()),
    ] {
        let answer = bed.ask("POST", CONFIG_MAPS, body).await;
        assert_eq!((answer.code, answer.message()), (code, message), "{body}");
    }
    for (method, path, code, message) in [
        ("PATCH", CONFIG_MAPS, 405, "the server does not allow this method on the requested resource"),
        ("OPTIONS", "/api/v1/pods", 405, "the server does not allow this method on the requested resource"),
        ("GET", "/api/v1/nosuch", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/configmaps/x", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/configmaps?limit=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
        (
            "GET",
            "/api/v1/configmaps?fieldSelector=foo=x",
            400,
            "\"foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "GET",
            "/api/v1/configmaps?resourceVersion=x",
            400,
            "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": \
             invalid syntax",
        ),
    ] {
        let answer = bed.ask(method, path, "").await;
        assert_eq!((answer.code, answer.message().as_str()), (code, message), "{method} {path}");
    }
    let nothing = bed.ask("GET", "/apis/foo/v1/x", "").await;
    assert_eq!((nothing.code, nothing.text.as_str()), (404, "404 page not found\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_are_refused_told_of_or_ignored() {
    let bed = Bed::start().await;
    let body = |name: &str| format!(r#"{{"dat":5,"metadata":{{"name":"{name}"}}}}"#);
    let strict = bed.ask("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), body("a")).await;
    assert_eq!(
        (strict.code, strict.message().as_str()),
        (
            400,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\""
        )
    );
    let warned = bed.ask("POST", CONFIG_MAPS, body("a")).await;
    assert_eq!((warned.code, warned.header("warning")), (201, r#"299 - "unknown field \"dat\"""#));
    let ignored = bed.ask("POST", &format!("{CONFIG_MAPS}?fieldValidation=Ignore"), body("b")).await;
    assert_eq!((ignored.code, ignored.header("warning")), (201, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_answers_as_if_and_does_nothing() {
    let bed = Bed::start().await;
    let dry =
        bed.ask("POST", &format!("{CONFIG_MAPS}?dryRun=All"), r#"{"metadata":{"generateName":"g-"}}"#).await;
    let made = dry.json();
    assert_eq!(dry.code, 201);
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("g-"));
    assert_eq!(made["metadata"]["resourceVersion"], Value::Null);
    let list = bed.ask("GET", CONFIG_MAPS, "").await.json();
    assert_eq!(list["items"], json!([]));
    bed.config_map("a", "1").await;
    let body = r#"{"metadata":{"name":"a"},"data":{"a":"2"}}"#;
    assert_eq!(bed.ask("PUT", &format!("{}?dryRun=All", path("a")), body).await.json()["data"]["a"], "2");
    assert_eq!(bed.ask("DELETE", &format!("{}?dryRun=All", path("a")), "").await.code, 200);
    assert_eq!(bed.ask("GET", &path("a"), "").await.json()["data"]["a"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_comes_in_pages_of_one_version() {
    let bed = Bed::start().await;
    for name in ["a", "b", "c"] {
        bed.config_map(name, name).await;
    }
    let first = bed.ask("GET", &format!("{CONFIG_MAPS}?limit=2"), "").await.json();
    assert_eq!((first["kind"].as_str(), first["apiVersion"].as_str()), (Some("ConfigMapList"), Some("v1")));
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    assert_eq!(first["items"][0]["kind"], Value::Null, "items do not say what they are");
    bed.config_map("bb", "").await;
    bed.ask("DELETE", &path("c"), "").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = bed.ask("GET", &format!("{CONFIG_MAPS}?limit=2&continue={token}"), "").await.json();
    assert_eq!(names(&rest), ["c"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(rest["metadata"]["continue"], Value::Null);
    // What may be old is not cut into pages.
    let all = bed.ask("GET", &format!("{CONFIG_MAPS}?limit=1&resourceVersion=0"), "").await.json();
    assert_eq!(names(&all), ["a", "b", "bb"]);
    let one = bed.ask("GET", &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dbb"), "").await.json();
    assert_eq!(names(&one), ["bb"]);
    let ahead = bed.ask("GET", &format!("{CONFIG_MAPS}?resourceVersion=99999999"), "").await;
    assert_eq!(
        (ahead.code, ahead.json()["details"]["causes"][0]["reason"].as_str()),
        (504, Some("ResourceVersionTooLarge"))
    );
    assert_eq!(ahead.header("retry-after"), "1");
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_what_happens_and_a_selector_makes_changes_come_and_go() {
    let bed = Bed::start().await;
    let first = bed.config_map("a", "1").await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = |query: &str| format!("{CONFIG_MAPS}?watch=1&{query}");
    let mut all = Events::of(bed.open("GET", &watch(&format!("resourceVersion={version}")), &[], "").await);
    let mut labelled = Events::of(bed.open("GET", &watch("labelSelector=x%3Dy"), &[], "").await);
    let put = |labels: Value| json!({"metadata": {"name": "a", "labels": labels}}).to_string();
    bed.ask("PUT", &path("a"), put(json!({"x": "y"}))).await;
    bed.ask("PUT", &path("a"), put(json!({"x": "y", "z": "1"}))).await;
    let last = bed.ask("PUT", &path("a"), put(json!({"x": "n"}))).await.json();
    bed.ask("DELETE", &path("a"), "").await;
    bed.config_map("b", "").await;
    for want in ["MODIFIED", "MODIFIED", "MODIFIED", "DELETED", "ADDED"] {
        assert_eq!(all.told().await.0, want);
    }
    assert_eq!(labelled.told().await.0, "ADDED");
    assert_eq!(labelled.told().await.0, "MODIFIED");
    let left = labelled.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(
        left["object"]["metadata"]["labels"],
        json!({"x": "y", "z": "1"}),
        "as it was when it was selected"
    );
    assert_eq!(left["object"]["metadata"]["resourceVersion"], last["metadata"]["resourceVersion"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initial_events_end_with_a_bookmark_that_says_so() {
    let bed = Bed::start().await;
    bed.config_map("a", "1").await;
    bed.config_map("b", "2").await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=3";
    let mut events = Events::of(bed.open("GET", &format!("{CONFIG_MAPS}?{query}"), &[], "").await);
    assert_eq!((events.told().await.1, events.told().await.1), ("a".to_owned(), "b".to_owned()));
    let end = events.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(
        (end["object"]["kind"].as_str(), end["object"]["apiVersion"].as_str()),
        (Some("ConfigMap"), Some("v1"))
    );
    // Just before its end a watch says how far it came.
    let last = events.next().await.unwrap();
    assert_eq!(
        (last["type"].as_str(), &last["object"]["metadata"]["annotations"]),
        (Some("BOOKMARK"), &Value::Null)
    );
    assert!(events.next().await.is_none_or(|event| event["type"] == "BOOKMARK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_of_all_four_types_change_an_object() {
    let bed = Bed::start().await;
    bed.config_map("a", "1").await;
    let patch = async |kind: &str, query: &str, body: &str| {
        bed.ask_as("PATCH", &format!("{}{query}", path("a")), &[("content-type", kind)], body).await
    };
    let data = |answer: &Answer| answer.json()["data"].clone();
    let merged = patch("application/merge-patch+json", "", r#"{"data":{"b":"2"}}"#).await;
    assert_eq!(data(&merged), json!({"a": "1", "b": "2"}), "{}", merged.text);
    let json_patched =
        patch("application/json-patch+json", "", r#"[{"op":"remove","path":"/data/a"}]"#).await;
    assert_eq!(data(&json_patched), json!({"b": "2"}));
    let strategic = patch("application/strategic-merge-patch+json", "", r#"{"data":{"c":"3"}}"#).await;
    assert_eq!(data(&strategic), json!({"b": "2", "c": "3"}));
    let applied = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  d: '4'\n";
    let apply = patch("application/apply-patch+yaml", "?fieldManager=m", applied).await;
    assert_eq!(data(&apply), json!({"b": "2", "c": "3", "d": "4"}), "{}", apply.text);
    let theirs = applied.replace("'4'", "'5'");
    let conflict = patch("application/apply-patch+yaml", "?fieldManager=n", &theirs).await;
    assert_eq!(
        (conflict.code, conflict.message().as_str()),
        (409, "Apply failed with 1 conflict: conflict with \"m\": .data.d")
    );
    let forced = patch("application/apply-patch+yaml", "?fieldManager=n&force=true", &theirs).await;
    assert_eq!(data(&forced)["d"], "5");
    let failed =
        patch("application/json-patch+json", "", r#"[{"op":"test","path":"/data/b","value":"9"}]"#).await;
    assert_eq!(
        (failed.code, failed.message().as_str()),
        (422, "the server rejected our request due to an error in our request")
    );
    let media = patch("text/plain", "", "{}").await;
    assert_eq!((media.code, media.message().as_str()), (415, "415: Unsupported Media Type"));
    let stale = patch("application/merge-patch+json", "", r#"{"metadata":{"resourceVersion":"1"}}"#).await;
    assert_eq!(stale.code, 409);
    let renamed = patch("application/merge-patch+json", "", r#"{"metadata":{"name":"z"}}"#).await;
    assert_eq!(renamed.message(), "the name of the object (z) does not match the name on the URL (a)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_creates_what_is_not_there() {
    let bed = Bed::start().await;
    let apply = [("content-type", "application/apply-patch+yaml")];
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: new\ndata:\n  a: b\n";
    let created = bed.ask_as("PATCH", &format!("{}?fieldManager=m", path("new")), &apply, body).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.json()["metadata"]["managedFields"][0]["operation"], "Apply");
    let merge = [("content-type", "application/merge-patch+json")];
    assert_eq!(bed.ask_as("PATCH", &path("none"), &merge, "{}").await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalizer_keeps_an_object_until_it_is_taken_away() {
    let bed = Bed::start().await;
    let body = r#"{"metadata":{"name":"a","finalizers":["x.io/y"]}}"#;
    assert_eq!(bed.ask("POST", CONFIG_MAPS, body).await.code, 201);
    let marked = bed.ask("DELETE", &path("a"), "").await.json();
    assert_eq!(marked["kind"], "ConfigMap");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = bed.ask("DELETE", &path("a"), "").await.json();
    assert_eq!(again["metadata"]["resourceVersion"], marked["metadata"]["resourceVersion"]);
    let merge = [("content-type", "application/merge-patch+json")];
    let freed = bed.ask_as("PATCH", &path("a"), &merge, r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!((freed.code, &freed.json()["kind"]), (200, &json!("ConfigMap")));
    assert_eq!(bed.ask("GET", &path("a"), "").await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_says_what_becomes_of_dependents_and_holds_its_preconditions() {
    let bed = Bed::start().await;
    let made = bed.config_map("a", "1").await;
    let wrong = bed.ask("DELETE", &path("a"), r#"{"preconditions":{"uid":"x"}}"#).await;
    let want = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in \
         record ({}). The object might have been deleted and then recreated",
        made["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!((wrong.code, wrong.message()), (409, want));
    let unknown = bed.ask("DELETE", &path("a"), r#"{"propagationPolicy":"Foo"}"#).await;
    assert_eq!(
        unknown.message(),
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Foo\": supported values: \
         \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
    let foreground = bed.ask("DELETE", &path("a"), r#"{"propagationPolicy":"Foreground"}"#).await.json();
    assert_eq!(foreground["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let orphan = bed.ask("DELETE", &path("a"), r#"{"propagationPolicy":"Orphan"}"#).await.json();
    assert_eq!(orphan["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_deleted_by_a_selector() {
    let bed = Bed::start().await;
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let body = json!({"metadata": {"name": name, "labels": {"l": label}}}).to_string();
        assert_eq!(bed.ask("POST", CONFIG_MAPS, body).await.code, 201);
    }
    let deleted = bed.ask("DELETE", &format!("{CONFIG_MAPS}?labelSelector=l%3Dx"), "").await.json();
    assert_eq!((deleted["kind"].as_str(), names(&deleted)), (Some("ConfigMapList"), vec!["a", "b"]));
    assert_eq!(names(&bed.ask("GET", CONFIG_MAPS, "").await.json()), ["c"]);
    assert_eq!(bed.ask("DELETE", "/api/v1/configmaps", "").await.code, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_metadata_take_the_place_of_objects() {
    let bed = Bed::start().await;
    bed.config_map("a", "1").await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let found = bed.ask_as("GET", CONFIG_MAPS, &[("accept", table)], "").await.json();
    assert_eq!(
        (found["kind"].as_str(), found["apiVersion"].as_str()),
        (Some("Table"), Some("meta.k8s.io/v1"))
    );
    let columns: Vec<_> =
        found["columnDefinitions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(found["rows"][0]["cells"][0], "a");
    assert_eq!(found["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(found["rows"][0]["object"]["metadata"]["name"], "a");
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let found = bed.ask_as("GET", CONFIG_MAPS, &[("accept", metadata)], "").await.json();
    assert_eq!(found["kind"], "PartialObjectMetadataList");
    assert_eq!((&found["items"][0]["data"], names(&found)), (&Value::Null, vec!["a"]));
    let refused = bed.ask_as("GET", CONFIG_MAPS, &[("accept", "text/html")], "").await;
    assert_eq!(
        refused.message(),
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
         application/vnd.kubernetes.protobuf"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protobuf_goes_in_and_comes_out() {
    use control_schema::{builtin, codec};
    let bed = Bed::start().await;
    let schema = builtin::kind("v1", "ConfigMap").unwrap();
    let object =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"x": "y"}});
    let body = codec::protobuf::encode(&schema, "v1", "ConfigMap", &object);
    let protobuf = "application/vnd.kubernetes.protobuf";
    let headers = [("content-type", protobuf), ("accept", protobuf)];
    let created = bed.ask_as("POST", CONFIG_MAPS, &headers, body).await;
    assert_eq!((created.code, created.header("content-type")), (201, protobuf), "{}", created.text);
    let decoded = codec::protobuf::decode(&schema, &created.bytes).unwrap().value;
    assert_eq!((&decoded["metadata"]["name"], &decoded["data"]), (&json!("a"), &json!({"x": "y"})));
    let list = bed.ask_as("GET", CONFIG_MAPS, &[("accept", protobuf)], "").await;
    let lists = builtin::kind("v1", "ConfigMapList").unwrap();
    let decoded = codec::protobuf::decode(&lists, &list.bytes).unwrap().value;
    assert_eq!(names(&decoded), ["a"]);
}
