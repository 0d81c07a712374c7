//! etcd alone: a client that writes the bytes that an API server would, in the transactions that it would use.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use etcd::{Client, Compare, Op, Repeat, Settings, Txn};
use lab::LabError;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::metric::Metric;
use super::mode::Part;
use super::objects::{KEYS, name, scattered};
use super::rates;
use crate::interrupt::Interrupt;
use crate::measure::failed;

/// A client of one etcd, over one connection.
pub struct Alone {
    runtime: Runtime,
    client: Client,
    interrupt: Interrupt,
    value: Vec<u8>,
    /// The revision at which each pod was written last.
    revisions: Arc<RwLock<Vec<i64>>>,
}

impl Alone {
    /// # Errors
    /// No runtime can be made, or etcd is not reached.
    pub fn new(endpoint: &str, value: Vec<u8>, pods: u32, interrupt: &Interrupt) -> Result<Self, LabError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(LabError::io("start", "a runtime"))?;
        let settings = Settings { endpoints: vec![endpoint.to_owned()], ..Settings::default() };
        let client = Client::new(settings).map_err(refused)?;
        runtime.block_on(client.connect()).map_err(refused)?;
        let revisions = Arc::new(RwLock::new(vec![0; pods as usize]));
        Ok(Self { runtime, client, interrupt: interrupt.clone(), value, revisions })
    }

    /// The value of the first pod: what an API server has made of it.
    ///
    /// # Errors
    /// etcd does not answer, or has none.
    pub fn first_value(&self) -> Result<Vec<u8>, LabError> {
        let key = format!("{KEYS}{}", name(0)).into_bytes();
        let found = self.runtime.block_on(self.client.get(key)).map_err(refused)?;
        Ok(found.ok_or_else(|| failed("the first pod in etcd", "there is none"))?.value.to_vec())
    }

    /// As [`crate::servers::clients::measure`], of what corresponds to a part of an API server. `first`: the number of the first pod to create.
    ///
    /// # Errors
    /// A request fails, or a transaction finds something else than was written.
    pub fn measure(
        &self,
        part: Part,
        clients: u32,
        first: u32,
        count: u32,
    ) -> Result<Vec<(Metric, f64)>, LabError> {
        let next = Arc::new(AtomicU32::new(0));
        let begun = Instant::now();
        let times = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                let (next, ask) = (Arc::clone(&next), self.asker());
                tasks.spawn(async move {
                    let mut times: Vec<Duration> = Vec::new();
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= count || ask.interrupt.asked() {
                            return Ok::<_, LabError>(times);
                        }
                        let begun = Instant::now();
                        ask.one(part, first + nth).await?;
                        times.push(begun.elapsed());
                    }
                });
            }
            let mut all = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                all.extend(ended.map_err(|error| failed("a client of etcd", error.to_string()))??);
            }
            Ok::<_, LabError>(all)
        })?;
        if self.interrupt.asked() {
            return Err(LabError::Interrupted);
        }
        Ok(rates::numbers(times, begun.elapsed()))
    }

    fn asker(&self) -> Asker {
        let (client, value, revisions) =
            (self.client.clone(), self.value.clone(), Arc::clone(&self.revisions));
        Asker { client, value, revisions, interrupt: self.interrupt.clone() }
    }
}

struct Asker {
    client: Client,
    value: Vec<u8>,
    revisions: Arc<RwLock<Vec<i64>>>,
    interrupt: Interrupt,
}

impl Asker {
    async fn one(&self, part: Part, nth: u32) -> Result<(), LabError> {
        let pods = self.read(|all| all.len());
        let number = match part {
            Part::Creates => nth,
            _ => scattered(nth, u32::try_from(pods).unwrap_or(u32::MAX)),
        };
        let key = format!("{KEYS}{}", name(number)).into_bytes();
        if part == Part::Gets {
            let found = self.client.get(key).await.map_err(refused)?;
            return found.map(drop).ok_or_else(|| failed("a pod in etcd", "there is none"));
        }
        let place = number as usize;
        let known = self.read(|all| all.get(place).copied().unwrap_or(0));
        let when = match known {
            0 => Compare::absent(key.clone()),
            revision => Compare::mod_revision(key.clone(), revision),
        };
        let put = Op::Put { key: key.clone(), value: self.value.clone(), lease: None };
        let txn = Txn { when: vec![when], then: vec![put], otherwise: vec![Op::Get(key)] };
        let outcome = self.client.txn("write", Repeat::Refused, txn).await.map_err(refused)?;
        if !outcome.succeeded {
            return Err(failed("a write into etcd", "somebody else has written"));
        }
        let mut all = self.revisions.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(revision) = all.get_mut(place) {
            *revision = outcome.header.revision;
        }
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&[i64]) -> T) -> T {
        look(&self.revisions.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn refused(error: etcd::EtcdError) -> LabError {
    failed("etcd", error.to_string())
}
