//! What needs the kernel: looking, trying, changing.

use std::collections::HashSet;
use std::sync::Arc;

use host::error::HostError;
use host::nftables::{Batch, Data, Element, Event, Monitor, Nftables, Op, Set, TableId, Value};
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FamilyView, Masquerade, PortChange, Scope};

use super::converge::{Observed, afresh};
use super::delta::Delta;
use super::layout::shape::{Affinity, AffinityKey, Balance, By};
use super::layout::{self, Kept, Layout, Settings, Shape, Slots};
use super::render::{Uses, Wanted};
use super::{Applied, BackendError, MODE, NftablesBackend, REFUSALS, Seen, TRIES, next, size};

/// Reads our tables as of one generation.
pub(super) fn observe(nf: &mut Nftables, families: &[Family]) -> Result<Seen, BackendError> {
    for _ in 0..TRIES {
        let generation = nf.generation()?;
        match read(nf, families) {
            Ok(tables) if nf.generation()? == generation => return Ok(Seen { generation, tables }),
            // A set that went away meanwhile.
            Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error.into()),
            _ => {}
        }
    }
    Err(BackendError::Busy { mode: MODE, tries: TRIES })
}

fn read(nf: &mut Nftables, families: &[Family]) -> Result<Vec<Observed>, HostError> {
    let tables = nf.tables()?;
    let ids = families.iter().map(|&family| TableId::new(layout::nft_family(family), layout::TABLE));
    let mut chains = None;
    let mut seen = Vec::new();
    for id in ids {
        let Some(table) = tables.iter().find(|table| table.id == id) else {
            seen.push(Observed::default());
            continue;
        };
        if chains.is_none() {
            chains = Some(nf.chains()?);
        }
        let mut have = Observed {
            table: Some(table.clone()),
            chains: chains.iter().flatten().filter(|chain| chain.table == id).cloned().collect(),
            rules: nf.all_rules(&id)?,
            sets: nf.sets(&id)?,
            ..Observed::default()
        };
        for kept in Kept::ALL {
            if let Some(set) = have.sets.iter().find(|set| set.name == kept.name()) {
                have.put(kept, nf.elements(set)?);
            }
        }
        seen.push(have);
    }
    Ok(seen)
}

/// Writes every kind of rule into a table of another name and deletes it, in one transaction: nothing remains, and
/// what the kernel cannot do it says.
pub(super) fn probe(nf: &mut Nftables, families: &[Family], settings: Settings) -> Result<(), BackendError> {
    for &family in families {
        let mut want = Wanted {
            layout: Layout::named("weft-proxy-probe", family, &FamilyView::default(), settings),
            chains: Default::default(),
            elements: Default::default(),
            uses: Uses::default(),
        };
        let at = Affinity::At(AffinityKey { address: None, protocol: Protocol::Tcp, port: 1 });
        let sticky = Balance {
            by: By::NodePort,
            scope: Scope::Local,
            slots: Slots::for_group(2),
            masquerade: Masquerade::Always,
            sticky: at,
        };
        let shapes =
            [Shape::Balance(sticky), Shape::Remember(Affinity::Here, 60_000), Shape::Remember(at, 60_000)];
        let shapes = shapes.map(|shape| want.layout.chain(&shape));
        for (chain, rules) in want.layout.chains().into_iter().chain(shapes) {
            want.chains.insert(chain.name.clone(), (chain, rules));
        }
        let mut batch = afresh(&want);
        batch.delete_table(&want.layout.table);
        nf.apply(&batch).map_err(|source| missing(family, source))?;
    }
    Ok(())
}

fn missing(family: Family, source: HostError) -> BackendError {
    let HostError::Transaction { change, .. } = &source else { return source.into() };
    BackendError::Missing {
        mode: MODE,
        missing: format!("the kernel refuses `{change}` for {family}"),
        advice: "it takes Linux 5.13 with nf_tables and its modules nft_numgen, nft_fib, nft_nat, nft_masq and \
                 nft_reject; the iptables mode may work",
        source: Box::new(source),
    }
}

