//! `token`: a service account gets one (TokenRequest).

use apiclient_core::wire::Status;
use control_core::admission::Operation;
use control_core::kind::Subresource;
use control_core::refusal;
use control_schema::{builtin, codec, defaults};

use crate::admit::{self, Write};
use crate::call::Call;
use crate::negotiation::{Encoding, Offer, content_encoding};
use crate::reply::{Body, Response};
use crate::request::options::{self, WriteOptions};
use crate::strategy::managed;

const GROUP_VERSION: &str = "authentication.k8s.io/v1";

/// # Errors
/// The body is no TokenRequest, or asks for what it may not.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let encoding = content_encoding(&call.headers, Offer::All)?;
    let options = WriteOptions::decode(&call.query, options::Write::Create)?;
    let Some(schema) = builtin::kind(GROUP_VERSION, "TokenRequest") else {
        return Err(refusal::internal("there is no schema of TokenRequest"));
    };
    let decoded = match encoding {
        Encoding::Json => codec::json::decode(&schema, &bytes),
        Encoding::Yaml => codec::yaml::decode(&schema, &bytes),
        Encoding::Protobuf => codec::protobuf::decode(&schema, &bytes),
    };
    let mut request = decoded.map_err(|error| refusal::bad_request(error.to_string()))?.value;
    defaults::apply(&schema, &mut request);
    let write = Write {
        operation: Operation::Create,
        subresource: Some(Subresource::Token),
        dry_run: options.dry_run,
    };
    let mut request = managed::question(call, (GROUP_VERSION, &schema), request, &options.manager);
    admit::mutate(call, &write, &mut request, None).await?;
    let (server, account) = (&call.server, (&*call.resource.namespace, &*call.resource.name));
    let warnings = server.parts.access.issue(&mut request, account, call.now, &server.memory)?;
    call.warn(warnings);
    admit::validate(call, &write, &mut request, None).await?;
    Ok(call.answer_other(201, GROUP_VERSION, "TokenRequest", &request))
}
