//! A listener that comes back: a port that is taken is tried again, as kube-proxy does.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::BindError;

/// Pauses between two attempts: the first, each twice the one before, and the longest, which is kube-proxy's. Who has the
/// port is most often a process that is just ending.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

const BACKLOG: i32 = 1024;

/// A server that runs, or will as soon as its port is free. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: watch::Receiver<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens, once it does; the port is the real one where 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.borrow()
    }

    /// Waits until it listens.
    pub async fn listening(&mut self) -> Option<SocketAddr> {
        self.address.wait_for(Option::is_some).await.ok().and_then(|address| *address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `router` on `address`. Needs a tokio runtime.
///
/// A port that is taken is reported once, and tried again until it is free, every five seconds at last.
///
/// # Errors
/// With `hard_fail` (--bind-address-hard-fail) a port that is taken at the first attempt.
pub async fn serve(
    what: &'static str,
    address: SocketAddr,
    router: Router,
    hard_fail: bool,
) -> Result<Server, BindError> {
    let first = listen(address).map_err(|source| BindError { address, source });
    let first = match first {
        Err(error) if hard_fail => return Err(error),
        Err(error) => {
            tracing::warn!(%error, cause = %error.source, "{what}: trying again until the port is free");
            None
        }
        Ok(listener) => Some(listener),
    };
    let bound = first.as_ref().and_then(|listener| listener.local_addr().ok());
    let (tell, known) = watch::channel(bound);
    let task = tokio::spawn(async move {
        let (mut next, mut pause) = (first, RETRY.0);
        loop {
            if let Some(listener) = next.take() {
                let address = listener.local_addr().ok();
                tracing::info!(address = ?address.unwrap_or(bound.unwrap_or(([0, 0, 0, 0], 0).into())), "serving {what}");
                tell.send_replace(address);
                if let Err(error) = axum::serve(listener, router.clone()).await {
                    tracing::warn!(%error, "{what} ended; starting it again");
                }
                pause = RETRY.0;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(RETRY.1);
            next = listen(address).inspect_err(|error| tracing::debug!(%error, %address, "{what}")).ok();
        }
    });
    Ok(Server { address: known, task })
}

/// As Go listens: 0.0.0.0 takes both families where the kernel has both.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() == IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED) {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        match bind(both, false) {
            Err(error)
                if error.raw_os_error() == Some(libc::EAFNOSUPPORT)
                    || error.kind() == io::ErrorKind::AddrNotAvailable => {}
            done => return done,
        }
    }
    bind(address, false)
}

/// One listening socket.
pub(super) fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of an earlier process in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