pub(super) fn size_of(op: &Op) -> usize {
    match op {
        Op::AddElements(_, elements) | Op::DeleteElements(_, elements) => elements.len(),
        _ => 1,
    }
}

impl NftablesBackend {
    /// Carries changes out on what is known; none where that turns out not to hold.
    pub(super) fn change(&mut self, changes: &[PortChange]) -> Result<Option<Applied>, BackendError> {
        // Taken: on any error it is not known any more.
        let Some(mut known) = self.known.take() else { return Ok(None) };
        let (mut batch, mut tidy) = (Batch::new(), std::mem::take(&mut self.leftover));
        for (layout, uses) in &mut known.tables {
            let delta = Delta::of(layout, uses, changes);
            for (kept, key) in &delta.counters {
                let counts = self.nf.element(layout.set(*kept), key)?.and_then(|listed| listed.counts);
                let sum = self.counted.entry((layout.family, *kept, key.clone())).or_default();
                *sum += counts.map_or(0, |counts| counts.packets);
            }
            batch.ops.extend(delta.batch.ops);
            tidy.extend(delta.tidy.ops);
        }
        tracing::debug!(mode = MODE, writes = size(&batch), "change\n{batch}");
        self.known = Some(known);
        if !self.write(&mut batch)? {
            return Ok(None);
        }
        let mut writes = size(&batch);
        // A chain that is needed again is not to be deleted.
        let comes = |table: &TableId, name: &str| {
            batch.ops.iter().any(|op| matches!(op, Op::AddChain(c) if c.name == name && c.table == *table))
        };
        tidy.retain(|op| !matches!(op, Op::FlushChain(t, name) | Op::DeleteChain(t, name) if comes(t, name)));
        if !tidy.is_empty() {
            match self.follow_up(tidy.into_iter().collect()) {
                Ok(written) => writes += written,
                Err(refused) => {
                    let (tidy, error) = *refused;
                    tracing::debug!(mode = MODE, %error, "unused chains stay for now");
                    self.leftover = tidy.ops;
                }
            }
        }
        self.forget(&batch);
        Ok(Some(Applied { full: false, writes }))
    }

    /// Writes something that can wait, if nobody else writes right now.
    fn follow_up(&mut self, mut batch: Batch) -> Result<usize, Box<(Batch, HostError)>> {
        batch.generation = self.known.as_ref().map(|known| known.generation);
        match self.nf.apply(&batch) {
            Ok(()) => {
                if let Some(known) = &mut self.known {
                    known.generation = next(known.generation);
                }
                Ok(size(&batch))
            }
            Err(error) => Err(Box::new((batch, error))),
        }
    }

    /// Deletes the affinity of clients to endpoints that the batch took away. What this misses the rules find when
    /// such a client comes again, at the price of that connection.
    pub(super) fn forget(&mut self, batch: &Batch) {
        for family in self.families.clone() {
            let layout = Layout::new(family, &FamilyView::default(), self.settings);
            for scope in layout::SCOPES {
                let gone = gone(batch, &layout, scope);
                if !gone.is_empty() {
                    self.forget_in(layout.affinity(scope), &gone, family);
                }
            }
        }
    }

    fn forget_in(&mut self, affinity: &Arc<Set>, gone: &HashSet<Data>, family: Family) {
        for _ in 0..TRIES {
            let listed = match self.nf.elements(affinity) {
                Ok(listed) => listed,
                Err(error) => {
                    tracing::warn!(mode = MODE, %error, "clients may keep an endpoint that is gone");
                    break;
                }
            };
            let stale: Vec<Element> = listed
                .into_iter()
                .filter(|listed| leads_to(&listed.element, gone, family))
                .map(|listed| Element { timeout: None, value: None, ..listed.element })
                .collect();
            if stale.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            batch.delete_elements(affinity, stale);
            match self.follow_up(batch) {
                Ok(_) => break,
                // Somebody else wrote, or one of them has expired meanwhile.
                Err(refused) => {
                    let error = &refused.1;
                    tracing::debug!(mode = MODE, %error, "looking at affinity again");
                }
            }
            if self.hear().is_err() {
                break;
            }
        }
    }

