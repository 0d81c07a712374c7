//! The text of `iptables-save`, read. Pure.

use std::fmt;

/// What `iptables-save` printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub tables: Vec<Table>,
    /// Tables that the nft flavour saw but cannot express, or not as a whole: somebody uses `nft` on them.
    pub incompatible: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub chains: Vec<Chain>,
    /// In the order of each chain.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    /// `ACCEPT` or `DROP` of a built-in chain; `None` of a chain that somebody made.
    pub policy: Option<String>,
}

/// A rule; prints as in the text, without its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub chain: String,
    /// All behind `-A CHAIN`, as it was written.
    pub spec: String,
    /// Packets and bytes, where they were asked for.
    pub counts: Option<(u64, u64)>,
}

/// A line that is not iptables-save's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not of iptables-save: {text:?}")]
pub struct BadSave {
    /// Counted from 1.
    pub line: usize,
    pub text: String,
}

impl Saved {
    pub fn parse(text: &str) -> Result<Self, BadSave> {
        let mut saved = Saved::default();
        for (n, line) in text.lines().enumerate() {
            saved.take(line.trim_end()).ok_or_else(|| BadSave { line: n + 1, text: line.to_owned() })?;
        }
        Ok(saved)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if line.is_empty() || line == "COMMIT" {
            return Some(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            self.incompatible.extend(incompatible(comment));
            return Some(());
        }
        if let Some(name) = line.strip_prefix('*') {
            self.tables.push(Table { name: name.to_owned(), ..Table::default() });
            return Some(());
        }
        let table = self.tables.last_mut()?;
        match line.strip_prefix(':') {
            Some(chain) => table.chains.push(Chain::parse(chain)?),
            None => table.rules.push(Rule::parse(line)?),
        }
        Some(())
    }

    /// Whether a table is there and nothing of it was printed (`iptables-nft-save` before 1.8.8).
    pub fn is_unreadable(&self, table: &str) -> bool {
        self.table(table).is_none() && self.incompatible.iter().any(|name| name == table)
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The policy of a built-in chain; none if its table is not in use, which means ACCEPT.
    pub fn policy(&self, table: &str, chain: &str) -> Option<&str> {
        self.table(table)?.chains.iter().find(|known| known.name == chain)?.policy.as_deref()
    }

    /// The rules of all tables.
    pub fn rule_count(&self) -> usize {
        self.tables.iter().map(|table| table.rules.len()).sum()
    }
}

/// ``# Table `nat' is incompatible, use 'nft' tool.``; later versions print the rest of the table, and
/// ``# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.``
fn incompatible(comment: &str) -> Option<String> {
    let (name, rest) = comment.trim().strip_prefix("Table `")?.split_once('\'')?;
    rest.contains("incompatible").then(|| name.to_owned())
}

impl Table {
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    pub fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.chain == chain)
    }
}

impl Chain {
    /// `NAME POLICY [packets:bytes]`
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (name, policy) = (words.next()?, words.next()?);
        Some(Self { name: name.to_owned(), policy: (policy != "-").then(|| policy.to_owned()) })
    }
}

impl Rule {
    /// `-A CHAIN ...`, with `[packets:bytes]` before it or not.
    fn parse(line: &str) -> Option<Self> {
        let (counts, line) = match line.strip_prefix('[') {
            Some(rest) => {
                let (counts, line) = rest.split_once("] ")?;
                let (packets, bytes) = counts.split_once(':')?;
                (Some((packets.parse().ok()?, bytes.parse().ok()?)), line)
            }
            None => (None, line),
        };
        let (chain, spec) = line.strip_prefix("-A ")?.split_once(' ').unwrap_or((&line[3..], ""));
        Some(Self { chain: chain.to_owned(), spec: spec.to_owned(), counts })
    }

    /// The rule's arguments as a command would get them: quotes and backslashes taken off.
    pub fn arguments(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut word: Option<String> = None;
        let mut quoted = false;
        let mut chars = self.spec.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                '\\' => word.get_or_insert_default().extend(chars.next()),
                c if c.is_whitespace() && !quoted => out.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        out.extend(word);
        out
    }

    /// The argument behind an option, as of `-j` or `--comment`.
    pub fn argument(&self, option: &str) -> Option<String> {
        let mut arguments = self.arguments().into_iter();
        arguments.find(|argument| argument == option)?;
        arguments.next()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "-A {}", self.chain)?;
        if self.spec.is_empty() { Ok(()) } else { write!(f, " {}", self.spec) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Generated by iptables-nft-save v1.8.9 (nf_tables) on Sat Nov 21 11:19:20 2026
*filter
:INPUT ACCEPT [10:840]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
[3:252] -A FORWARD -s 10.5.0.0/16 -m comment --comment "flanneld \"forward\" rule" -j ACCEPT
-A DOCKER-USER
COMMIT
# Completed on Sat Nov 21 11:19:20 2026
# Table `nat' is incompatible, use 'nft' tool.
"#;

    #[test]
    fn a_save_is_tables_chains_and_rules() {
        let saved = Saved::parse(TEXT).unwrap();
        assert_eq!(saved.incompatible, ["nat"]);
        assert!(
            saved.is_unreadable("nat") && !saved.is_unreadable("filter") && !saved.is_unreadable("mangle")
        );
        assert_eq!(saved.policy("filter", "FORWARD"), Some("DROP"));
        assert_eq!(saved.policy("filter", "DOCKER-USER"), None);
        assert_eq!(saved.policy("mangle", "FORWARD"), None);
        assert_eq!(saved.rule_count(), 3);
        let filter = saved.table("filter").unwrap();
        assert_eq!(filter.chain("DOCKER-USER").unwrap().policy, None);
        let rules: Vec<&Rule> = filter.rules_of("FORWARD").collect();
        assert_eq!(rules[0].counts, None);
        assert_eq!(rules[0].to_string(), "-A FORWARD -j DOCKER-USER");
        assert_eq!(rules[1].counts, Some((3, 252)));
        assert_eq!(
            rules[1].arguments(),
            ["-s", "10.5.0.0/16", "-m", "comment", "--comment", "flanneld \"forward\" rule", "-j", "ACCEPT"]
        );
        assert_eq!(rules[1].argument("-j").as_deref(), Some("ACCEPT"));
        assert_eq!(rules[1].argument("-d"), None);
        assert_eq!(filter.rules_of("DOCKER-USER").next().unwrap().to_string(), "-A DOCKER-USER");
    }

    #[test]
    fn a_table_of_which_a_part_is_incompatible_is_read() {
        let line = "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.";
        let saved = Saved::parse(&format!("{line}\n*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n")).unwrap();
        assert_eq!(saved.incompatible, ["nat"]);
        assert!(!saved.is_unreadable("nat"));
    }

    #[test]
    fn a_foreign_line_is_named() {
        let error = |line, text: &str| BadSave { line, text: text.to_owned() };
        assert_eq!(Saved::parse("*nat\nwhat\n"), Err(error(2, "what")));
        assert_eq!(Saved::parse("-A FORWARD -j DROP"), Err(error(1, "-A FORWARD -j DROP")));
        assert_eq!(Saved::parse("*nat\n:LONELY"), Err(error(2, ":LONELY")));
        assert_eq!(Saved::parse("*nat\n[x:1] -A A"), Err(error(2, "[x:1] -A A")));
        assert_eq!(Saved::parse(""), Ok(Saved::default()));
    }
}
