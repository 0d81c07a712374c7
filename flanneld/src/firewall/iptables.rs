//! The rules by iptables' own programs: all of them where iptables was chosen; beside nftables only the accept
//! in old tables that drop what is forwarded.

use std::sync::Arc;

use flanneld_core::firewall::Rules;
use flanneld_core::firewall::iptables::{Saved, restore};
use host::command::{Runner, System};
use host::error::HostError;
use host::iptables::{self, Family, Flavour, Flush, survey};

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

    /// Makes the chains what the rules say. True if something was written.
    ///
    /// # Errors
    /// A program fails, or there is none for a family that has rules.
    pub fn sync(&self, wanted: &[Rules]) -> Result<bool, HostError> {
        let mut written = false;
        for rules in wanted {
            written |= self.restore(rules, &self.tool(rules)?.save_all()?)?;
        }
        Ok(written)
    }

    /// Lets the pods' packets through where the policy is to drop, and nowhere else.
    ///
    /// # Errors
    /// As [`Iptables::sync`].
    pub fn accept_where_dropped(&self, wanted: &[Rules]) -> Result<bool, HostError> {
        let mut written = false;
        for rules in wanted {
            let Ok(tool) = self.tool(rules) else { continue };
            let saved = tool.save_all()?;
            let drops = saved.policy("filter", "FORWARD") == Some("DROP");
            let forward = if drops { rules.forward.clone() } else { Vec::new() };
            let accept = Rules { ipv6: rules.ipv6, postrouting: Vec::new(), forward };
            written |= self.restore(&accept, &saved)?;
        }
        Ok(written)
    }

    /// Removes our chains and their jumps.
    ///
    /// # Errors
    /// A program fails.
    pub fn remove(&self) -> Result<(), HostError> {
        for tool in &self.tools {
            let ipv6 = tool.family == Family::V6;
            let nothing = Rules { ipv6, postrouting: Vec::new(), forward: Vec::new() };
            self.restore(&nothing, &tool.save_all()?)?;
        }
        Ok(())
    }

    fn restore(&self, rules: &Rules, saved: &iptables::Saved) -> Result<bool, HostError> {
        let Some(text) = restore(rules, &ours(saved)) else { return Ok(false) };
        self.tool(rules)?.restore(&text, Flush::Declared)?;
        Ok(true)
    }

    fn tool(&self, rules: &Rules) -> Result<&iptables::Iptables, HostError> {
        let family = if rules.ipv6 { Family::V6 } else { Family::V4 };
        self.tools.iter().find(|tool| tool.family == family).ok_or_else(|| HostError::Command {
            command: family.program().to_owned(),
            reason: "not installed; install the package iptables, or use --firewall=nftables".to_owned(),
        })
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

fn ours(saved: &iptables::Saved) -> Saved {
    let mut ours = Saved::default();
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
