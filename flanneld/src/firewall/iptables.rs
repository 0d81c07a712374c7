//! The rules by iptables' own programs: all of them where iptables was chosen; beside nftables only the accept
//! in old tables that drop what is forwarded.

use std::sync::Arc;

use flanneld_core::firewall::Rules;
use flanneld_core::firewall::iptables::{Chains, Saved, restore};
use flanneld_core::network_id::NetworkId;
use host::command::{Runner, System};
use host::error::HostError;
use host::iptables::{self, Family, Flavour, Flush, survey};
use ipnet::IpNet;

use super::obstacles;

/// The programs for both families; `ip6tables` where there is one.
pub struct Iptables {
    tools: Vec<iptables::Iptables>,
}

impl Iptables {
    /// The flavour that the host's `iptables` stands for.
    ///
    /// # Errors
    /// There is none; the error names the package.
    pub fn find() -> Result<Self, HostError> {
        let tools = |family| -> Result<Option<iptables::Iptables>, HostError> {
            let found = survey(system(), family)?;
            Ok(found.into_iter().find(|found| found.default).map(|found| found.tool))
        };
        let v4 = tools(Family::V4)?;
        let v6 = tools(Family::V6).unwrap_or_default();
        Ok(Self { tools: v4.into_iter().chain(v6).collect() })
    }

    /// The programs of the old flavour, where the kernel has rules in its old tables.
    pub fn legacy_in_use() -> Option<Self> {
        let used = |family| {
            let found =
                survey(system(), family).ok()?.into_iter().find(|f| f.tool.flavour == Flavour::Legacy)?;
            let saved = found.saved.ok()?;
            let drops = saved.policy("filter", "FORWARD") == Some("DROP");
            (saved.rule_count() > 0 || drops).then_some(found.tool)
        };
        let tools: Vec<_> = [Family::V4, Family::V6].into_iter().filter_map(used).collect();
        (!tools.is_empty()).then_some(Self { tools })
    }

    /// Old tables change without a word.
    pub fn is_legacy(&self) -> bool {
        self.tools.iter().any(|tool| tool.flavour == Flavour::Legacy)
    }

    pub fn has_random_fully(&self) -> bool {
        self.tools.iter().all(iptables::Iptables::has_random_fully)
    }

    /// What makes the chains what the rules say: nothing where they are so.
    ///
    /// # Errors
    /// A program fails, or there is none for a family that has rules.
    pub fn plan(&self, id: &NetworkId, wanted: &[Rules]) -> Result<Restores, HostError> {
        let mut restores = Vec::new();
        for rules in wanted {
            let saved = self.tool(rules)?.save_all()?;
            restores.extend(self.difference(id, rules, &saved));
            if !id.is_default() {
                // Of an earlier release, or the original, under the names that are another network's now.
                let default = NetworkId::default();
                if ours(&default, &saved).is_only_of(rules.network) {
                    restores.extend(self.difference(&default, &rules.none(), &saved));
                }
            }
        }
        Ok(Restores(restores))
    }

    /// What lets the pods' packets through where the policy is to drop, and nowhere else.
    ///
    /// # Errors
    /// A program fails.
    pub fn plan_accepts(&self, id: &NetworkId, wanted: &[Rules]) -> Result<Restores, HostError> {
        let mut restores = Vec::new();
        for rules in wanted {
            let Ok(tool) = self.tool(rules) else { continue };
            let saved = tool.save_all()?;
            let drops = saved.policy("filter", "FORWARD") == Some("DROP");
            let forward = if drops { rules.forward.clone() } else { Vec::new() };
            restores.extend(self.difference(id, &Rules { forward, ..rules.none() }, &saved));
        }
        Ok(Restores(restores))
    }

    /// What removes the chains of a network, and the jumps to them.
    ///
    /// # Errors
    /// A program fails.
    pub fn removal(&self, id: &NetworkId) -> Result<Restores, HostError> {
        let mut restores = Vec::new();
        for tool in &self.tools {
            let ipv6 = tool.family == Family::V6;
            let network = if ipv6 { "::/0" } else { "0.0.0.0/0" }.parse().expect("a literal network");
            let nothing = Rules { ipv6, network, postrouting: Vec::new(), forward: Vec::new() };
            restores.extend(self.difference(id, &nothing, &tool.save_all()?));
        }
        Ok(Restores(restores))
    }

    /// Writes.
    ///
    /// # Errors
    /// A program fails; what it was given has then not been written at all.
    pub fn apply(&self, restores: &Restores) -> Result<(), HostError> {
        restores.0.iter().try_for_each(|(family, text)| {
            let tool = self.tools.iter().find(|tool| tool.family == *family);
            tool.map_or(Ok(()), |tool| tool.restore(text, Flush::Declared))
        })
    }

    /// What cuts the pods of a network off in the old tables. (The others, nf_tables shows.)
    ///
    /// # Errors
    /// A program fails.
    pub fn obstacles(&self, network: IpNet) -> Result<Option<String>, HostError> {
        let family = if network.addr().is_ipv4() { Family::V4 } else { Family::V6 };
        let legacy = |tool: &&iptables::Iptables| tool.family == family && tool.flavour == Flavour::Legacy;
        let Some(tool) = self.tools.iter().find(legacy) else { return Ok(None) };
        Ok(obstacles::in_iptables(family.program(), &tool.save_all()?, network))
    }

    fn difference(&self, id: &NetworkId, rules: &Rules, saved: &iptables::Saved) -> Option<(Family, String)> {
        let family = if rules.ipv6 { Family::V6 } else { Family::V4 };
        restore(rules, &ours(id, saved)).map(|text| (family, text))
    }

    fn tool(&self, rules: &Rules) -> Result<&iptables::Iptables, HostError> {
        let family = if rules.ipv6 { Family::V6 } else { Family::V4 };
        self.tools.iter().find(|tool| tool.family == family).ok_or_else(|| HostError::Command {
            command: family.program().to_owned(),
            reason: "not installed; install the package iptables, or use --firewall=nftables".to_owned(),
        })
    }
}

/// Inputs for `iptables-restore` and `ip6tables-restore`.
#[derive(Debug, Default)]
pub struct Restores(Vec<(Family, String)>);

impl Restores {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the kernel has old tables in this network namespace: it names them when the first rule or policy is set.
pub fn legacy_tables_exist() -> bool {
    ["ip_tables_names", "ip6_tables_names"].iter().any(|file| {
        std::fs::read(format!("/proc/thread-self/net/{file}")).is_ok_and(|names| !names.is_empty())
    })
}

fn system() -> Arc<dyn Runner> {
    Arc::new(System)
}

fn ours(id: &NetworkId, saved: &iptables::Saved) -> Saved {
    let mut ours = Saved::of(&Chains::of(id));
    for table in &saved.tables {
        for chain in &table.chains {
            ours.chain(&table.name, &chain.name);
        }
        for rule in &table.rules {
            ours.rule(&table.name, &rule.chain, &rule.spec);
        }
    }
    ours
}
