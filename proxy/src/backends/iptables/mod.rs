//! Services by iptables, with kube-proxy's chains.
//!
//! Owns: the chains that [`names::is_owned`] knows, in the tables nat, filter and mangle, and the jumps to them. Begin
//! at [`render`], which says what they should hold; [`restore`] says how to get there.
//! Never: empties a table, changes a rule of others, lists anything to make a change.
//!
//! Which programs: the flavour asked for, else the one that kubelet uses here, else what plain `iptables` is.

pub(super) use digest::sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::command::{Runner, System};
use host::contention::Contention;
use host::error::HostError;
use host::iptables::{Flavour, Flush, Iptables, Saved, survey};
use host::netns::Namespace;
use names::Table;
use proxy_core::names::Family;
use proxy_core::table::{PortKey, ServicePort, ServiceTable, TableDelta};

use super::{Applied, Backend, BackendError, RuleCount, Territory};

pub mod counts;
mod digest;
pub mod dispatch;
mod frame;
pub mod names;
mod port;
pub mod render;
pub mod restore;
mod rule;
mod tools;

use counts::Counts;
use dispatch::Dispatch;
use render::{Place, Shared, Style, Wanted, has_comments, part};
use restore::Text;
pub(crate) use tools::program_family;

const MODE: &str = "iptables";

/// The rules of one family in one flavour.
pub fn territory(family: Family, flavour: Flavour) -> Territory {
    Territory(format!("{}-{flavour}", program_family(family).program()))
}

/// So many endpoints of a service with affinity are worth a warning.
const SLOW: usize = 1000;

/// Lines that the nft flavour gets at once.
const AT_ONCE: usize = 4000;

/// What the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which bit of the mark says "to be masqueraded": 0..=31, 14 as kube-proxy has it.
    pub mark_bit: u8,
    /// Drop what conntrack finds invalid: unless the kernel is lenient with TCP windows.
    pub drop_invalid: bool,
    /// None: found out.
    pub flavour: Option<Flavour>,
    /// How often to look whether somebody flushed the tables.
    pub check_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mark_bit: 14, drop_invalid: true, flavour: None, check_every: Duration::from_secs(30) }
    }
}

/// See [`super::Backend`].
pub struct IptablesBackend {
    settings: Settings,
    tools: Vec<(Family, Iptables)>,
    /// All that are installed, for [`Backend::remove`].
    installed: Vec<Iptables>,
    namespace: Namespace,
    /// Where the kernel and the tools have xt_bpf.
    hairpin_at_once: BTreeSet<Family>,
    counts: Counts,
    looking: Looking,
    contention: Contention,
    /// Of these it has been said that their affinity is slow.
    slow: BTreeSet<PortKey>,
    /// Rules that the last pass wrote.
    last: BTreeMap<(Family, Table), usize>,
    /// None: look at everything.
    known: Option<Known>,
}

/// The look whether somebody flushed the tables.
enum Looking {
    From(Instant),
    Now(tokio::task::JoinHandle<Result<bool, HostError>>),
}

/// What the kernel has, as far as changes need to know.
#[derive(Clone, Debug)]
struct Known {
    comments: bool,
    shared: BTreeMap<Family, BTreeMap<Place, Shared>>,
    dispatch: BTreeMap<Family, Dispatch>,
    /// Texts that name the rules that are no one service's.
    frames: BTreeMap<Family, String>,
}

/// What is there, of each family.
pub type Observed = BTreeMap<Family, Saved>;

/// Texts to restore, and what is known when that is done.
#[derive(Clone, Debug)]
pub struct Plan {
    texts: Vec<(Family, Text)>,
    known: Known,
    loopback: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, text) in self.texts.iter().filter(|(_, text)| !text.is_empty()) {
            writeln!(f, "# {family}")?;
            text.fmt(f)?;
        }
        Ok(())
    }
}

impl IptablesBackend {
    /// In the network namespace of the calling thread, from which it has to be used.
    pub fn open(families: &[Family], settings: Settings) -> Result<Self, BackendError> {
        Self::with(Arc::new(System), families, settings)
    }

