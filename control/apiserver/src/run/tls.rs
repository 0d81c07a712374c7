//! The server's certificate: the one it is given, or one of its own.

use std::sync::Arc;
use std::time::SystemTime;

use control_serving::certificates::{self, Certificates, Pair, Source, Terms};
use tokio_rustls::rustls::{DistinguishedName, ServerConfig};

use super::ServeError;
use crate::options::Options;
use crate::pki;

/// `hints` are the authorities that client certificates may come from.
pub fn config(
    options: &Options,
    hints: Vec<DistinguishedName>,
) -> Result<(Arc<ServerConfig>, Arc<Certificates>), ServeError> {
    let (certificate, key) = match &options.tls {
        Some(own) => own.clone(),
        None => {
            let names = pki::Names::of_api(
                "localhost",
                options.advertise_address.into_iter().chain([options.listen.ip()]),
                &[],
            );
            let own = ("apiserver", "kube-apiserver");
            pki::ensure_self_signed(&options.cert_dir, own, &names, SystemTime::now())?
        }
    };
    let usual = Source::usual(Pair::Files { certificate, key });
    let sources = std::iter::once(usual).chain(options.sni.iter().map(Source::from)).collect();
    let terms = Terms { tls13_only: options.tls13_only, suites: Vec::new(), http2: options.http2 };
    Ok(certificates::config(sources, &terms, hints)?)
}
