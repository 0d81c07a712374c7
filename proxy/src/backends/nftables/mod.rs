//! Services by nf_tables, written over netlink.
//!
//! Owns: the table `weft-proxy` of the families ip and ip6, with all that is in it. Begin at [`layout`], which shows
//! what the table looks like; [`render`] and [`delta`] say what it should hold, [`converge`] how to get there.
//! Never: lists the table to make a change, starts `nft`, touches another table.
//!
//! Every write is one transaction on the condition that nobody wrote since we looked (nf_tables' generation). Events
//! tell whether somebody else's write was to our table, which then is looked at again, or to another, which is none
//! of our business. Where others write so often that the condition never holds, it is dropped: events tell afterwards
//! as well.
//!
//! What a change needs is one transaction, so that nobody ever meets half of it. Behind it may come others that
//! nothing depends on: chains that no element leads to are deleted, with their sets.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use host::contention::Contention;
use host::error::{HostError, Remedy};
use host::netns::Namespace;
use host::nftables::{Batch, Change, Counts, Data, Event, Monitor, Nftables, Op, TableId, Writer};
use proxy_core::names::Family;
use proxy_core::table::{NodeView, PortChange, PortKey, ServiceTable, TableDelta};
use tokio::runtime::Handle;

use super::{Applied, Backend, BackendError, Territory};

pub mod converge;
pub mod delta;
pub mod layout;
pub mod render;
mod sync;

use converge::Observed;
use layout::{Kept, Layout, Settings};
use render::{Owners, Uses, Wanted, counted_at};

const MODE: &str = "nftables";

/// How often a pass starts again because others write at the same time.
const TRIES: usize = 8;

/// How often a transaction is refused because somebody else wrote first, before it is carried out whoever writes.
/// Events tell afterwards whether it was to our table.
const REFUSALS: usize = 3;

/// From so many elements on, the events about our own transaction would only fill the queue.
const MANY: usize = 2000;

/// See [`super::Backend`].
pub struct NftablesBackend {
    nf: Nftables,
    families: Vec<Family>,
    settings: Settings,
    /// Events can be opened again in the same place, from whatever thread.
    namespace: Namespace,
    runtime: Option<Handle>,
    monitor: Option<Monitor>,
    /// None: look at everything.
    known: Option<Known>,
    /// Which service port had which frontend when we wrote last, whatever somebody else did since.
    owners: BTreeMap<Family, Owners>,
    /// What elements had counted before they were replaced.
    counted: BTreeMap<(Family, Kept, Data), u64>,
    /// Chains that could not be deleted yet.
    leftover: Vec<Op>,
    /// Others who write to our table again and again.
    contention: Contention,
}

/// What the kernel has, as far as changes need to know.
struct Known {
    generation: u32,
    tables: Vec<(Layout, Uses)>,
}

/// What is there, of each family, at one moment.
pub struct Seen {
    pub generation: u32,
    pub tables: Vec<Observed>,
}

/// A transaction, and what is known when it has been carried out.
pub struct Plan {
    batch: Batch,
    known: Known,
    owners: BTreeMap<Family, Owners>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.batch.fmt(f)
    }
}

impl Plan {
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
}

impl NftablesBackend {
    /// In the network namespace of the calling thread. Within a tokio runtime it hears of others' changes as they
    /// happen; without one it looks at everything again whenever anybody changed any table.
    pub fn open(families: &[Family], settings: Settings) -> Result<Self, BackendError> {
        Ok(Self {
            nf: Nftables::connect()?,
            families: families.to_vec(),
            settings,
            namespace: Namespace::current()?,
            runtime: Handle::try_current().ok(),
            monitor: None,
            known: None,
            owners: BTreeMap::new(),
            counted: BTreeMap::new(),
            leftover: Vec::new(),
            contention: Contention::default(),
        })
    }

    /// What [`Backend::sync_full`] would make of an empty kernel, for people to read.
    pub fn render(want: &ServiceTable, families: &[Family], settings: Settings) -> String {
        families.iter().map(|&family| Wanted::of(want, family, settings).to_string()).collect()
    }

    /// How many messages of the kernel have been read: the cost of looking, for tests and benchmarks.
    pub fn messages(&self) -> u64 {
        self.nf.messages()
    }

    /// The tables that are ours.
    fn tables() -> [TableId; 2] {
        Family::BOTH.map(|family| TableId::new(layout::nft_family(family), layout::TABLE))
    }

    fn is_ours(&self, change: &Change) -> bool {
        change.port == self.nf.port()
    }

    /// Whether the change leaves nothing that we know.
    fn disturbs(&self, event: &Event) -> bool {
        match event {
            Event::Lost => true,
            Event::Changed(change) => {
                !self.is_ours(change) && Self::tables().iter().any(|table| change.tables.contains(table))
            }
        }
    }