    /// With somebody else to run the programs.
    pub fn with(
        runner: Arc<dyn Runner>,
        families: &[Family],
        settings: Settings,
    ) -> Result<Self, BackendError> {
        let (mut tools, mut installed) = (Vec::new(), Vec::new());
        for &family in families {
            let found = survey(runner.clone(), program_family(family))?;
            installed.extend(found.iter().map(|found| found.tool.clone()));
            tools.push((family, tools::choose(found, settings.flavour)?));
        }
        let namespace = Namespace::current()?;
        // An error says nothing of the rule: somebody holds the lock. Nearly every kernel has what it takes.
        let able = |family, tool: &Iptables| tool.accepts(&frame::hairpin_test(family)).unwrap_or(true);
        let able = tools.iter().filter(|(family, tool)| able(*family, tool));
        let hairpin_at_once = able.map(|(family, _)| *family).collect();
        let looking = Looking::From(Instant::now());
        let (counts, slow) = (Counts::default(), BTreeSet::new());
        Ok(Self {
            settings,
            tools,
            installed,
            namespace,
            hairpin_at_once,
            counts,
            looking,
            contention: Contention::default(),
            slow,
            last: BTreeMap::new(),
            known: None,
        })
    }

    /// What to look for, as far as it is known.
    fn frames(&self) -> Vec<(Iptables, String)> {
        let frame = |family: &Family| self.known.as_ref()?.frames.get(family).cloned();
        self.tools.iter().filter_map(|(family, tool)| Some((tool.clone(), frame(family)?))).collect()
    }

    fn next_look(&self) -> Looking {
        Looking::From(Instant::now() + self.settings.check_every)
    }

    /// What the rules for a table depend on besides it.
    fn style(&self, family: Family, tool: &Iptables, comments: bool) -> Style {
        Style {
            family,
            mark: 1 << self.settings.mark_bit,
            random_fully: tool.has_random_fully(),
            drop_invalid: self.settings.drop_invalid,
            comments,
            hairpin_at_once: self.hairpin_at_once.contains(&family),
        }
    }

    /// What [`Backend::sync_full`] would make of an empty kernel, for people to read; starts no program.
    pub fn render(want: &ServiceTable, families: &[Family], settings: &Settings) -> String {
        let of = |family: &Family| {
            let style = Style {
                family: *family,
                mark: 1 << settings.mark_bit,
                random_fully: true,
                drop_invalid: settings.drop_invalid,
                comments: has_comments(want),
                hairpin_at_once: true,
            };
            format!("# {family}\n{}", Wanted::of(want, &style))
        };
        families.iter().map(of).collect()
    }

    /// Somebody changed what is ours. The kernel does not tell who: each change is made by a program that ends.
    fn undone(&mut self) {
        self.known = None;
        if let Some(report) = self.contention.undone(None, Instant::now()).report {
            tracing::warn!(
                "iptables' KUBE- chains are {report}; a node has one proxy: `ps -e | grep -E 'kube-proxy|weft'` shows \
                 them; end the other, or give both the same flags"
            );
        }
    }

