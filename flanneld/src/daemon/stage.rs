//! What has to be there before the node is ready, in its order: the kernel's tables, the rules, the files that others
//! wait for. And whether it still is.

use telemetry::http::Ready;

use super::files::Files;
use super::reconciler::{Pass, Reconciler};
use crate::error::{FlanneldError, chain};
use crate::firewall::Firewall;

/// How far the daemon has come.
pub struct Stage {
    health: Ready,
    rules: bool,
    reached: bool,
}

impl Stage {
    pub fn new(health: Ready) -> Self {
        Self { health, rules: false, reached: false }
    }

    /// The node has been ready once in this life.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// Goes on as far as a pass allows. Gives what is in the way of completeness, in one line.
    ///
    /// # Errors
    /// The rules cannot be had, and no waiting helps.
    pub async fn after(
        &mut self,
        pass: &Pass,
        firewall: &mut Firewall,
        files: &mut Files,
        reconciler: &Reconciler,
        peers: usize,
    ) -> Result<Option<String>, FlanneldError> {
        let trouble = pass.trouble();
        if pass.is_blind() {
            // What carried packets before the look still does.
            return Ok(trouble);
        }
        if !pass.carries_packets() {
            self.health.unset(trouble.clone().unwrap_or_default());
            return Ok(trouble);
        }
        if !self.rules {
            match firewall.start(reconciler.node()).await {
                Ok(()) => self.rules = true,
                Err(error) if error.heals() => {
                    self.health.unset(error.chain());
                    return Ok(Some(error.chain()));
                }
                Err(error) => return Err(error),
            }
        }
        let published = files.publish(reconciler.pod_mtu());
        if let Err(error) = &published
            && !self.reached
        {
            self.health.unset(chain(error));
            return Ok(Some(chain(error)));
        }
        self.health.set(true);
        if !self.reached {
            self.reached = true;
            telemetry::systemd::tell("READY=1");
            tracing::info!(subnet = %reconciler.node().subnets, peers, "ready");
        }
        Ok(trouble.or(published.err().map(|error| chain(&error))))
    }
}