    /// Writes if what is known holds, and knows what holds then. False: it does not.
    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<bool, BackendError> {
        if batch.is_empty() {
            return Ok(true);
        }
        let mut refusals = 0;
        loop {
            let Some(known) = self.known.take() else { return Ok(false) };
            let insist = refusals == REFUSALS;
            batch.generation = (!insist).then_some(known.generation);
            match self.nf.apply(batch) {
                Ok(()) if insist => {
                    self.known = Some(known);
                    self.hear()?;
                    return Ok(true);
                }
                Ok(()) => {
                    self.known = Some(super::Known { generation: next(known.generation), ..known });
                    return Ok(true);
                }
                // Somebody wrote, to our table or to another: the events tell.
                Err(error) if error.errno() == Some(libc::ERESTART) && self.monitor.is_some() => {
                    self.known = Some(known);
                    self.hear()?;
                    refusals += 1;
                }
                Err(error) if error.errno() == Some(libc::ERESTART) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads our tables while others write theirs: what they do is told by events.
    pub(super) fn look(&mut self) -> Result<Seen, BackendError> {
        self.nf.tolerate_changes(true);
        let seen = self.look_again();
        self.nf.tolerate_changes(false);
        seen
    }

    fn look_again(&mut self) -> Result<Seen, BackendError> {
        for _ in 0..TRIES {
            self.hear()?;
            let generation = self.nf.generation()?;
            let tables = read(&mut self.nf, &self.families);
            let (mut undisturbed, mut latest) = (true, generation);
            while let Some(event) = self.monitor.as_mut().map_or(Ok(None), Monitor::ready)? {
                undisturbed &= !self.disturbs(&event);
                if let Event::Changed(change) = &event {
                    latest = change.generation;
                }
                self.note(&event);
            }
            match tables {
                Ok(tables) if undisturbed => return Ok(Seen { generation: latest, tables }),
                // A set that went away meanwhile, or a short list that never held still.
                Err(error)
                    if error.errno() != Some(libc::ENOENT)
                        && !matches!(error, HostError::Protocol { .. }) =>
                {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Err(BackendError::Busy { mode: MODE, tries: TRIES })
    }
}

/// As the kernel refuses a batch of another generation.
pub(super) fn refused(batch: &Batch) -> HostError {
    let change = format!("batch of {} changes", batch.ops.len());
    HostError::Transaction { op: "nftables", change, errno: libc::ERESTART }
}

/// Pairs of a frontend and an endpoint that the batch takes away from [`Kept::StickyEndpoints`] or its like.
fn gone(batch: &Batch, layout: &Layout, scope: Scope) -> HashSet<Data> {
    let (mut gone, mut come) = (HashSet::new(), HashSet::new());
    for op in &batch.ops {
        let (set, elements, list) = match op {
            Op::DeleteElements(set, elements) => (set, elements, &mut gone),
            Op::AddElements(set, elements) => (set, elements, &mut come),
            _ => continue,
        };
        if set.table == layout.table && Kept::sticky(scope).name() == set.name {
            list.extend(elements.iter().map(|element| element.key.clone()));
        }
    }
    gone.retain(|key| !come.contains(key));
    gone
}

/// Whether an element of the affinity map, `frontend . client : endpoint`, leads to such a pair.
fn leads_to(element: &Element, gone: &HashSet<Data>, family: Family) -> bool {
    let address = if family == Family::V4 { 4 } else { 16 };
    match (&element.value, element.key.bytes().get(..address + 8)) {
        (Some(Value::Data(endpoint)), Some(frontend)) => {
            gone.contains(&Data::concat(&[&Data::new(frontend), endpoint]))
        }
        _ => false,
    }
}
