//! Tokens that a service knows, with a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use control_core::authorization::Version;
use serde_json::json;

use super::Unauthorized;
use super::bearer::Tokens;
use super::token_webhook::TokenWebhook;
use crate::fixture::Https;
use crate::webhook::{TIMEOUT, Webhook};

#[tokio::test]
async fn a_token_that_nobody_else_knows_is_asked_about_and_remembered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let https = Https::up(move |_| {
        Box::new(move |asked| {
            let question = asked.body;
            counted.fetch_add(1, Ordering::Relaxed);
            let status = match question["spec"]["token"].as_str() {
                Some("good") => json!({"authenticated": true, "user": {"username": "ann"}}),
                Some("old") => json!({"error": "expired"}),
                _ => json!({}),
            };
            let version = &question["apiVersion"];
            (200, json!({"apiVersion": version, "kind": "TokenReview", "status": status}))
        })
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, https.kubeconfig("")).expect("written");
    let service = Webhook::open(kubeconfig, TIMEOUT, "TokenReview").expect("a kubeconfig");
    let audiences = vec!["api".to_owned()];
    let webhook = TokenWebhook::new(service, Version::V1beta1, audiences.clone(), Duration::from_secs(120));
    for _ in 0..2 {
        let found = webhook.accept("good", &audiences).await.expect("an answer").expect("a user");
        assert_eq!((found.user.name.as_str(), &found.audiences), ("ann", &audiences));
        assert_eq!(webhook.accept("strange", &audiences).await, Ok(None));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "what it said is remembered, a no too");
    for _ in 0..2 {
        let expired = webhook.accept("old", &audiences).await;
        assert_eq!(expired, Err(Unauthorized("expired".to_owned())));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "an error is not");
}
