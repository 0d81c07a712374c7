//! Whose certificates the API server believes, as it publishes it for servers beside it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use apiclient::objects::{Api, Changed, News, follow};
use apiclient::{Client, Failure, Query, Resource};
use apiclient_core::selector::FieldSelector;
use control_core::access::User;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use serde_json::Value;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::authentication::certificates::{Authorities, BadAuthorities, Certificates};
use crate::authentication::front_proxy::{FrontProxy, Headers};
use crate::authentication::{Authenticate, Unauthorized};

pub const NAMESPACE: &str = "kube-system";
pub const NAME: &str = "extension-apiserver-authentication";

const CONFIG_MAPS: Resource = Resource::new("", "v1", "configmaps", true);

/// What was published last.
#[derive(Debug, Default)]
pub struct Lookup {
    proxies: Slot,
    clients: Slot,
}

/// A way to tell who somebody is, that may come, change and go.
#[derive(Clone, Default)]
struct Slot(Arc<RwLock<Option<Arc<dyn Authenticate>>>>);

impl Slot {
    fn set(&self, way: Option<Arc<dyn Authenticate>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn way(&self) -> Option<Arc<dyn Authenticate>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.way()).finish()
    }
}

impl Authenticate for Slot {
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        async move {
            match self.way() {
                Some(way) => way.authenticate(head, peer).await,
                None => Ok(None),
            }
        }
        .boxed()
    }
}

impl Lookup {
    /// Proxies that name their clients.
    pub fn proxies(&self) -> Arc<dyn Authenticate> {
        Arc::new(self.proxies.clone())
    }

    /// Client certificates.
    pub fn clients(&self) -> Arc<dyn Authenticate> {
        Arc::new(self.clients.clone())
    }

    /// Asks once. A server that has published nothing is no error.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn first(&self, client: &Client) -> Result<(), Failure> {
        match client.get::<Value>(&CONFIG_MAPS.object_path(NAMESPACE, NAME, "")).await {
            Ok(found) => self.take(&found["data"]),
            Err(Failure::Refused(status)) if status.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// For ever: takes in what is published next.
    pub async fn follow(self: Arc<Self>, api: Arc<dyn Api>) {
        let query = Query {
            namespace: NAMESPACE.to_owned(),
            fields: FieldSelector::default().equal("metadata.name", NAME),
            forbidden: "bind the Role extension-apiserver-authentication-reader of kube-system to them"
                .into(),
            ..Query::new("ConfigMap", CONFIG_MAPS)
        };
        let hear = |news: News| match news {
            News::All(all) => self.take(all.objects.first().map_or(&Value::Null, |object| &object["data"])),
            News::Changed(Changed::Put(object)) => self.take(&object["data"]),
            News::Changed(Changed::Gone(_)) => self.take(&Value::Null),
            News::Changed(Changed::Until(_)) => {}
            News::Trouble(problem) => {
                tracing::warn!(problem, "whose certificates are believed stays as it was");
            }
        };
        match follow(api, query, hear).await {}
    }

    /// Takes in the ConfigMap's data. What makes no sense leaves what there was.
    fn take(&self, data: &Value) {
        let way = |slot: &Slot, made: Result<Option<Arc<dyn Authenticate>>, BadAuthorities>, key: &str| {
            match made {
                Ok(way) => slot.set(way),
                Err(error) => {
                    tracing::warn!(%error, key, "the API server publishes no authorities that can be used")
                }
            }
        };
        let authorities = |key: &str| {
            let pem = data[key].as_str().filter(|pem| !pem.trim().is_empty());
            pem.map(|pem| Authorities::new(pem.as_bytes()).map(Arc::new)).transpose()
        };
        let clients = authorities("client-ca-file")
            .map(|found| found.map(|found| Arc::new(Certificates(found)) as Arc<dyn Authenticate>));
        way(&self.clients, clients, "client-ca-file");
        let proxies = authorities("requestheader-client-ca-file").map(|found| {
            found.map(|authorities| {
                Arc::new(FrontProxy { authorities, headers: headers(data) }) as Arc<dyn Authenticate>
            })
        });
        way(&self.proxies, proxies, "requestheader-client-ca-file");
    }
}

/// The headers of proxies, as lists in JSON. One that is none is empty.
fn headers(data: &Value) -> Headers {
    let list = |key: &str| -> Vec<String> {
        data[key].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    Headers {
        allowed_names: list("requestheader-allowed-names"),
        users: list("requestheader-username-headers"),
        uids: list("requestheader-uid-headers"),
        groups: list("requestheader-group-headers"),
        extra_prefixes: list("requestheader-extra-headers-prefix"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use serde_json::json;

    fn authority() -> (Issuer<'static, KeyPair>, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("an authority").pem();
        (Issuer::new(params, key), pem)
    }

    fn certificate(authority: &Issuer<'static, KeyPair>, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(&key, authority).expect("a certificate").der().clone()
    }

    #[tokio::test]
    async fn what_the_server_publishes_counts_until_it_changes() {
        let ((own, own_pem), (proxies, proxies_pem)) = (authority(), authority());
        let lookup = Lookup::default();
        let (head, ()) =
            http::Request::builder().header("x-remote-user", "bob").body(()).expect("a request").into_parts();
        let (client, proxy) = ([certificate(&own, "ann")], [certificate(&proxies, "front")]);
        let names = |way: Arc<dyn Authenticate>, peer: [CertificateDer<'static>; 1]| {
            let head = head.clone();
            async move { way.authenticate(&head, &peer).await.map(|user| user.map(|user| user.name)) }
        };
        assert_eq!(names(lookup.clients(), client.clone()).await, Ok(None), "nothing is known yet");
        lookup.take(&json!({
            "client-ca-file": own_pem,
            "requestheader-client-ca-file": proxies_pem,
            "requestheader-allowed-names": "[\"front\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        }));
        assert_eq!(names(lookup.clients(), client.clone()).await, Ok(Some("ann".to_owned())));
        assert_eq!(names(lookup.proxies(), proxy.clone()).await, Ok(Some("bob".to_owned())));
        assert!(names(lookup.proxies(), client.clone()).await.is_err());
        lookup.take(&json!({"client-ca-file": "none"}));
        assert_eq!(names(lookup.clients(), client.clone()).await, Ok(Some("ann".to_owned())), "it stays");
        lookup.take(&Value::Null);
        assert_eq!(names(lookup.clients(), client).await, Ok(None), "all of it is gone");
        assert_eq!(names(lookup.proxies(), proxy).await, Ok(None));
    }
}
