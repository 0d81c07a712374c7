//! One Service: this node stands for its Lease, and announces its addresses while it has that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apiclient::leader;
use apiclient::objects::Api;
use proxy_core::names::ServiceName;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::held::Held;
use super::leases::Leases;

/// What a candidate is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Stand,
    /// This node cannot serve it any more.
    Withdraw,
    /// The process ends.
    End,
}

/// A candidacy, until it is told otherwise.
pub struct Stand {
    call: watch::Sender<Call>,
    task: JoinHandle<()>,
}

impl Stand {
    pub fn start(service: ServiceName, leases: Arc<Leases>, held: Held) -> Self {
        let (call, called) = watch::channel(Call::Stand);
        Self { call, task: tokio::spawn(stand(service, leases, held, called)) }
    }

    /// Who was told to withdraw does, whatever comes after: it is started again when it is over.
    pub fn tell(&mut self, call: Call) {
        self.call.send_if_modified(|now| {
            let changes = *now == Call::Stand && call != Call::Stand;
            if changes {
                *now = call;
            }
            changes
        });
    }

    /// The same, and what ends with it.
    pub fn call(self, call: Call) -> JoinHandle<()> {
        self.call.send_replace(call);
        self.task
    }

    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

async fn stand(service: ServiceName, leases: Arc<Leases>, held: Held, mut called: watch::Receiver<Call>) {
    let standing = leases.standing(&service);
    loop {
        let leads = AtomicBool::new(false);
        let mut word = called.clone();
        let led = leader::lead(Arc::clone(&leases) as Arc<dyn Api>, standing.clone(), |leading| {
            leads.store(true, Ordering::Release);
            let term = held.lead(&service, leading);
            async move {
                let call = told(&mut word).await;
                drop(term);
                call
            }
        });
        // While it leads only its own work ends it, so that the Lease is given up.
        let unless_it_leads = async || {
            if leads.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            led = led => led.map(Some).unwrap_or_else(|lost| {
                tracing::warn!(%service, "{lost}");
                None
            }),
            () = async { told(&mut called).await; unless_it_leads().await } => Some(Call::End),
            // Another gave it up: no need to wait for the next look at it.
            () = async { leases.vacated(&standing).await; unless_it_leads().await } => None,
        };
        match ended {
            None => {}
            Some(Call::Withdraw) => return leases.remove(&standing).await,
            Some(Call::Stand | Call::End) => return,
        }
    }
}

/// Returns once it is to stand no longer.
async fn told(called: &mut watch::Receiver<Call>) -> Call {
    called.wait_for(|call| *call != Call::Stand).await.map_or(Call::End, |call| *call)
}
