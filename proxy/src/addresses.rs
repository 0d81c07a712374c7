//! This node's own addresses, as the kernel has them, followed while the proxy runs.
//!
//! Owns: one task that lists them, listens for changes, and tries again where the kernel does not answer. Begin at
//! [`LocalAddresses::follow`]. Never: gives an empty list for a look that failed; what was known before stays.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use host::error::HostError;
use host::netlink::{Change, Netlink, Watch};
use telemetry::Backoff;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::chain;

/// Sorted, unique.
pub type Addresses = Arc<BTreeSet<IpAddr>>;

/// Pauses after a look that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Addresses that come together are one look: a pod's interface brings several.
const TOGETHER: Duration = Duration::from_millis(50);

/// The addresses of this process's network namespace. Dropping it ends the following.
#[derive(Debug)]
pub struct LocalAddresses {
    known: watch::Receiver<Option<Addresses>>,
    task: Option<AbortHandle>,
}

impl LocalAddresses {
    /// Lists them, and follows their changes. Needs a tokio runtime.
    pub fn follow() -> Self {
        let (tell, known) = watch::channel(None);
        Self { known, task: Some(tokio::spawn(run(tell)).abort_handle()) }
    }

    /// What a test says.
    #[cfg(test)]
    pub fn told(known: watch::Receiver<Option<Addresses>>) -> Self {
        Self { known, task: None }
    }

    /// The last answer of the kernel; none before the first.
    pub fn now(&self) -> Option<Addresses> {
        self.known.borrow().clone()
    }

    /// Returns when [`LocalAddresses::now`] is another than when this returned last. Cancel safe.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for LocalAddresses {
    fn drop(&mut self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

async fn run(tell: watch::Sender<Option<Addresses>>) {
    let (mut backoff, mut said) = (RETRY, String::new());
    loop {
        let Err(error) = follow(&tell, || {
            backoff.reset();
            if !std::mem::take(&mut said).is_empty() {
                tracing::info!("the addresses of this node are known again");
            }
        })
        .await
        else {
            continue;
        };
        let text = chain(&error);
        if text != said {
            let before = tell.borrow().is_some();
            tracing::warn!(
                error = text,
                "the kernel does not tell this node's addresses; trying again, {}",
                if before {
                    "with those known before meanwhile"
                } else {
                    "and without node ports of UDP flows meanwhile"
                }
            );
            said = text;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

/// Returns with what went wrong, or where the listening ended by itself.
async fn follow(
    tell: &watch::Sender<Option<Addresses>>,
    mut answered: impl FnMut(),
) -> Result<(), HostError> {
    let netlink = Netlink::connect()?;
    // Before the first look, so that no change falls between the two.
    let mut changes = netlink.watch_addresses()?;
    loop {
        let listed = netlink.addresses().await?;
        answered();
        let now: BTreeSet<IpAddr> = listed.into_iter().map(|address| address.net.addr()).collect();
        tell.send_if_modified(|known| {
            let other = known.as_deref() != Some(&now);
            if other {
                *known = Some(now.into());
            }
            other
        });
        if wait(&mut changes).await.is_none() {
            return Ok(());
        }
    }
}

/// Waits for a change, and for those that come with it.
async fn wait(changes: &mut Watch) -> Option<Change> {
    let first = changes.next().await;
    tokio::time::sleep(TOGETHER).await;
    while changes.ready().is_some() {}
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::netlink::Address;
    use host::netns::Namespace;

    async fn until(addresses: &mut LocalAddresses, what: &str, is: impl Fn(&BTreeSet<IpAddr>) -> bool) {
        let wait = async {
            while !addresses.now().is_some_and(|now| is(&now)) {
                addresses.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
    }

    #[test]
    fn addresses_of_this_node_are_followed_as_they_come_and_go() {
        let namespace = Namespace::create(&format!("weft-prx-addr-{}", std::process::id())).expect("root");
        let inside = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let netlink = Netlink::connect().expect("netlink");
                let mut addresses = LocalAddresses::follow();
                until(&mut addresses, "the first answer", |_| true).await;
                let extra = Address::new(1, "192.0.2.7/32".parse().expect("a network"));
                let ip = extra.net.addr();
                netlink.add_address(&extra).await.expect("an address more");
                until(&mut addresses, "the new address", |now| now.contains(&ip)).await;
                netlink.delete_address(&extra).await.expect("an address fewer");
                until(&mut addresses, "the address to go", |now| !now.contains(&ip)).await;
            });
        };
        let outcome = namespace.run(inside);
        Namespace::delete(&format!("weft-prx-addr-{}", std::process::id())).expect("to delete it");
        outcome.expect("the namespace");
    }
}
