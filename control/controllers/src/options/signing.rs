//! Which authority signs for which signer: `--cluster-signing-*`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use control_controllers_core::signing_requests::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY, SIGNERS};
use control_pki::Authority;
use goflags::{Error, Settings};

/// Signers with authorities of their own, by what their flags are called.
const OWN: [(&str, &str); 4] = [
    ("cluster-signing-kubelet-serving", KUBELET_SERVING),
    ("cluster-signing-kubelet-client", KUBELET_CLIENT),
    ("cluster-signing-kube-apiserver-client", CLIENT),
    ("cluster-signing-legacy-unknown", LEGACY),
];

/// By the names of signers. With an authority of its own for one of them, the common one is for none.
///
/// # Errors
/// A certificate without a key, or a key without a certificate; or both sorts of authorities.
pub fn authorities(settings: &Settings) -> Result<BTreeMap<&'static str, Authority>, Error> {
    let common = pair(settings, "cluster-signing")?;
    let mut own = BTreeMap::new();
    for (flags, signer) in OWN {
        own.extend(pair(settings, flags)?.map(|authority| (signer, authority)));
    }
    match common {
        Some(_) if !own.is_empty() => {
            let flag = settings.get("cluster-signing-cert-file");
            Err(flag.refuse("cannot specify default and per controller certs at the same time"))
        }
        Some(common) => Ok(SIGNERS.into_iter().map(|signer| (signer, common.clone())).collect()),
        None => Ok(own),
    }
}

fn pair(settings: &Settings, flags: &str) -> Result<Option<Authority>, Error> {
    let (certificate, key) =
        (settings.get(&format!("{flags}-cert-file")), settings.get(&format!("{flags}-key-file")));
    match (certificate.text(), key.text()) {
        ("", "") => Ok(None),
        ("", _) => Err(key.refuse(format!("--{flags}-cert-file is missing"))),
        (_, "") => Err(certificate.refuse(format!("--{flags}-key-file is missing"))),
        (certificate, key) => {
            Ok(Some(Authority { certificate: PathBuf::from(certificate), key: PathBuf::from(key) }))
        }
    }
}
