//! What a request asks for (PKCS #10).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_core::edit::text;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// A parsed request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The whole of it.
    pub der: Vec<u8>,
    pub common_name: String,
    pub organizations: Vec<String>,
    /// How many names of each sort it has besides.
    pub dns: usize,
    pub emails: usize,
    pub addresses: usize,
    pub uris: usize,
}

impl Request {
    /// That of a CertificateSigningRequest.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn of(object: &Value) -> Result<Self, String> {
        const NO_PEM: &str = "PEM block type must be CERTIFICATE REQUEST";
        let pem = STANDARD.decode(text(object, &["spec", "request"])).map_err(|_| NO_PEM)?;
        let (_, block) = parse_x509_pem(&pem).map_err(|_| NO_PEM)?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(NO_PEM.to_owned());
        }
        Self::parse(&block.contents)
    }

    fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509CertificationRequest::from_der(der).map_err(|error| error.to_string())?;
        let subject = &parsed.certification_request_info.subject;
        let common_name = subject.iter_common_name().last().and_then(|name| name.as_str().ok());
        let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
        let mut request = Self {
            common_name: common_name.unwrap_or_default().to_owned(),
            organizations: organizations.map(str::to_owned).collect(),
            der: der.to_vec(),
            ..Self::default()
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => request.dns += 1,
                    GeneralName::RFC822Name(_) => request.emails += 1,
                    GeneralName::IPAddress(_) => request.addresses += 1,
                    GeneralName::URI(_) => request.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(request)
    }
}
