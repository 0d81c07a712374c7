//! The server's life: from the options to its end.
//!
//! Owns: the order of the start. Files are read first, then the address is taken, then the registry is loaded and what
//! every cluster has is made; `ready` comes last. Begin at [`serve`].

mod access;
mod allocation;
mod asker;
mod bootstrap;
pub mod definitions;
pub mod elsewhere;
pub mod extensions;
mod fairness;
mod follow;
mod masters;
mod plugins;
pub(crate) mod reload;
mod tls;
mod trust;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control_core::allocation::addresses::AddressRange;
use control_core::allocation::ports::PortRange;
use control_core::location::Preferences;
use control_core::{admission, kinds};
use control_schema::builtin;
use control_serving::files::{self, FileError};
use control_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::allocation::Allocator;
use crate::authentication::chain::Chain;
use crate::backend::Backends;
use crate::options::{EndpointReconciler, Env, Machine, Options, StorageMediaType};
use crate::registry::{Registry, settings};
use crate::storage::memory::Memory;
use crate::{Parts, Server, Times, connection};

/// Why the server does not start, or ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Frame(#[from] telemetry::daemon::FrameError),
    #[error("cannot listen at {address}: is another server there already?")]
    Listen {
        address: SocketAddr,
        #[source]
        error: std::io::Error,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("--oidc-issuer-url and the flags that go with it cannot be used: {0}")]
    Issuer(String),
    #[error("cannot make a certificate of its own; give --tls-cert-file and --tls-private-key-file")]
    Pki(#[from] crate::pki::PkiError),
    #[error(
        "etcd holds {0}, which this release stores and serves, but does not carry out: delete it, or give \
         --ignore-unsupported-extensions to go on without its effect"
    )]
    Unsupported(String),
    #[error("cannot use etcd as it is described")]
    Etcd(#[from] etcd::EtcdError),
}

fn read(file: &Path) -> Result<Vec<u8>, ServeError> {
    Ok(files::read(file)?)
}

fn unusable(file: &Path, problem: impl ToString) -> ServeError {
    files::unusable(file, problem).into()
}

/// More than anybody has.
const NO_LIMIT: usize = 1 << 20;

