//! The programs of iptables on a machine that is only made up: tables as text, and nothing that is not checked.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use host::command::{Invocation, Output, Runner};
use host::error::HostError;

type Tables = BTreeMap<String, BTreeMap<String, Vec<String>>>;

#[derive(Default)]
pub struct Machine {
    /// By family's program.
    tables: Mutex<BTreeMap<String, Tables>>,
    /// A table that its tool finds and cannot express.
    hidden: Mutex<String>,
    /// Lines of the longest text so far, and of all.
    lines: Mutex<(usize, usize)>,
}

const KERNELS: [(&str, &[&str]); 3] = [
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
];

fn is_kernels(chain: &str) -> bool {
    KERNELS.iter().any(|(_, chains)| chains.contains(&chain))
}

fn empty() -> Tables {
    let chains = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
    KERNELS.iter().map(|(table, names)| ((*table).to_owned(), chains(names))).collect()
}

impl Machine {
    /// All rules, family by family.
    pub fn show(&self) -> String {
        let tables = self.tables.lock().unwrap();
        tables.iter().map(|(program, tables)| format!("## {program}\n{}", print(tables))).collect()
    }

    /// Somebody does as `iptables-restore --noflush` would.
    pub fn meddle(&self, program: &str, text: &str) {
        let mut all = self.tables.lock().unwrap();
        let tables = all.entry(program.to_owned()).or_insert_with(empty);
        *tables = restored(tables, text).unwrap_or_else(|why| panic!("{why}"));
    }

    /// From now on this table, and no other, is beyond its tool.
    pub fn hide(&self, table: &str) {
        *self.hidden.lock().unwrap() = table.to_owned();
    }

    /// How many lines the longest text to be restored has had.
    pub fn longest(&self) -> usize {
        self.lines.lock().unwrap().0
    }

    /// How many lines all texts to be restored have had.
    pub fn lines(&self) -> usize {
        self.lines.lock().unwrap().1
    }

    /// Somebody flushes everything.
    pub fn flush(&self) {
        self.tables.lock().unwrap().clear();
    }
}

impl Runner for Machine {
    fn try_run(&self, asked: &Invocation) -> Result<Output, HostError> {
        let (program, what) = asked.program.split_once('-').unwrap_or((&asked.program, ""));
        let mut all = self.tables.lock().unwrap();
        let tables = all.entry(program.to_owned()).or_insert_with(empty);
        if asked.arguments.first().is_some_and(|first| first == "--version") {
            return match what {
                "" => Ok(Output::of(0, format!("{program} v1.8.9 (nf_tables)\n"), "")),
                _ => Err(HostError::NoProgram { program: asked.program.clone(), advice: String::new() }),
            };
        }
        match what {
            "save" => {
                let hidden = self.hidden.lock().unwrap();
                let mut shown = tables.clone();
                let text = match shown.remove(&*hidden) {
                    Some(_) => format!("# Table `{hidden}' is incompatible, use 'nft' tool.\n"),
                    None => String::new(),
                };
                Ok(Output::of(0, text + &print(&shown), ""))
            }
            "restore" => {
                let has = |wanted: &str| asked.arguments.iter().any(|argument| argument == wanted);
                assert!(has("--noflush"));
                let lines = asked.stdin.iter().filter(|byte| **byte == b'\n').count();
                let (longest, all) = *self.lines.lock().unwrap();
                *self.lines.lock().unwrap() = (lines.max(longest), all + lines);
                match restored(tables, std::str::from_utf8(&asked.stdin).unwrap()) {
                    Ok(_) if has("--test") => Ok(Output::of(0, "", "")),
                    Ok(new) => {
                        *tables = new;
                        Ok(Output::of(0, "", ""))
                    }
                    Err(why) => Ok(Output::of(1, "", why)),
                }
            }
            _ => panic!("nobody runs {asked}"),
        }
    }
}

fn print(tables: &Tables) -> String {
    let mut text = String::new();
    for (table, chains) in tables {
        writeln!(text, "*{table}").unwrap();
        for chain in chains.keys() {
            writeln!(text, ":{chain} {} [0:0]", if is_kernels(chain) { "ACCEPT" } else { "-" }).unwrap();
        }
        for (chain, rules) in chains {
            rules.iter().for_each(|rule| writeln!(text, "-A {chain} {rule}").unwrap());
        }
        text.push_str("COMMIT\n");
    }
    text
}

fn target(rule: &str) -> Option<&str> {
    rule.split_once("-j ").map(|(_, rest)| rest.split(' ').next().unwrap_or(rest))
}

/// Table by table; an error leaves everything as it was.
fn restored(before: &Tables, text: &str) -> Result<Tables, String> {
    let mut tables = before.clone();
    let mut current: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |why: &str| format!("line {number} failed: {why}: {line}");
        if let Some(table) = line.strip_prefix('*') {
            current = Some(table);
            continue;
        }
        let chains = current.and_then(|table| tables.get_mut(table)).ok_or_else(|| wrong("no such table"))?;
        if line == "COMMIT" {
            let rules = chains.values().flatten();
            if let Some(lost) = rules
                .filter_map(|rule| target(rule))
                .find(|target| target.starts_with("KUBE-") && !chains.contains_key(*target))
            {
                return Err(wrong(&format!("{lost} is led to and not there")));
            }
            current = None;
            continue;
        }
        if let Some(chain) = line.strip_prefix(':') {
            let chain = chain.split(' ').next().unwrap();
            chains.insert(chain.to_owned(), Vec::new());
            continue;
        }
        let (command, rest) = line.split_once(' ').ok_or_else(|| wrong("what"))?;
        let (chain, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command == "-N" {
            if chains.insert(chain.to_owned(), Vec::new()).is_some() {
                return Err(wrong("it is there"));
            }
            continue;
        }
        if command == "-X" && chains.values().flatten().any(|rule| target(rule) == Some(chain)) {
            return Err(wrong("rules lead to it"));
        }
        let rules = chains.get_mut(chain).ok_or_else(|| wrong("no such chain"))?;
        match command {
            "-A" => rules.push(rest.to_owned()),
            "-I" => {
                let (at, rule) = rest.split_once(' ').unwrap();
                let at: usize = at.parse().unwrap();
                if at == 0 || at > rules.len() + 1 {
                    return Err(wrong("index too big"));
                }
                rules.insert(at - 1, rule.to_owned());
            }
            "-D" => {
                let at = rules.iter().position(|rule| rule == rest).ok_or_else(|| wrong("no such rule"))?;
                rules.remove(at);
            }
            "-C" if rules.iter().any(|rule| rule == rest) => {}
            "-X" if rules.is_empty() => _ = chains.remove(chain),
            _ => return Err(wrong("it cannot be done")),
        }
    }
    Ok(tables)
}