    /// Says once of each port that its affinity costs more than it should.
    fn tell_of_slow<'a>(&mut self, ports: impl Iterator<Item = &'a Arc<ServicePort>>) {
        for port in ports.filter(|port| port.affinity.is_some()) {
            let endpoints = port.cluster.len().max(port.local.len());
            if endpoints >= SLOW && self.slow.insert(port.key()) {
                tracing::warn!(
                    service = %port.name,
                    endpoints,
                    "affinity of so many endpoints is slow in iptables mode: the kernel goes through a list of clients for \
                     each endpoint, to write them and at each new connection; the nftables mode looks a client up once"
                );
            }
        }
    }

    fn write(&mut self, family: Family, text: Text) -> Result<usize, HostError> {
        let writes = text.writes();
        text.rules().for_each(|(table, rules)| *self.last.entry((family, table)).or_default() += rules);
        if text.is_empty() {
            return Ok(0);
        }
        let tool = self.tools.iter().find(|(of, _)| *of == family).map(|(_, tool)| tool);
        let Some(tool) = tool else { return Ok(0) };
        // Legacy takes the whole table each time, whatever the text says.
        let limit = if tool.flavour == Flavour::Nft { AT_ONCE } else { usize::MAX };
        for text in text.parts(limit) {
            tool.restore(&text.to_string(), Flush::Declared)?;
        }
        Ok(writes)
    }

    /// Carries a delta out on what is known.
    fn change(
        &mut self,
        want: &ServiceTable,
        delta: &TableDelta,
        known: Known,
    ) -> Result<Applied, HostError> {
        let mut known = known;
        self.last.clear();
        let mut texts = Vec::new();
        for (family, tool) in &self.tools {
            let (view, style) = (want.node.family(*family), self.style(*family, tool, known.comments));
            let changes = delta.ports.iter().filter(|change| change.key.0 == *family);
            let parts = changes.map(|change| {
                let of = |port: &Option<_>| part(port.as_deref(), view, &style);
                (of(&change.old), of(&change.new))
            });
            let parts: Vec<_> = parts.collect();
            let dispatch = known.dispatch.entry(*family).or_default();
            let text = restore::change(known.shared.entry(*family).or_default(), dispatch, parts);
            tracing::debug!(mode = MODE, %family, writes = text.writes(), "change\n{text}");
            texts.push((*family, text));
        }
        let mut writes = 0;
        for (family, text) in texts {
            writes += self.write(family, text)?;
        }
        self.known = Some(known);
        Ok(Applied { full: false, writes })
    }

    /// Node ports on loopback need the kernel to route such addresses.
    fn allow_loopback(&self) {
        let set = self.namespace.run(|| host::sysctl::ensure("net/ipv4/conf/all/route_localnet", "1"));
        if let Err(error) | Ok(Err(error)) = set {
            tracing::warn!(%error, "node ports cannot be served on 127.0.0.1");
        }
    }
}

impl Backend for IptablesBackend {
    type Observed = Observed;
    type Plan = Plan;

