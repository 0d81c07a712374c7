//! What needs the kernel: looking, trying, changing.

use std::collections::BTreeMap;
use std::sync::Arc;

use host::error::HostError;
use host::nftables::{Batch, Element, Event, ListedElement, Monitor, Nftables, Op, Set, TableId};
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FamilyView, Masquerade, NodeView, PortChange, Scope};

use super::converge::{Observed, afresh};
use super::delta::{Counted, Delta, Retimed, same_rules};
use super::layout::shape::{Affinity, AffinityKey, Balance, By, Remember, Sources};
use super::layout::{self, Kept, Layout, OwnSet, Settings, Shape, Slots};
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
        let kept: BTreeMap<&str, Kept> = Kept::ALL.into_iter().map(|kept| (kept.name(), kept)).collect();
        for set in have.sets.clone().iter().filter(|set| !set.dynamic) {
            match kept.get(set.name.as_str()) {
                Some(kept) => have.put(*kept, nf.elements(set)?),
                None => have.put_other(&set.name, nf.elements(set)?),
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
            sets: Default::default(),
            uses: Uses::default(),
            owners: Default::default(),
        };
        let (by, scopes) = (By::NodePort, layout::SCOPES.to_vec());
        let key = AffinityKey { address: None, protocol: Protocol::Tcp, port: 1 };
        let affinity = Affinity { key, targets: [1].into() };
        let balance = Balance {
            by,
            scope: Scope::Local,
            slots: Slots::for_group(2),
            masquerade: Masquerade::Always,
            sticky: Some(affinity.clone()),
        };
        let everywhere = if family == Family::V4 { "10.0.0.0/8" } else { "fd00::/8" };
        let sources = Sources::new(vec![everywhere.parse().expect("a network")]);
        let sets = scopes.iter().map(|&scope| OwnSet::Clients(key.clients(scope, 1)));
        for set in sets.chain([OwnSet::Sources(sources.clone())]) {
            want.sets.insert(set.name().to_owned(), want.layout.own_set(&set));
        }
        let remember = Remember { affinity, by, scopes, timeout: 60_000 };
        let shapes = [Shape::Balance(balance), Shape::Remember(remember), Shape::Sources(sources)];
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
    pub(super) fn change(
        &mut self,
        node: &NodeView,
        changes: &[PortChange],
    ) -> Result<Option<Applied>, BackendError> {
        let alike = |(layout, _): &(Layout, Uses)| same_rules(layout, node.family(layout.family));
        // Taken: on any error it is not known any more.
        let Some(mut known) = self.known.take().filter(|known| known.tables.iter().all(alike)) else {
            return Ok(None);
        };
        let (mut batch, mut tidy) = (Batch::new(), std::mem::take(&mut self.leftover));
        let mut retimed = Vec::new();
        for (layout, uses) in &mut known.tables {
            let view = node.family(layout.family);
            let delta = Delta::of(layout, view, uses, changes);
            for Counted { kept, key, goes_on } in &delta.counters {
                let of = (layout.family, *kept, key.clone());
                if !goes_on {
                    self.counted.remove(&of);
                    continue;
                }
                let counts = self.nf.element(layout.set(*kept), key)?.and_then(|listed| listed.counts);
                *self.counted.entry(of).or_default() += counts.map_or(0, |counts| counts.packets);
            }
            batch.ops.extend(delta.batch.ops);
            tidy.extend(delta.tidy.ops);
            retimed.extend(delta.retimed.into_iter().map(|one| (layout.own_set(&one.set).0, one)));
        }
        tracing::debug!(mode = MODE, writes = size(&batch), "change\n{batch}");
        self.known = Some(known);
        if !self.write(&mut batch)? {
            return Ok(None);
        }
        self.own_changed(changes);
        let mut writes = size(&batch);
        // A chain or set that is needed again is not to be deleted.
        let comes = |table: &TableId, name: &str| {
            batch.ops.iter().any(|op| match op {
                Op::AddChain(chain) => chain.name == name && chain.table == *table,
                Op::AddSet(set) => set.name == name && set.table == *table,
                _ => false,
            })
        };
        tidy.retain(|op| match op {
            Op::FlushChain(table, name) | Op::DeleteChain(table, name) => !comes(table, name),
            Op::DeleteSet(set) => !comes(&set.table, &set.name),
            _ => true,
        });
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
        for (set, Retimed { before, now, .. }) in retimed {
            writes += self.retime(&set, before, now);
        }
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

    /// Has clients remembered for another time since their last new connections. The rules do it by themselves for
    /// those that come again. Says how much it wrote.
    fn retime(&mut self, clients: &Arc<Set>, before: u64, now: u64) -> usize {
        for _ in 0..TRIES {
            let listed = match self.nf.elements(clients) {
                Ok(listed) => listed,
                Err(error) => {
                    tracing::warn!(mode = MODE, %error, "clients keep their endpoints for the former timeout");
                    return 0;
                }
            };
            let (mut gone, mut come) = (Vec::new(), Vec::new());
            for ListedElement { element, expires, .. } in listed {
                let Some(left) = expires else { continue };
                gone.push(Element { timeout: None, value: None, ..element.clone() });
                let left = now.saturating_sub(before.saturating_sub(left));
                come.extend((left > 0).then_some(Element { timeout: Some(left), ..element }));
            }
            if gone.is_empty() {
                return 0;
            }
            let mut batch = Batch::new();
            batch.delete_elements(clients, gone);
            if !come.is_empty() {
                batch.add_elements(clients, come);
            }
            match self.follow_up(batch) {
                Ok(written) => return written,
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
        0
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
