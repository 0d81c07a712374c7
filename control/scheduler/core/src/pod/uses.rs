//! What else of the world a pod needs: ports of the host, volumes, images; and whose it is.

use std::sync::Arc;

use apiclient_core::names::Name;
use serde_json::Value;

use crate::read;

/// A port of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// `0.0.0.0` stands for all addresses.
    pub address: Name,
    pub protocol: Name,
    pub port: u16,
}

impl Port {
    pub fn collides(&self, other: &Self) -> bool {
        let all = |port: &Self| &*port.address == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || all(self) || all(other))
    }
}

/// A volume that has a say in where the pod can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Volume {
    /// Name of a claim, and whether it is made for this pod.
    Claim { name: Name, ephemeral: bool },
    /// A disk that one node can write at a time: kind, identity, whether it is only read there.
    Disk { kind: &'static str, identity: String, read_only: bool },
    /// Inline, by this driver.
    Csi { driver: Name },
}

/// The controller that made a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl Owner {
    pub fn read(metadata: &Value) -> Option<Self> {
        let owner = read::list(&metadata["ownerReferences"])
            .iter()
            .find(|owner| owner["controller"].as_bool() == Some(true))?;
        let text = |field: &str| read::text(owner, field).to_owned();
        Some(Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
        })
    }
}

/// Ports of the host that its containers take. Sidecars count, init containers that end do not.
pub fn ports(spec: &Value) -> Vec<Port> {
    let sidecars = read::list(&spec["initContainers"])
        .iter()
        .filter(|container| read::text(container, "restartPolicy") == "Always");
    let mut found = Vec::new();
    for container in read::list(&spec["containers"]).iter().chain(sidecars) {
        for port in read::list(&container["ports"]) {
            let number = port["hostPort"].as_u64().and_then(|number| u16::try_from(number).ok());
            let Some(number) = number.filter(|number| *number > 0) else { continue };
            let or = |field: &str, default: &str| -> Name {
                match read::text(port, field) {
                    "" => default.into(),
                    text => text.into(),
                }
            };
            found.push(Port {
                address: or("hostIP", "0.0.0.0"),
                protocol: or("protocol", "TCP"),
                port: number,
            });
        }
    }
    found
}

/// `pod` is its name: claims that are made for it are named after it.
pub fn volumes(spec: &Value, pod: &str) -> Vec<Volume> {
    read::list(&spec["volumes"]).iter().filter_map(|volume| one(volume, pod)).collect()
}

fn one(volume: &Value, pod: &str) -> Option<Volume> {
    if let claim @ Value::Object(_) = &volume["persistentVolumeClaim"] {
        return Some(Volume::Claim { name: read::name(claim, "claimName"), ephemeral: false });
    }
    if volume["ephemeral"].is_object() {
        let name = Arc::from(format!("{pod}-{}", read::text(volume, "name")));
        return Some(Volume::Claim { name, ephemeral: true });
    }
    if volume["csi"].is_object() {
        return Some(Volume::Csi { driver: read::name(&volume["csi"], "driver") });
    }
    for (field, kind, identity) in [
        ("gcePersistentDisk", "gce", &["pdName"][..]),
        ("awsElasticBlockStore", "aws", &["volumeID"]),
        ("iscsi", "iscsi", &["iqn"]),
    ] {
        let disk = &volume[field];
        if disk.is_object() {
            let identity: Vec<_> = identity.iter().map(|field| read::text(disk, field)).collect();
            // Two readers share what these drivers give; AWS's does not.
            let read_only = kind != "aws" && disk["readOnly"].as_bool() == Some(true);
            return Some(Volume::Disk { kind, identity: identity.join("/"), read_only });
        }
    }
    let rbd = &volume["rbd"];
    rbd.is_object().then(|| {
        let mut monitors = read::texts(&rbd["monitors"]);
        monitors.sort();
        let or = |field: &str, default: &str| match read::text(rbd, field) {
            "" => default.to_owned(),
            text => text.to_owned(),
        };
        Volume::Disk {
            kind: "rbd",
            // Monitors may overlap in part: compared in [`Volume::collides`].
            identity: format!("{}/{}/{}", or("pool", "rbd"), or("image", ""), monitors.join(",")),
            read_only: rbd["readOnly"].as_bool() == Some(true),
        }
    })
}

impl Volume {
    /// Both cannot be on one node.
    pub fn collides(&self, other: &Self) -> bool {
        let (
            Self::Disk { kind, identity, read_only },
            Self::Disk { kind: other_kind, identity: other_identity, read_only: other_only },
        ) = (self, other)
        else {
            return false;
        };
        if kind != other_kind || (*read_only && *other_only) {
            return false;
        }
        if *kind != "rbd" {
            return identity == other_identity;
        }
        let split = |text: &str| {
            let (image, monitors) = text.rsplit_once('/').unwrap_or((text, ""));
            (image.to_owned(), monitors.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        let ((image, monitors), (other_image, others)) = (split(identity), split(other_identity));
        image == other_image && monitors.iter().any(|monitor| others.contains(monitor))
    }
}

/// One entry for each container and image volume, with the tag that is meant where none is given.
pub fn images(spec: &Value) -> Vec<Name> {
    let containers = read::list(&spec["initContainers"])
        .iter()
        .chain(read::list(&spec["containers"]))
        .map(|container| read::text(container, "image"));
    let volumes = read::list(&spec["volumes"])
        .iter()
        .filter(|volume| volume["image"].is_object())
        .map(|volume| read::text(&volume["image"], "reference"));
    containers.chain(volumes).map(|image| full_name(image).into()).collect()
}

pub fn full_name(image: &str) -> String {
    if image.rfind(':') <= image.rfind('/') { format!("{image}:latest") } else { image.to_owned() }
}
