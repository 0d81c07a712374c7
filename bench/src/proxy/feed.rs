//! Where the proxies have the objects from, and how one of them is changed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::objects;
use super::sample::FeedKind;
use super::testbed::{HUB, Testbed};
use crate::interrupt::Interrupt;
use lab::LabError;
use originals::{ControlPlane, User};

/// Objects that are written before anybody is asked whether to go on.
const AT_ONCE: u32 = 1000;

/// The objects' source, with some number of services in it. The last service's slice is the one that changes.
pub struct Feed {
    services: u32,
    source: Source,
}

enum Source {
    Api(Box<ControlPlane>),
    Directory(PathBuf),
}

impl Feed {
    /// Without a service. The testbed must have a node, which the API server is reached over.
    pub fn start(kind: FeedKind, testbed: &Testbed) -> Result<Self, LabError> {
        let source = match kind {
            FeedKind::Api => {
                let control_plane = ControlPlane::up(&testbed.hub, HUB.into())?;
                control_plane.load(&objects::surroundings())?;
                Source::Api(Box::new(control_plane))
            }
            FeedKind::Directory => {
                let directory = testbed.directory().join("objects");
                fs::create_dir_all(&directory).map_err(LabError::io("create", &directory))?;
                Source::Directory(directory)
            }
        };
        Ok(Self { services: 0, source })
    }

    /// Adds services until there are so many.
    pub fn grow(&mut self, services: u32, interrupt: &Interrupt) -> Result<(), LabError> {
        match &self.source {
            Source::Api(control_plane) => {
                while self.services < services {
                    if interrupt.asked() {
                        return Err(LabError::Interrupted);
                    }
                    let next = services.min(self.services + AT_ONCE);
                    let both = |n| [objects::service(n), objects::slice(n, &objects::ENDPOINTS)].into_iter();
                    control_plane.load((self.services..next).flat_map(both).collect::<Vec<_>>().iter())?;
                    self.services = next;
                }
            }
            Source::Directory(directory) => {
                let mut items: Vec<Value> = objects::surroundings().into();
                items.push(objects::service_cidr());
                items.extend((0..services).map(objects::service));
                items.extend((0..services - 1).map(|n| objects::slice(n, &objects::ENDPOINTS)));
                write(directory, "all.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
                self.services = services;
            }
        }
        self.change(&objects::ENDPOINTS)
    }

    /// Gives the last service other endpoints. Returns when etcd has the slice, or the file its name.
    pub fn change(&self, endpoints: &[Ipv4Addr]) -> Result<(), LabError> {
        let slice = objects::slice(self.services - 1, endpoints);
        match &self.source {
            Source::Api(control_plane) => Ok(control_plane.load([&slice])?),
            Source::Directory(directory) => write(directory, "last.json", &slice),
        }
    }

    /// What a proxy needs to be told.
    pub fn flags(&self) -> Vec<String> {
        match &self.source {
            Source::Api(control_plane) => {
                vec![format!("--kubeconfig={}", control_plane.kubeconfig(User::Proxy).display())]
            }
            Source::Directory(directory) => vec![format!("--feed-dir={}", directory.display())],
        }
    }
}

/// Whole, under its name at once.
fn write(directory: &Path, name: &str, object: &Value) -> Result<(), LabError> {
    let partial = directory.join(format!("{name}.part"));
    fs::write(&partial, object.to_string()).map_err(LabError::io("write", &partial))?;
    fs::rename(&partial, directory.join(name)).map_err(LabError::io("rename", &partial))
}