    fn note(&mut self, event: &Event) {
        if self.disturbs(event) {
            self.known = None;
            // What was lost may have been about tables of others.
            if let Event::Changed(change) = event {
                self.undone(Some(&change.writer));
            }
        }
        if let (Event::Changed(change), Some(known)) = (event, &mut self.known) {
            known.generation = change.generation;
        }
    }

    /// Somebody wrote to our table, which is looked at again: at once, unless that has been in vain before.
    fn undone(&mut self, writer: Option<&Writer>) {
        let Some(report) = self.contention.undone(writer, Instant::now()).report else { return };
        tracing::warn!(
            mode = MODE,
            "the nftables table {} is {report}; a node has one proxy: end the other, or give both the same flags",
            layout::TABLE
        );
    }
}

impl Backend for NftablesBackend {
    type Observed = Seen;
    type Plan = Plan;

    fn mode(&self) -> &'static str {
        MODE
    }

    fn probe(&mut self) -> Result<(), BackendError> {
        sync::probe(&mut self.nf, &self.families, self.settings)
    }

    fn observe(&mut self) -> Result<Seen, BackendError> {
        if self.monitor.is_some() { self.look() } else { sync::observe(&mut self.nf, &self.families) }
    }

    fn plan(&self, want: &ServiceTable, have: &Seen) -> Plan {
        let mut batch = Batch { generation: Some(have.generation), ..Batch::new() };
        let (mut tables, mut owners, nobody) = (Vec::new(), BTreeMap::new(), Owners::new());
        for (family, have) in self.families.iter().zip(&have.tables) {
            let want = Wanted::of(want, *family, self.settings);
            let before = self.owners.get(family).unwrap_or(&nobody);
            batch.ops.extend(converge::converge(&want, have, before).ops);
            tables.push((want.layout, want.uses));
            owners.insert(*family, want.owners);
        }
        Plan { batch, known: Known { generation: have.generation, tables }, owners }
    }

    fn apply(&mut self, plan: Plan) -> Result<Applied, BackendError> {
        self.carry_out(plan, false)
    }

    fn sync_full(&mut self, want: &ServiceTable) -> Result<Applied, BackendError> {
        self.allow_loopback(&want.node);
        self.listen()?;
        let mut total = Applied { full: true, writes: 0 };
        let mut afresh = false;
        for attempt in 0..TRIES {
            let have = self.observe()?;
            let plan = if afresh { self.again(want, have.generation) } else { self.plan(want, &have) };
            tracing::debug!(
                mode = MODE,
                generation = have.generation,
                writes = size(&plan.batch),
                "full pass"
            );
            match self.carry_out(plan, attempt > 0) {
                Ok(applied) => total.writes += applied.writes,
                Err(BackendError::Host(error)) if error.errno() == Some(libc::ERESTART) => {
                    self.listen()?;
                    continue;
                }
                Err(BackendError::Host(error @ HostError::Transaction { .. }))
                    if !afresh && error.remedy() == Remedy::Resync =>
                {
                    tracing::warn!(mode = MODE, %error, "the table is in the way of what it should be; writing it again");
                    afresh = true;
                    self.listen()?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let fought = attempt > 0 && total.writes > 0;
            if self.known.is_some() || fought {
                self.contention.repaired(Instant::now());
            }
            if self.known.is_some() {
                return Ok(total);
            }
            if fought {
                // All of it is written, and somebody wrote again before we listened.
                self.undone(None);
                return Ok(total);
            }
            afresh = false;
        }
        Err(BackendError::Busy { mode: MODE, tries: TRIES })
    }

    fn sync_delta(&mut self, want: &ServiceTable, delta: &TableDelta) -> Result<Applied, BackendError> {
        self.hear()?;
        match self.change(&want.node, &delta.ports)? {
            Some(applied) => Ok(applied),
            None => self.sync_full(want),
        }
    }

    async fn disturbed(&mut self) -> Result<(), BackendError> {
        loop {
            if self.known.is_none() {
                if let Some(at) = self.contention.due() {
                    tokio::time::sleep_until(at.into()).await;
                }
                return Ok(());
            }
            let Some(monitor) = &mut self.monitor else { return std::future::pending().await };
            let event = monitor.next().await?;
            self.note(&event);
        }
    }

    fn connections(&mut self, of: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError> {
        let mut counts: BTreeMap<(Family, Kept, Data), u64> = BTreeMap::new();
        for &family in &self.families {
            let layout = Layout::new(family, of.node.family(family), self.settings);
            for kept in [Kept::Services, Kept::NodePorts] {
                // Counts have no one moment anyway.
                self.nf.tolerate_changes(true);
                let listed = self.nf.elements(layout.set(kept));
                self.nf.tolerate_changes(false);
                for listed in listed? {
                    let count = listed.counts.map_or(0, |Counts { packets, .. }| packets);
                    counts.insert((family, kept, listed.element.key), count);
                }
            }
        }
        let mut sums = BTreeMap::new();
        for (key, port) in &of.ports {
            let frontends = counted_at(port).map(|(kept, at)| {
                let key = (key.0, kept, at);
                counts.get(&key).unwrap_or(&0) + self.counted.get(&key).unwrap_or(&0)
            });
            sums.insert(key.clone(), frontends.sum());
        }
        Ok(sums)
    }

    fn remove(&mut self) -> Result<(), BackendError> {
        self.known = None;
        let mut batch = Batch::new();
        let there = self.nf.tables()?;
        for table in Self::tables().iter().filter(|id| there.iter().any(|table| table.id == **id)) {
            batch.no_table(table);
        }
        Ok(self.nf.apply(&batch)?)
    }

    fn territory(&self) -> Vec<Territory> {
        vec![Self::tables_territory()]
    }
}

impl NftablesBackend {
    /// Its tables.
    pub fn tables_territory() -> Territory {
        Territory(format!("nftables table {}", layout::TABLE))
    }

    /// Carries a plan out and listens to events from then on. What is known afterwards is none where somebody may have
    /// changed our table meanwhile.
    fn carry_out(&mut self, plan: Plan, again: bool) -> Result<Applied, BackendError> {
        let Plan { mut batch, known, owners } = plan;
        let writes = size(&batch);
        if writes > MANY && !again {
            self.monitor = None;
        }
        self.known = Some(known);
        if !self.write(&mut batch)? {
            return Err(sync::refused(&batch).into());
        }
        self.leftover.clear();
        self.own(owners);
        if writes > MANY {
            self.monitor = None;
        }
        if self.listen()? {
            let generation = self.nf.generation()?;
            // Somebody wrote before we listened: to which table, nobody tells.
            self.known = self.known.take().filter(|known| known.generation == generation);
        }
        Ok(Applied { full: true, writes })
    }

    /// Frontends have these ports from now on. What was counted for others is forgotten.
    fn own(&mut self, owners: BTreeMap<Family, Owners>) {
        let before = std::mem::replace(&mut self.owners, owners);
        let of = |all: &BTreeMap<Family, Owners>, (family, kept, key): &(Family, Kept, Data)| {
            all.get(family)?.get(&(*kept, key.clone())).cloned()
        };
        self.counted.retain(|at, _| {
            let now = of(&self.owners, at);
            now.is_some() && now == of(&before, at)
        });
    }

    /// The same for changes.
    fn own_changed(&mut self, changes: &[PortChange]) {
        for port in changes.iter().filter_map(|change| change.old.as_ref()) {
            let owners = self.owners.entry(port.family).or_default();
            counted_at(port).for_each(|of| _ = owners.remove(&of));
        }
        for port in changes.iter().filter_map(|change| change.new.as_ref()) {
            let owners = self.owners.entry(port.family).or_default();
            owners.extend(counted_at(port).map(|of| (of, port.name.clone())));
        }
    }

    /// Everything again.
    fn again(&self, want: &ServiceTable, generation: u32) -> Plan {
        let mut batch = Batch { generation: Some(generation), ..Batch::new() };
        let (mut tables, mut owners) = (Vec::new(), BTreeMap::new());
        for family in &self.families {
            let want = Wanted::of(want, *family, self.settings);
            batch.ops.extend(converge::afresh(&want).ops);
            tables.push((want.layout, want.uses));
            owners.insert(*family, want.owners);
        }
        Plan { batch, known: Known { generation, tables }, owners }
    }

    /// Opens the stream of events; says whether it had to.
    fn listen(&mut self) -> Result<bool, BackendError> {
        let (None, Some(runtime)) = (&self.monitor, &self.runtime) else { return Ok(false) };
        let open = || {
            let _inside = runtime.enter();
            Monitor::open()
        };
        self.monitor = Some(self.namespace.run(open)??);
        Ok(true)
    }

    /// Takes note of all events so far.
    fn hear(&mut self) -> Result<(), BackendError> {
        while let Some(event) = self.monitor.as_mut().map_or(Ok(None), Monitor::ready)? {
            self.note(&event);
        }
        Ok(())
    }

    /// Node ports on loopback need the kernel to route such addresses.
    fn allow_loopback(&self, node: &NodeView) {
        if !node.v4.node_ports.loopback {
            return;
        }
        let set = self.namespace.run(|| host::sysctl::ensure("net/ipv4/conf/all/route_localnet", "1"));
        if let Err(error) | Ok(Err(error)) = set {
            tracing::warn!(%error, "node ports cannot be served on 127.0.0.1");
        }
    }
}

/// The changes in a batch, every element counted.
fn size(batch: &Batch) -> usize {
    batch.ops.iter().map(sync::size_of).sum()
}

/// The generation behind this one; 0 is never used (net/netfilter/nf_tables_api.c, nf_tables_commit).
fn next(generation: u32) -> u32 {
    generation.wrapping_add(1).max(1)
}
