//! A request's way to its answer: who sends it, and whether they may.

use control_core::access::{self, Attributes, User, Verdict};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use telemetry::http::{Answer, Check, Checked, Request, StatusCode};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::authentication::bearer::{Tokens, token_of};
use crate::authentication::chain::Chain;
use crate::authentication::token_webhook::TokenWebhook;
use crate::authentication::{Authenticate, Unauthorized};
use crate::authorization::{Known, Webhook};
use crate::paths::Paths;

/// Lets in whom the API server lets in.
#[derive(Debug)]
pub struct Gate {
    pub chain: Chain,
    /// What everybody may see.
    pub always: Paths,
    /// Who is asked about everything else; `None`: it is refused.
    pub rights: Option<Webhook>,
}

impl Check for Gate {
    fn check<'a>(&'a self, request: &'a Request) -> Checked<'a> {
        Box::pin(async move {
            let user = self.chain.authenticate(&head_of(request), &request.certificates).await;
            let user = user.map_err(|why| {
                tracing::debug!(%why, peer = %request.peer, "a client of the health port is not known");
                refusal(&access::unauthorized())
            })?;
            let attributes = Attributes {
                verb: request.method.as_str().to_ascii_lowercase(),
                path: request.path.clone(),
                ..Attributes::default()
            };
            let verdict = self.decide(&attributes, &user).await;
            match (verdict.is_allowed(), verdict.error.as_str()) {
                (true, _) => Ok(()),
                (false, "") => Err(refusal(&access::forbidden(&attributes, &user, &verdict.reason))),
                (false, why) => {
                    let text = access::undecided(&request.path, why);
                    Err(Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n")))
                }
            }
        })
    }
}

impl Gate {
    async fn decide(&self, attributes: &Attributes, user: &User) -> Verdict {
        if user.is_in(User::MASTERS) || self.always.has(&attributes.path) {
            return Verdict::allow("");
        }
        let Some(rights) = &self.rights else { return Verdict::no_opinion("") };
        match rights.known(attributes, user) {
            Known::Verdict(verdict) => verdict,
            Known::Ask { spec, remember } => rights.ask(&spec, remember).await,
        }
    }
}

/// As the ways to tell who somebody is take it.
fn head_of(request: &Request) -> Parts {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = request.method.clone();
    head.headers = request.headers.clone();
    if let Ok(uri) = request.path.parse() {
        head.uri = uri;
    }
    head
}

fn refusal(status: &apiclient_core::wire::Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::FORBIDDEN);
    Answer::json(code, format!("{}\n", status.document()))
}

/// Tokens that the API server knows.
#[derive(Debug)]
pub struct Reviewed(pub TokenWebhook);

impl Authenticate for Reviewed {
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        _peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        async move {
            let Some(token) = token_of(&head.headers) else { return Ok(None) };
            match self.0.accept(token, &[]).await? {
                Some(accepted) => Ok(Some(accepted.user)),
                None => Err(Unauthorized("invalid bearer token".to_owned())),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use telemetry::http::{HeaderMap, Method, header};

    use super::*;

    fn request(path: &str, token: Option<&str>) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
        }
        Request {
            method: Method::GET,
            path: path.to_owned(),
            query: None,
            headers,
            peer: ([192, 0, 2, 1], 40_000).into(),
            local: ([192, 0, 2, 2], 10_257).into(),
            certificates: Arc::default(),
        }
    }

    /// Knows one token, of a user in a group.
    #[derive(Debug)]
    struct One(&'static str);

    impl Authenticate for One {
        fn authenticate<'a>(
            &'a self,
            head: &'a Parts,
            _peer: &'a [CertificateDer<'static>],
        ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
            let user = || User { name: "ann".into(), groups: vec![self.0.into()], ..User::default() };
            let found = match token_of(&head.headers) {
                None => Ok(None),
                Some("good") => Ok(Some(user())),
                Some(_) => Err(Unauthorized("bad".to_owned())),
            };
            std::future::ready(found).boxed()
        }
    }

    async fn answered(gate: &Gate, path: &str, token: Option<&str>) -> (u16, String) {
        match gate.check(&request(path, token)).await {
            Ok(()) => (200, String::new()),
            Err(answer) => (answer.status.as_u16(), answer.body),
        }
    }

    #[tokio::test]
    async fn without_a_server_to_ask_everybody_sees_only_what_everybody_may_see() {
        let always = Paths::of(["/healthz"]).expect("paths");
        let gate = Gate { chain: Chain::new(Vec::new(), true), always, rights: None };
        assert_eq!(answered(&gate, "/healthz", None).await.0, 200);
        let (code, body) = answered(&gate, "/metrics", None).await;
        assert_eq!(code, 403);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&body["kind"], &body["code"]), (&"Status".into(), &403.into()));
        let message = "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"";
        assert_eq!(body["message"], message);
        // Nobody knows tokens: one says nothing.
        assert_eq!(answered(&gate, "/healthz", Some("any")).await.0, 200);
        assert_eq!(answered(&gate, "/metrics", Some("any")).await.0, 403);
    }

    #[tokio::test]
    async fn a_token_that_is_wrong_is_refused_everywhere() {
        let gate = |group| Gate {
            chain: Chain::new(vec![Arc::new(One(group))], true),
            always: Paths::of(["/healthz"]).expect("paths"),
            rights: None,
        };
        for path in ["/healthz", "/metrics"] {
            assert_eq!(answered(&gate("dev"), path, Some("bad")).await.0, 401, "{path}");
        }
        assert_eq!(answered(&gate("dev"), "/metrics", Some("good")).await.0, 403);
        assert_eq!(answered(&gate(User::MASTERS), "/metrics", Some("good")).await.0, 200);
    }
}