/// Serves until `end` is ready, drains connections, and returns. `ready` is called once, when requests are answered: what
/// runs in the server's process may begin.
///
/// # Errors
/// A file or flag cannot be used, or the address cannot be listened at.
pub async fn serve(
    options: Options,
    end: impl Future<Output = ()> + Send,
    ready: impl FnOnce(&Arc<Server>, SocketAddr) + Send,
) -> Result<(), ServeError> {
    let mut kinds = kinds::all(&builtin::library());
    for kind in kinds.iter_mut().filter(|kind| kind.traits.ttl.is_some()) {
        kind.traits.ttl = u32::try_from(options.event_ttl.as_secs()).ok();
    }
    if options.serve_usage {
        kinds.extend(kinds::metrics::kinds());
    }
    let store = control_store::Settings {
        prefix: options.etcd_prefix.clone(),
        compaction: options.compaction_interval,
        ..settings(&kinds)
    };
    let client = etcd::Client::new(options.etcd.clone())?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| ServeError::Listen { address: options.listen, error })?;
    let address = listener.local_addr().unwrap_or(options.listen);
    let store = Store::open(client, store);
    store.register(masters::NOTES);
    store.register(crate::allocation::PORTS);
    let registry = Arc::new(Registry::new(kinds));
    let memory = Arc::new(Memory { store: store.clone(), registry: Arc::clone(&registry) });
    let plugins = plugins::settings(&options)?;
    let access = access::of(&options, &plugins, &memory)?;
    let trust = trust::of(&options)?;
    let (tls, certificates) = tls::config(&options, access.hints)?;
    let authorizer = access.authorizers;
    let server = Server::new(Parts {
        store,
        registry,
        authentication: Chain::new(access.ways, access.anonymous.0).anonymous_at(access.anonymous.1),
        authorizer: Arc::clone(&authorizer),
        access: access.services,
        admission: admission::chain::Chain::new(&plugins),
        services: services(&options),
        json_storage: options.storage_media_type == StorageMediaType::Json,
        fair: options.fair,
        in_flight: (options.max_reads.unwrap_or(NO_LIMIT), options.max_writes.unwrap_or(NO_LIMIT)),
        times: Times { request: options.request_timeout, watch: options.min_watch },
        backends: Backends {
            identity: options.kubelet_identity.clone(),
            authority: options.kubelet_ca.clone(),
            preferences: Preferences {
                address_types: options.kubelet_address_types.clone(),
                port: options.kubelet_port,
            },
            timeout: options.kubelet_timeout,
        },
    });
    bootstrap::expect(&server);
    fairness::expect(&server);
    allocation::expect(&server);
    let networks = options.service_networks.iter().map(ToString::to_string).collect();
    let host = Machine.hostname().unwrap_or_default();
    let (mut keeper, telling) = allocation::Keeper::new(Arc::clone(&server), networks, &host);
    let deciding = reload::authorization(access.chain, Arc::clone(&authorizer), reload::EVERY);
    // A task of its own: pods change all the time, and each change would wake the thread that waits here for the end.
    let mut following = JoinSet::new();
    following.spawn(follow::authorization(Arc::clone(&server), authorizer));
    let reloading = control_serving::followed::authorities(access.files, reload::EVERY);
    let following_own = certificates.follow(reload::EVERY);
    let believing = reload::issuers(access.oidc, options.issuers.clone(), reload::EVERY);
    let defining = definitions::run(Arc::clone(&server));
    let leaving = elsewhere::run(Arc::clone(&server));
    let sharing = fairness::run(Arc::clone(&server));
    let place = place(&options, address);
    let starting = async {
        server.store().ready().await;
        if !options.ignore_unsupported_extensions
            && let Some(found) = extensions::unsupported(&server).await
        {
            return Some(found);
        }
        bootstrap::run(&server, &trust).await;
        keeper.begin().await;
        ready(&server, address);
        let masters = async {
            match place {
                Some(place) => masters::keep(Arc::clone(&server), place).await,
                None => std::future::pending::<()>().await,
            }
        };
        tokio::join!(masters, keeper.keep(), telling);
        None
    };
    let mut refused = None;
    let end = async {
        tokio::select! {
            () = end => {}
            found = starting => refused = found,
            _ = following.join_next() => {}
            () = deciding => {}
            () = reloading => {}
            () = following_own => {}
            () = believing => {}
            () = defining => {}
            () = leaving => {}
            () = sharing => {}
        }
        server.health().leave();
        if let Some(place) = place {
            let _ = tokio::time::timeout(LEAVING, masters::leave(&server, place)).await;
        }
        tokio::time::sleep(options.shutdown_delay.min(LONGEST_DELAY)).await;
    };
    // In a box: it has the states of all that runs beside the connections.
    connection::serve(Arc::clone(&server), listener, tls, Box::pin(end)).await;
    refused.map_or(Ok(()), |found| Err(ServeError::Unsupported(found)))
}

const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// How long the end waits for etcd to hear of it.
const LEAVING: Duration = Duration::from_secs(2);

/// Where pods reach this server; `None` where nobody wants that kept.
fn place(options: &Options, address: SocketAddr) -> Option<masters::Place> {
    if options.endpoint_reconciler == EndpointReconciler::None {
        return None;
    }
    let own = options.advertise_address?;
    let network = options.service_networks.first()?;
    let service = network.hosts().next()?;
    Some(masters::Place { server: SocketAddr::new(own, address.port()), service })
}

fn services(options: &Options) -> Allocator {
    let range = |network: &ipnet::IpNet| AddressRange::new(network.network(), network.prefix_len());
    let ports = PortRange { first: options.node_ports.first, last: options.node_ports.last };
    let ranges: Vec<_> = options.service_networks.iter().filter_map(range).collect();
    Allocator::new(&ranges, ports, options.storage_media_type == StorageMediaType::Json)
}
