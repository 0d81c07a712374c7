//! Servers that answer what no server should, and what a client does with objects.

mod common;

use apiclient::{Decoded, Decoder, Failure, Handler, Origin, Patch, Query, Reflector, Resource, Update};
use apiclient_core::names::ObjectName;
use apiclient_core::selector::{FieldSelector, LabelSelector};
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use common::{Folder, PATIENCE, Server, object};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const PODS: Resource = Resource::new("", "v1", "pods", true);

fn client(server: &Server) -> apiclient::Client {
    Folder::new().client(&format!("server: 'http://{}'", server.address), "")
}

async fn list(server: &Server) -> Result<Vec<Value>, Failure> {
    client(server).list(&PODS, "n", &LabelSelector::default(), &FieldSelector::default()).await
}

fn page(items: &[&str], next: &str) -> Response {
    let items: Vec<_> = items.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": items})
        .to_string()
        .into_response()
}

#[tokio::test]
async fn a_web_page_in_the_place_of_an_answer_is_called_one() {
    let server = Server::start("127.0.0.1:0", |_, before| {
        let status = if before == 0 { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
        (status, [("content-type", "text/html; charset=utf-8")], "<html><body>Log in</body></html>")
            .into_response()
    })
    .await;
    for _ in 0..2 {
        let failure = client(&server).get::<Value>("/api/v1/nodes/a").await.expect_err("a page").to_string();
        assert!(failure.contains("it sent a web page; is it an API server"), "{failure}");
    }
    let failure = list(&server).await.expect_err("a page").to_string();
    assert!(failure.contains("a web page"), "{failure}");
}

#[tokio::test]
async fn lists_come_page_by_page_and_in_one_piece_where_the_server_forgets() {
    let server = Server::start("127.0.0.1:0", |request, _| {
        let query = request.uri().query().unwrap_or_default();
        match query {
            _ if query.contains("continue=one") => common::refusal(410),
            _ if query.contains("limit=0") => page(&["a", "b", "c"], ""),
            _ => page(&["a"], "one"),
        }
    })
    .await;
    let found = list(&server).await.expect("a list");
    assert_eq!(found.len(), 3);
    assert_eq!(server.paths()[0], "/api/v1/namespaces/n/pods?limit=500");
}

#[tokio::test]
async fn what_is_cut_off_or_endless_is_no_list() {
    let half = r#"{"metadata":{},"items":[{"metadata":{"name":"a"}},{"meta"#;
    let server = Server::start("127.0.0.1:0", move |_, before| match before {
        0 => half.into_response(),
        1 => {
            let parts = [Ok(half), Err(std::io::Error::other("reset"))];
            Body::from_stream(futures::stream::iter(parts)).into_response()
        }
        // One object without an end.
        _ => {
            let start = futures::stream::iter([r#"{"items":[{"a":""#.to_owned()]);
            let more = futures::stream::repeat_with(|| "x".repeat(1 << 20));
            Body::from_stream(start.chain(more).map(Ok::<_, std::io::Error>)).into_response()
        }
    })
    .await;
    for want in ["cut off", "connection", "an object of more than"] {
        let failure = list(&server).await.expect_err(want).to_string();
        assert!(failure.contains(want), "{failure}");
    }
}

#[tokio::test]
async fn objects_are_made_changed_and_deleted_in_the_apis_ways() {
    let server = Server::start("127.0.0.1:0", |request, _| {
        let kind =
            request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let line = format!("{} {} {kind}", request.method(), request.uri());
        json!({"metadata": {"name": line}}).to_string().into_response()
    })
    .await;
    let (client, path) = (client(&server), PODS.object_path("n", "a", "status"));
    let said = |found: Value| found["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let made: Value = client.create(&PODS.path("n"), &json!({})).await.expect("made");
    assert_eq!(said(made), "POST /api/v1/namespaces/n/pods application/json");
    let changed: Value = client.update(&path, &json!({})).await.expect("changed");
    assert_eq!(said(changed), "PUT /api/v1/namespaces/n/pods/a/status application/json");
    let apply = Patch::Apply { manager: "a b".to_owned(), force: true, object: json!({}) };
    for (patch, want) in [
        (Patch::Merge(json!({})), " application/merge-patch+json"),
        (Patch::Strategic(json!({})), " application/strategic-merge-patch+json"),
        (Patch::Json(json!([])), " application/json-patch+json"),
        (apply, "?fieldManager=a%20b&force=true application/apply-patch+yaml"),
    ] {
        let changed: Value = client.patch(&path, &patch).await.expect("changed");
        assert_eq!(said(changed), format!("PATCH {path}{want}"));
    }
    client
        .delete(&PODS.object_path("n", "a", ""), &json!({"preconditions": {"uid": "u"}}))
        .await
        .expect("deleted");
}

struct Names;

impl Decoder for Names {
    type Object = String;

    fn decode(&self, json: &[u8], _: Origin) -> Decoded<String> {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        Decoded { object: value["metadata"]["name"].as_str().map(str::to_owned), problems: Vec::new() }
    }

    fn name(object: &String) -> ObjectName {
        ObjectName::new("", object.as_str())
    }
}

async fn next(updates: &mut mpsc::Receiver<Update<String>>) -> Update<String> {
    tokio::time::timeout(PATIENCE, updates.recv()).await.expect("an update").expect("it runs")
}

fn follow(client: apiclient::Client) -> mpsc::Receiver<Update<String>> {
    let (sender, updates) = mpsc::channel(16);
    tokio::spawn(Reflector::new(client, Query::new("Pod", PODS), Names, sender).run());
    updates
}

#[tokio::test]
async fn a_list_with_always_the_same_next_page_is_said_and_brings_nothing() {
    let server = Server::start("127.0.0.1:0", |request, _| {
        let query = request.uri().query().unwrap_or_default();
        if query.contains("watch") { common::refusal(422) } else { page(&["a"], "again") }
    })
    .await;
    let mut updates = follow(client(&server));
    match next(&mut updates).await {
        Update::Trouble(problem) => assert!(problem.contains("has always another page"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

/// In one process nothing goes over a wire.
#[tokio::test]
async fn a_request_handler_of_the_same_process_is_followed_like_a_server() {
    let handler = Handler::new("here", |request: apiclient::Request| async move {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = if query.contains("sendInitialEvents") {
            let end = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
            format!(
                "{}\n{end}\n{}\n",
                r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#,
                r#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"8"}}}"#
            )
        } else {
            format!("{}\n", r#"{"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"9"}}}"#)
        };
        apiclient::Response::new(apiclient::whole(body))
    });
    let mut updates = follow(apiclient::Client::over(handler));
    assert_eq!(next(&mut updates).await, Update::Replace(vec!["a".to_owned()]));
    assert_eq!(next(&mut updates).await, Update::Delete(ObjectName::new("", "a")));
    assert_eq!(next(&mut updates).await, Update::Put("b".to_owned()));
}

#[tokio::test]
async fn an_object_that_is_there_is_got_with_nothing_but_its_path() {
    let server = Server::start("127.0.0.1:0", |_, _| object()).await;
    let found: Value = client(&server).get("/api/v1/nodes/a").await.expect("an object");
    assert_eq!(found["metadata"]["name"], "a");
}
