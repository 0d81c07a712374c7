//! A candidate's requests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::leader::{Election, Loss, Moment, Step, released};
use serde_json::Value;

use super::sys::since_boot;
use super::{LEASES, Leading, Standing, event};
use crate::objects::{Api, Write};
use crate::{Failure, Pace};

/// A Lease, and who stands for it.
#[derive(Clone)]
pub struct Lease {
    api: Arc<dyn Api>,
    pub standing: Arc<Standing>,
}

impl Lease {
    fn path(&self) -> String {
        LEASES.object_path(&self.standing.namespace, &self.standing.name, "")
    }

    async fn read(&self) -> Result<Option<Arc<Value>>, Failure> {
        match self.api.read(&self.path()).await {
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(None),
            read => read.map(Some),
        }
    }

    /// How long one request may take: a lost one must leave time for another.
    fn patience(&self) -> Duration {
        self.standing.timing.renew() / 2
    }

    /// After the last write of who led.
    pub async fn end(&self) {
        let lease = &self.standing.name;
        match tokio::time::timeout(self.patience(), self.give_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => tracing::warn!(%lease, %failure, "the lease stays until it ends"),
            Err(_) => tracing::warn!(%lease, "no answer; the lease stays until it ends"),
        }
    }

    async fn give_up(&self) -> Result<(), Failure> {
        let mut said = false;
        loop {
            let Some(lease) = self.read().await? else { return Ok(()) };
            if !std::mem::replace(&mut said, true) {
                event::emit(&self.api, &self.standing, &lease, "stopped leading");
            }
            let object = released(&lease, &self.standing.identity, SystemTime::now());
            let Some(object) = object.filter(|_| self.standing.release) else { return Ok(()) };
            match self.api.write(&Write::Update { path: self.path(), object }).await {
                // The last renewal was still on its way.
                Err(Failure::Refused(status)) if status.is_conflict() => {}
                written => return written.map(|_| ()),
            }
        }
    }
}

pub struct Candidate {
    lease: Lease,
    election: Election,
    leading: Option<Leading>,
    chance: Pace,
    /// What was said last, of a failure and of who leads.
    said: Option<String>,
    holder: String,
}

impl Candidate {
    pub fn new(api: Arc<dyn Api>, standing: Standing) -> Self {
        let election =
            Election::new(&standing.namespace, &standing.name, &standing.identity, standing.timing);
        let lease = Lease { api, standing: Arc::new(standing) };
        Self { lease, election, leading: None, chance: Pace::default(), said: None, holder: String::new() }
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Until it leads.
    pub async fn win(&mut self) -> Leading {
        let standing = Arc::clone(&self.lease.standing);
        tracing::info!(lease = %standing.name, identity = %standing.identity, "waiting for the lease");
        loop {
            self.step().await;
            if let Some(end) = self.election.leads_until() {
                tracing::info!(lease = %standing.name, identity = %standing.identity, "this process leads");
                if let Some(lease) = self.election.lease() {
                    event::emit(&self.lease.api, &standing, lease, "became leader");
                }
                return self.leading.insert(Leading::until(end)).clone();
            }
        }
    }

    /// For as long as it leads.
    pub async fn keep(mut self) -> Loss {
        let loss = loop {
            if let Some(loss) = self.step().await {
                break loss;
            }
            // Where the election is lost, the next step says why.
            let Some(end) = self.election.leads_until() else { continue };
            if !self.leading.as_ref().is_some_and(|leading| leading.extend(end)) {
                break Loss::Late;
            }
        };
        if let Some(leading) = &self.leading {
            leading.end();
        }
        let standing = &self.lease.standing;
        // No Event: who lost the Lease writes nothing.
        tracing::error!(lease = %standing.name, %loss, "this process does not lead any more");
        loss
    }

    /// One step, to its end.
    async fn step(&mut self) -> Option<Loss> {
        let now = Moment { boot: since_boot(), wall: SystemTime::now() };
        let chance = self.chance();
        let write = match self.election.next(now, chance) {
            Step::Lost(loss) => return Some(loss),
            Step::Wait(until) => {
                tokio::time::sleep(until.saturating_sub(since_boot())).await;
                return None;
            }
            Step::Read => None,
            Step::Create(object) => {
                Some(Write::Create { path: LEASES.path(&self.lease.standing.namespace), object })
            }
            Step::Replace(object) => Some(Write::Update { path: self.lease.path(), object }),
        };
        // A leader that waits beyond its end would learn too late that it lost.
        let left = self.election.leads_until().map(|end| end.saturating_sub(now.boot));
        let limit = left.unwrap_or(Duration::MAX).min(self.lease.patience());
        let asked = async {
            match &write {
                None => self.lease.read().await,
                Some(write) => self.lease.api.write(write).await.map(Some),
            }
        };
        let answer = tokio::time::timeout(limit, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(Failure::Away(format!("no answer within {limit:?}"))));
        let now = since_boot();
        match (answer, write) {
            (Ok(lease), None) => self.election.read(now, lease),
            (Ok(Some(lease)), Some(_)) => self.election.written(now, lease),
            (answer, _) => {
                self.complain(answer.err());
                let chance = self.chance();
                self.election.failed(now, chance);
                return None;
            }
        }
        self.said = None;
        self.tell_holder();
        None
    }

    /// From 0 to 1.
    fn chance(&mut self) -> f64 {
        (self.chance.draw() % 10_000) as f64 / 10_000.0
    }

    /// Another candidate that was faster is no trouble. What is one is said once.
    fn complain(&mut self, failure: Option<Failure>) {
        let Some(failure) = failure else { return };
        let expected = failure.status().is_some_and(|status| status.is_conflict() || status.already_exists());
        let text = failure.to_string();
        if expected || self.said.as_ref() == Some(&text) {
            tracing::debug!(lease = %self.lease.standing.name, %failure, "the lease was not had");
        } else {
            tracing::warn!(lease = %self.lease.standing.name, %failure, server = self.lease.api.server(), "the lease was not had");
            self.said = Some(text);
        }
    }

    fn tell_holder(&mut self) {
        let holder = self.election.holder();
        if holder != self.holder {
            self.holder = holder.to_owned();
            if holder != self.lease.standing.identity && !holder.is_empty() {
                tracing::info!(lease = %self.lease.standing.name, leader = holder, "another process leads");
            }
        }
    }
}
