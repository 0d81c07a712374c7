//! The bridges of this node, and whether what they pass meets the rules: looked at every now and then, because nobody
//! tells of a setting that changes.
//!
//! Never: keeps anybody waiting; a look that fails leaves what was known.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use host::error::HostError;
use host::netlink::{LinkKind, Netlink};
use host::sysctl;
use proxy_core::advice::{Bridge, Calls};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::chain;

/// The bridges of this process's network namespace. Dropping it ends the looking.
#[derive(Debug)]
pub struct Bridges {
    known: watch::Receiver<Option<Arc<[Bridge]>>>,
    task: Option<AbortHandle>,
}

impl Bridges {
    /// Looks now, and then every `period`. Needs a tokio runtime.
    pub fn follow(period: Duration) -> Self {
        let (tell, known) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                match look().await {
                    Ok(now) => {
                        tell.send_if_modified(|known| {
                            let other = known.as_deref() != Some(&now[..]);
                            if other {
                                *known = Some(now.into());
                            }
                            other
                        });
                    }
                    Err(error) => tracing::debug!(error = chain(&error), "the bridges cannot be listed"),
                }
                tokio::time::sleep(period).await;
            }
        });
        Self { known, task: Some(task.abort_handle()) }
    }

    /// Nobody looks.
    #[cfg(test)]
    pub fn unknown() -> Self {
        Self { known: watch::channel(None).1, task: None }
    }

    pub fn now(&self) -> Option<Arc<[Bridge]>> {
        self.known.borrow().clone()
    }

    /// Returns when [`Bridges::now`] is another than when this returned last. Cancel safe.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Bridges {
    fn drop(&mut self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

async fn look() -> Result<Vec<Bridge>, HostError> {
    let netlink = Netlink::connect()?;
    let links = netlink.links().await?;
    let mut addresses: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for address in netlink.addresses().await? {
        addresses.entry(address.index).or_default().push(address.net.addr());
    }
    let all = |key: &str| sysctl::read(&format!("net/bridge/{key}")).is_ok_and(|value| value == "1");
    let (v4, v6) = (all("bridge-nf-call-iptables"), all("bridge-nf-call-ip6tables"));
    // Where /sys is another namespace's it does not have the bridge, or only one of the same name.
    let own = |name: &str, key: &str| {
        let path = format!("/sys/class/net/{name}/bridge/{key}");
        fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    let bridges = links.iter().filter(|link| link.kind == LinkKind::Bridge);
    let of = |link: &host::netlink::Link| Bridge {
        name: link.name.as_str().into(),
        addresses: addresses.remove(&link.index).unwrap_or_default(),
        ports: links.iter().filter(|port| port.master == Some(link.index)).count(),
        calls: Calls {
            v4: v4 || own(&link.name, "nf_call_iptables"),
            v6: v6 || own(&link.name, "nf_call_ip6tables"),
        },
    };
    Ok(bridges.map(of).collect())
}
