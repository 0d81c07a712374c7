//! Backends: one service table, several ways to have the kernel follow it.
//!
//! Owns: the kernel's tables that a backend names as its own. Begin at [`Backend`]; who does not care which one it is
//! takes an [`AnyBackend`].
//! Never: interprets a Service (the table has done that), touches what another program wrote.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use host::error::{HostError, Remedy};
use proxy_core::names::Family;
use proxy_core::table::{PortKey, ServiceTable, TableDelta};

pub mod iptables;
pub mod nftables;

/// Keeps the kernel as a [`ServiceTable`] says.
///
/// One task owns a backend. Calls block while the kernel works. After an error nothing is assumed to be known: the
/// next call of either `sync` looks at everything.
pub trait Backend {
    /// What this backend owns in the kernel now.
    type Observed;
    /// A complete, printable list of intended writes; nothing to print is nothing to do.
    type Plan: fmt::Display;

    /// As `--proxy-mode` has it.
    fn mode(&self) -> &'static str;

    /// Whether this kernel, and the tools that are needed, can do what the backend writes. Changes nothing.
    fn probe(&mut self) -> Result<(), BackendError>;

    fn observe(&mut self) -> Result<Self::Observed, BackendError>;

    /// Pure: same inputs, same plan.
    fn plan(&self, want: &ServiceTable, have: &Self::Observed) -> Self::Plan;

    /// One transaction where the kernel offers one.
    fn apply(&mut self, plan: Self::Plan) -> Result<Applied, BackendError>;

    /// From whatever is there to what should be.
    fn sync_full(&mut self, want: &ServiceTable) -> Result<Applied, BackendError> {
        let have = self.observe()?;
        let plan = self.plan(want, &have);
        self.apply(plan)
    }

    /// From the table before `delta` to `want`, at a cost that goes with `delta`; a full pass where that is not
    /// known to be enough.
    fn sync_delta(&mut self, want: &ServiceTable, delta: &TableDelta) -> Result<Applied, BackendError>;

    /// Returns when somebody else changed what this backend owns: a full pass is due. May be dropped at any time.
    fn disturbed(&mut self) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// New connections to each service port since the kernel counts them, where this backend can tell.
    fn connections(&mut self, of: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError>;

    /// How many rules there are of each table, where the backend's rules are counted like that.
    fn rules(&self) -> Vec<RuleCount> {
        Vec::new()
    }

    /// Leaves nothing of this backend in the kernel, whoever wrote it. Connections that there are go on.
    fn remove(&mut self) -> Result<(), BackendError>;

    /// The parts of the kernel that it writes: what is found there is no other mode's leftover.
    fn territory(&self) -> Vec<Territory> {
        Vec::new()
    }
}

/// A part of the kernel that a backend writes, by a name that no other part has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Territory(pub String);

/// A [`Backend`] of whatever mode. Each [`Backend`] is one.
pub trait AnyBackend {
    /// See [`Backend::probe`].
    fn probe(&mut self) -> Result<(), BackendError>;

    /// What a full pass would write now, for people to read; empty where all is well.
    fn difference(&mut self, want: &ServiceTable) -> Result<String, BackendError>;

    /// See [`Backend::sync_full`].
    fn sync_full(&mut self, want: &ServiceTable) -> Result<Applied, BackendError>;

    /// See [`Backend::sync_delta`].
    fn sync_delta(&mut self, want: &ServiceTable, delta: &TableDelta) -> Result<Applied, BackendError>;

    /// See [`Backend::disturbed`].
    fn disturbed(&mut self) -> Pin<Box<dyn Future<Output = Result<(), BackendError>> + Send + '_>>;

    /// See [`Backend::connections`].
    fn connections(&mut self, of: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError>;

    /// See [`Backend::rules`].
    fn rules(&self) -> Vec<RuleCount>;

    /// See [`Backend::territory`].
    fn territory(&self) -> Vec<Territory>;
}

impl<B: Backend> AnyBackend for B {
    fn probe(&mut self) -> Result<(), BackendError> {
        Backend::probe(self)
    }

    fn difference(&mut self, want: &ServiceTable) -> Result<String, BackendError> {
        let have = self.observe()?;
        Ok(self.plan(want, &have).to_string())
    }

    fn sync_full(&mut self, want: &ServiceTable) -> Result<Applied, BackendError> {
        Backend::sync_full(self, want)
    }

    fn sync_delta(&mut self, want: &ServiceTable, delta: &TableDelta) -> Result<Applied, BackendError> {
        Backend::sync_delta(self, want, delta)
    }

    fn disturbed(&mut self) -> Pin<Box<dyn Future<Output = Result<(), BackendError>> + Send + '_>> {
        Box::pin(Backend::disturbed(self))
    }

    fn connections(&mut self, of: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError> {
        Backend::connections(self, of)
    }

    fn rules(&self) -> Vec<RuleCount> {
        Backend::rules(self)
    }

    fn territory(&self) -> Vec<Territory> {
        Backend::territory(self)
    }
}

/// Rules of one family in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    pub family: Family,
    pub table: &'static str,
    /// In the kernel, when they were counted last; none before that.
    pub all: Option<usize>,
    /// Written by the last pass.
    pub last: usize,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Everything was looked at.
    pub full: bool,
    /// Changes written: elements, rules, chains, lines, whatever the backend counts. 0: all was well already.
    pub writes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error(transparent)]
    Host(#[from] HostError),
    /// This kernel cannot do it.
    #[error("{mode} mode cannot work here: {missing}; {advice}")]
    Missing {
        mode: &'static str,
        missing: String,
        advice: &'static str,
        #[source]
        source: Box<HostError>,
    },
    /// Rules stay, or may stay because nobody could look: which and why.
    #[error("{0}")]
    Left(String),
    /// Others wrote to the kernel each time that we were about to.
    #[error("{mode}: others changed the rules {tries} times while this pass was at it")]
    Busy { mode: &'static str, tries: usize },
}

impl BackendError {
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Host(error) => error.remedy(),
            Self::Missing { .. } => Remedy::GiveUp,
            Self::Busy { .. } | Self::Left(_) => Remedy::Resync,
        }
    }
}