    fn mode(&self) -> &'static str {
        MODE
    }

    /// Writes a chain that nothing leads to, with one rule of every kind, and deletes it.
    fn probe(&mut self) -> Result<(), BackendError> {
        self.tools.iter().try_for_each(|(family, tool)| tools::probe(*family, tool, self.settings.mark_bit))
    }

    fn observe(&mut self) -> Result<Observed, BackendError> {
        self.tools.iter().map(|(family, tool)| Ok((*family, tools::look(tool)?))).collect()
    }

    fn plan(&self, want: &ServiceTable, have: &Observed) -> Plan {
        let comments = has_comments(want);
        let (mut texts, none) = (Vec::new(), Saved::default());
        let (mut shared, mut dispatch, mut frames) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (family, tool) in &self.tools {
            let style = self.style(*family, tool, comments);
            frames.insert(*family, restore::check(&Wanted::none(&want.node, &style)));
            let want = Wanted::of(want, &style);
            texts.push((*family, restore::converge(&want, have.get(family).unwrap_or(&none))));
            shared.insert(*family, want.shared);
            dispatch.insert(*family, want.dispatch);
        }
        Plan {
            texts,
            known: Known { comments, shared, dispatch, frames },
            loopback: want.node.v4.node_ports.loopback,
        }
    }

    /// One transaction for each table.
    fn apply(&mut self, plan: Plan) -> Result<Applied, BackendError> {
        self.known = None;
        if plan.loopback {
            self.allow_loopback();
        }
        self.last.clear();
        let mut writes = 0;
        for (family, text) in plan.texts {
            writes += self.write(family, text)?;
        }
        self.known = Some(plan.known);
        self.contention.repaired(Instant::now());
        // What an earlier look finds is made good.
        self.looking = self.next_look();
        Ok(Applied { full: true, writes })
    }

    fn sync_full(&mut self, want: &ServiceTable) -> Result<Applied, BackendError> {
        self.slow.retain(|key| want.ports.contains_key(key));
        self.tell_of_slow(want.ports.values());
        let have = self.observe()?;
        let plan = self.plan(want, &have);
        self.apply(plan)
    }

    fn sync_delta(&mut self, want: &ServiceTable, delta: &TableDelta) -> Result<Applied, BackendError> {
        self.tell_of_slow(delta.ports.iter().filter_map(|change| change.new.as_ref()));
        // Taken: on any error it is not known any more.
        let known = self.known.take().filter(|known| known.comments == has_comments(want));
        let Some(known) = known.filter(|_| delta.node_before.is_none()) else { return self.sync_full(want) };
        match self.change(want, delta, known) {
            Ok(applied) => Ok(applied),
            // Most likely somebody took away what was to be changed.
            Err(error) => {
                tracing::warn!(mode = MODE, %error, "a change does not fit; looking at everything");
                self.undone();
                self.sync_full(want)
            }
        }
    }

    /// Looks from time to time whether the rules that are no one service's are still there. A look that is due is made
    /// however often this is called and dropped.
    async fn disturbed(&mut self) -> Result<(), BackendError> {
        loop {
            if self.known.is_none() {
                if let Some(at) = self.contention.due() {
                    tokio::time::sleep_until(at.into()).await;
                }
                return Ok(());
            }
            let flushed = match &mut self.looking {
                Looking::From(at) => {
                    tokio::time::sleep_until((*at).into()).await;
                    let namespace = self.namespace.clone();
                    let frames: Vec<(Iptables, String)> = self.frames();
                    let look =
                        move || namespace.run(|| frames.iter().any(|(tool, frame)| is_flushed(tool, frame)));
                    self.looking = Looking::Now(tokio::task::spawn_blocking(look));
                    continue;
                }
                Looking::Now(look) => look.await,
            };
            self.looking = self.next_look();
            if matches!(flushed, Ok(Ok(true))) {
                self.undone();
            }
        }
    }

    fn connections(&mut self, of: &ServiceTable) -> Result<BTreeMap<PortKey, u64>, BackendError> {
        Ok(self.counts.of(of, &self.tools, &self.namespace))
    }

    fn rules(&self) -> Vec<RuleCount> {
        let tables = |family: &Family| [(*family, Table::Filter), (*family, Table::Nat)];
        let count = |(family, table): (Family, Table)| RuleCount {
            family,
            table: table.as_str(),
            all: self.counts.rules(family, table),
            last: self.last.get(&(family, table)).copied().unwrap_or(0),
        };
        self.tools.iter().flat_map(|(family, _)| tables(family)).map(count).collect()
    }

    /// In every flavour that is installed. [`names::FIREWALL`] stays: it is kubelet's too.
    fn remove(&mut self) -> Result<(), BackendError> {
        self.known = None;
        let mut failed = Ok(());
        for tool in &self.installed {
            let chosen = self.tools.iter().any(|(_, known)| same(known, tool));
            let saved = match tool.save_all() {
                Ok(saved) => saved,
                // A flavour that this kernel does not have holds nothing.
                Err(_) if !chosen => continue,
                Err(error) => {
                    failed = Err(error.into());
                    continue;
                }
            };
            let text = restore::removal(&saved);
            if text.is_empty() {
                continue;
            }
            if let Err(error) = tool.restore(&text.to_string(), Flush::Declared) {
                failed = Err(error.into());
            }
        }
        failed
    }

    fn territory(&self) -> Vec<Territory> {
        self.tools.iter().map(|(family, tool)| territory(*family, tool.flavour)).collect()
    }
}

fn same(one: &Iptables, other: &Iptables) -> bool {
    (one.family, one.flavour) == (other.family, other.flavour)
}

/// Whether something of `frame` is not there, as far as can be told now.
fn is_flushed(tool: &Iptables, frame: &str) -> bool {
    let there = tool.holds(frame).inspect_err(|error| {
        // Most likely somebody holds the lock for long; the next look will tell.
        tracing::warn!(mode = MODE, %error, "cannot look after the rules");
    });
    matches!(there, Ok(false))
}
