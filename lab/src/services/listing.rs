//! What the directory of services holds, as a proxy reads it.

use std::path::Path;

use proxy::feeds::directory;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::objects::Service;
use serde::Serialize;

use crate::error::LabError;
use crate::table::Table;

/// The services of a directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Listing {
    pub directory: String,
    pub services: Vec<ServiceLine>,
    /// What a proxy leaves out, and why.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceLine {
    /// `NAMESPACE/NAME`.
    pub name: String,
    pub cluster_ips: Vec<String>,
    /// `80/tcp`, or `80:30080/tcp` with a node port.
    pub ports: Vec<String>,
    /// Addresses in its slices that are ready.
    pub endpoints: usize,
}

impl Listing {
    /// Reads a directory once.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn read(directory: &Path) -> Result<Self, LabError> {
        let loaded = directory::load(directory).map_err(LabError::io("list", directory))?;
        let mut cluster = Cluster::default();
        for object in loaded.objects {
            cluster.apply(Change::Put(object));
        }
        let mut services: Vec<_> = cluster.services().map(|service| line(&cluster, service)).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let problems = loaded.troubles.iter().map(ToString::to_string).collect();
        Ok(Self { directory: directory.display().to_string(), services, problems })
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(["SERVICE", "CLUSTER-IP", "PORTS", "ENDPOINTS"]);
        table.align_right([3]);
        let or_none = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(",") };
        for service in &self.services {
            let (ips, ports) = (or_none(&service.cluster_ips), or_none(&service.ports));
            table.row([service.name.clone(), ips, ports, service.endpoints.to_string()]);
        }
        table
    }
}

fn line(cluster: &Cluster, service: &Service) -> ServiceLine {
    let ready = cluster.slices(&service.name).flat_map(|slice| &slice.endpoints).filter(|one| one.ready);
    let mut endpoints: Vec<_> = ready.map(|one| one.ip).collect();
    endpoints.sort();
    endpoints.dedup();
    let port = |port: &proxy_core::objects::Port| match port.node_port {
        Some(node_port) => format!("{}:{node_port}/{}", port.port, port.protocol),
        None => format!("{}/{}", port.port, port.protocol),
    };
    ServiceLine {
        name: service.name.to_string(),
        cluster_ips: service.cluster_ips.iter().map(ToString::to_string).collect(),
        ports: service.ports.iter().map(port).collect(),
        endpoints: endpoints.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_named_beside_the_good_services() {
        let directory = tempfile::tempdir().unwrap();
        let service = "{apiVersion: v1, kind: Service, metadata: {namespace: a, name: b}, spec: {clusterIP: 10.96.0.9, \
                       clusterIPs: [10.96.0.9], ports: [{port: 80, nodePort: 30001, protocol: TCP}, {port: 53, \
                       protocol: UDP}]}}";
        std::fs::write(directory.path().join("good.yaml"), service).unwrap();
        std::fs::write(directory.path().join("bad.yaml"), "kind: [").unwrap();
        let listing = Listing::read(directory.path()).unwrap();
        assert_eq!(
            listing.table().to_string(),
            "SERVICE  CLUSTER-IP  PORTS                ENDPOINTS\na/b      10.96.0.9   80:30001/tcp,53/udp          0\n"
        );
        assert!(matches!(&listing.problems[..], [one] if one.contains("bad.yaml")), "{listing:?}");
    }
}
