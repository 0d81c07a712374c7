//! Authorities in files that sign for the signers of `kubernetes.io`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use control_controllers_core::signing_requests::{Request, Signer, Validity};
use control_pki::{Authority, SigningError};

/// One of them.
struct Files(Authority);

impl Signer for Files {
    fn sign(&self, request: &Request, usages: &[&str], validity: Validity) -> Result<String, String> {
        let times = (validity.not_before, validity.not_after);
        self.0.sign(&request.der, usages, times, SystemTime::now()).map_err(|error| error.to_string())
    }
}

/// By the names of signers. They are read once, to find out whether they can sign, and at each use.
///
/// # Errors
/// One of them cannot sign.
pub fn signers(
    authorities: &BTreeMap<&'static str, Authority>,
) -> Result<BTreeMap<&'static str, Arc<dyn Signer>>, SigningError> {
    let one = |(name, authority): (&&'static str, &Authority)| {
        authority.check()?;
        Ok((*name, Arc::new(Files(authority.clone())) as Arc<dyn Signer>))
    };
    authorities.iter().map(one).collect()
}
