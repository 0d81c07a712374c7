//! The value of a lease: who holds the subnets, and what his backend tells its peers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::value::RawValue;

use crate::config::Vni;
use crate::go::{self, Object};
use crate::mac::Mac;

/// What a node publishes about itself: flannel's `LeaseAttrs`.
///
/// udp and alloc publish no `backend_type` at all, as in flannel: it stays empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseAttrs {
    /// Where the peers send to. `0.0.0.0` where the value has none.
    pub public_ip: Ipv4Addr,
    pub public_ipv6: Option<Ipv6Addr>,
    /// Compared letter for letter by flannel; empty means that it is absent.
    pub backend_type: String,
    pub backend_data: Option<RawJson>,
    pub backend_v6_data: Option<RawJson>,
}

/// The value of a lease is not what flannel would read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("it is not a JSON object: {0}")]
    Json(String),
    #[error("{key} is {value}, which is not {want}")]
    Field { key: &'static str, value: String, want: &'static str },
}

impl LeaseAttrs {
    /// Attributes with nothing but an address: what udp and alloc publish.
    pub fn new(public_ip: Ipv4Addr) -> Self {
        Self {
            public_ip,
            public_ipv6: None,
            backend_type: String::new(),
            backend_data: None,
            backend_v6_data: None,
        }
    }

    /// The exact bytes that flannel writes: this order, no spaces, `PublicIPv6` always there, and what is empty
    /// behind it left out.
    pub fn to_json(&self) -> String {
        let mut json = format!(r#"{{"PublicIP":"{}","PublicIPv6":"#, self.public_ip);
        match self.public_ipv6 {
            Some(address) => json += &format!(r#""{}""#, go::ipv6_text(address)),
            None => json += "null",
        }
        if !self.backend_type.is_empty() {
            json += &format!(r#","BackendType":{}"#, go::quote(&self.backend_type));
        }
        if let Some(data) = &self.backend_data {
            json += &format!(r#","BackendData":{data}"#);
        }
        if let Some(data) = &self.backend_v6_data {
            json += &format!(r#","BackendV6Data":{data}"#);
        }
        json + "}"
    }

    /// Reads a value that any version of flannel, or a person, may have written. Keys match in any case, unknown ones
    /// are ignored, an absent one is empty. Backend data of `null` counts as absent (flannel keeps the `null`).
    ///
    /// # Errors
    ///
    /// What flannel refuses: no JSON object, or a field of the wrong kind (a `PublicIP` of `null` among them). An
    /// IPv6 address as `PublicIP` makes flannel 0.28.4 panic; here it is an error like the others.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, BadValue> {
        let object = Object::parse(json.as_ref()).map_err(|error| BadValue::Json(error.to_string()))?;
        let public_ip = match object.last("PublicIP") {
            Some(raw) => string(raw)
                .and_then(|text| go::parse_ipv4(&text))
                .ok_or_else(|| BadValue::field("PublicIP", raw, "an IPv4 address"))?,
            None => Ipv4Addr::UNSPECIFIED,
        };
        let public_ipv6 = match object.last("PublicIPv6") {
            Some(raw) if !go::is_null(raw) => Some(
                string(raw)
                    .and_then(|text| go::parse_ipv6(&text))
                    .ok_or_else(|| BadValue::field("PublicIPv6", raw, "an IPv6 address"))?,
            ),
            _ => None,
        };
        let backend_type = match object.value("BackendType") {
            Some(raw) => string(raw).ok_or_else(|| BadValue::field("BackendType", raw, "a string"))?,
            None => String::new(),
        };
        let data = |key| object.last(key).filter(|raw| !go::is_null(raw)).map(RawJson::from);
        Ok(Self {
            public_ip,
            public_ipv6,
            backend_type,
            backend_data: data("BackendData"),
            backend_v6_data: data("BackendV6Data"),
        })
    }
}

impl BadValue {
    fn field(key: &'static str, value: &RawValue, want: &'static str) -> Self {
        Self::Field { key, value: value.get().to_owned(), want }
    }
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// One JSON value as compact text, exactly as Go's `json.RawMessage` comes out of `json.Marshal`.
///
/// Numbers and the order of keys are those of whoever wrote it, so that a lease of somebody else's backend survives
/// being read and written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(String);

impl RawJson {
    /// # Errors
    ///
    /// If `text` is not one JSON value.
    pub fn parse(text: &str) -> Result<Self, BadValue> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| BadValue::Json(error.to_string()))?;
        Ok(raw.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&RawValue> for RawJson {
    fn from(raw: &RawValue) -> Self {
        Self(go::compact(raw.get()))
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The backend data of vxlan: which network, and the MAC address of the tunnel end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VxlanData {
    /// flannel never reads the VNI of a peer, and its old versions (before 0.14) do not write one: it then
    /// reads as [`Vni::DEFAULT`] here.
    pub vni: Vni,
    pub vtep_mac: Mac,
}

impl VxlanData {
    /// flannel's bytes: `{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}`.
    pub fn render(&self) -> RawJson {
        RawJson(format!(r#"{{"VNI":{},"VtepMAC":"{}"}}"#, self.vni, self.vtep_mac))
    }

    /// # Errors
    ///
    /// If there is no `VtepMAC`, or it is not the address of one station. An FDB entry for the zero address would
    /// catch the traffic of every unknown peer, so it is refused here and not in the kernel.
    pub fn parse(json: &RawJson) -> Result<Self, BadValue> {
        const MAC: &str = "the MAC address of one station";
        let object =
            Object::parse(json.as_str().as_bytes()).map_err(|error| BadValue::Json(error.to_string()))?;
        let vni = match object.value("VNI") {
            Some(raw) => match serde_json::from_str(raw.get()) {
                Ok(0) => Vni::DEFAULT,
                Ok(number) => Vni::new(number).map_err(|_| BadValue::field("VNI", raw, "a VNI"))?,
                Err(_) => return Err(BadValue::field("VNI", raw, "a VNI")),
            },
            None => Vni::DEFAULT,
        };
        let raw = object.last("VtepMAC").ok_or(BadValue::Field {
            key: "VtepMAC",
            value: "absent".to_owned(),
            want: MAC,
        })?;
        let vtep_mac = string(raw)
            .and_then(|text| text.parse::<Mac>().ok())
            .filter(|mac| !mac.is_group() && *mac != Mac::default())
            .ok_or_else(|| BadValue::field("VtepMAC", raw, MAC))?;
        Ok(Self { vni, vtep_mac })
    }
}

#[cfg(test)]
mod tests;
