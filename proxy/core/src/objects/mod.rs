//! The few fields that a proxy uses of Service, EndpointSlice, Node and ServiceCIDR objects.
//!
//! Owns: decoding ([`raw`]) and checking. A checked object holds nothing that could surprise a later step; what had
//! to be left out of it is said in [`Checked::left_out`]. Unknown fields are ignored.

mod address;
mod error;
mod node;
pub mod raw;
mod service;
mod slice;

use apiclient_core::{fields, path};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::ObjectError;
pub use node::{NodeInfo, ServiceCidr};
pub use service::{Policy, Port, Service};
pub use slice::{EndpointSlice, Hints, SliceEndpoint, SlicePort};

use crate::names::ObjectName;

/// The kinds of objects that a proxy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Service,
    EndpointSlice,
    Node,
    ServiceCidr,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr];

    /// The API's word: `ServiceCIDR`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Node => "Node",
            Kind::ServiceCidr => "ServiceCIDR",
        }
    }

    pub fn from_api(kind: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// Decodes one object of this kind, as a list or a watch carries it (`kind` inside is not looked at).
    pub fn decode(self, json: &[u8]) -> Result<Checked<Object>, ObjectError> {
        match self {
            Kind::Service => {
                decode::<raw::Service>(self, json)?.check().map(|found| found.map(Object::Service))
            }
            Kind::EndpointSlice => decode::<raw::EndpointSlice>(self, json)?
                .check()
                .map(|found| found.map(Object::EndpointSlice)),
            Kind::Node => decode::<raw::Node>(self, json)?.check().map(|found| found.map(Object::Node)),
            Kind::ServiceCidr => {
                decode::<raw::ServiceCidr>(self, json)?.check().map(|found| found.map(Object::ServiceCidr))
            }
        }
    }
}

fn decode<T: DeserializeOwned>(kind: Kind, json: &[u8]) -> Result<T, ObjectError> {
    let decoded: Result<fields::Map<T>, _> = serde_json::from_slice(json);
    decoded.map(|fields::Map(object)| object).map_err(|error| blame(kind, json, &error))
}

/// Names the object even where its fields do not decode, and the field at fault.
fn blame(kind: Kind, json: &[u8], error: &serde_json::Error) -> ObjectError {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let word = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let line = json.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let position = line.map(<[u8]>::len).sum::<usize>() + error.column();
    let problem = error.to_string();
    // A place in a text that nobody sees as the API sends it.
    let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
    ObjectError {
        kind,
        name: ObjectName::new(word("namespace"), word("name")),
        field: if error.is_data() { path::path(json, position) } else { String::new() },
        problem: problem.to_owned(),
    }
}

/// A checked object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Service(Service),
    EndpointSlice(EndpointSlice),
    Node(NodeInfo),
    ServiceCidr(ServiceCidr),
}

impl Object {
    /// Decodes any object of a kind that a proxy uses; `None` for another kind.
    pub fn decode(json: &[u8]) -> Option<Result<Checked<Object>, ObjectError>> {
        #[derive(Deserialize)]
        struct Kinded {
            kind: String,
        }
        let kinded: Kinded = serde_json::from_slice(json).ok()?;
        Some(Kind::from_api(&kinded.kind)?.decode(json))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Object::Service(_) => Kind::Service,
            Object::EndpointSlice(_) => Kind::EndpointSlice,
            Object::Node(_) => Kind::Node,
            Object::ServiceCidr(_) => Kind::ServiceCidr,
        }
    }

    pub fn name(&self) -> ObjectName {
        match self {
            Object::Service(service) => service.name.clone(),
            Object::EndpointSlice(slice) => slice.name.clone(),
            Object::Node(node) => ObjectName::new("", node.name.clone()),
            Object::ServiceCidr(cidr) => ObjectName::new("", cidr.name.clone()),
        }
    }
}

/// A usable object, and the parts of what was written that are not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<T> {
    pub object: T,
    pub left_out: Vec<ObjectError>,
}

impl<T> Checked<T> {
    fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Checked<U> {
        Checked { object: wrap(self.object), left_out: self.left_out }
    }
}
