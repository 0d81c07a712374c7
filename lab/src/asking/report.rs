//! What came of asking a Service, for a person: who answered whom, and where to look when nobody did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use super::ask::{Answer, Target};
use super::{Asked, FrontendKind};
use crate::call;
use crate::error::LabError;
use crate::lab::Lab;
use crate::proxy::Place;
use crate::services::SERVICE;
use crate::spec::Spec;
use crate::table::Table;

/// The most pods that have a column of their own, and the most places that have a row.
const WIDEST: usize = 16;
/// How many failures are explained.
const EXPLAINED: usize = 10;

/// The report of a whole check.
pub fn render(lab: &Lab, results: &[Asked]) -> String {
    if results.is_empty() {
        return not_asked(lab);
    }
    let mut text = String::new();
    let places = in_order(results);
    if places.len() <= WIDEST {
        let _ = writeln!(text, "{}", table(&places, results));
    }
    let failed: Vec<&Asked> = results.iter().filter(|asked| !asked.passed()).collect();
    if failed.is_empty() {
        let _ = writeln!(text, "{}", summary(results));
        return text;
    }
    let _ = writeln!(text, "{SERVICE}: {} of {} ways to it fail:", failed.len(), results.len());
    for asked in failed.iter().take(EXPLAINED) {
        let what = match asked.frontend.kind {
            FrontendKind::ClusterIp => "ClusterIP",
            FrontendKind::NodePort => "node port",
        };
        let why: BTreeSet<&str> = asked.failures.iter().map(String::as_str).collect();
        let why: Vec<&str> = why.into_iter().collect();
        let _ = writeln!(text, "  {} -> {} ({what}): {}", asked.from, asked.frontend.target, why.join("; "));
    }
    if failed.len() > EXPLAINED {
        let _ = writeln!(text, "  and {} more", failed.len() - EXPLAINED);
    }
    text.push_str(&advice(lab, failed[0]));
    text
}

/// Why there is nothing to report.
fn not_asked(lab: &Lab) -> String {
    match lab.services() {
        None => String::new(),
        Some(_) if lab.spec().pods == 0 => format!("{SERVICE}: not asked, for there is no pod\n"),
        Some(services) => {
            format!(
                "{SERVICE}: not asked, for {} is gone\n",
                services.directory().join(crate::services::WEB).display()
            )
        }
    }
}

/// One sentence for a check without failures.
pub fn summary(results: &[Asked]) -> String {
    let count =
        |kind| results.iter().filter(|asked| asked.frontend.kind == kind).map(Asked::answered).sum::<u32>();
    let pods: BTreeSet<&String> = results.iter().flat_map(|asked| asked.answers.keys()).collect();
    format!(
        "{SERVICE}: {} answers by its ClusterIP and {} by node ports, TCP and UDP, from {}: none is missing, \
         {} gave them",
        count(FrontendKind::ClusterIp),
        count(FrontendKind::NodePort),
        crate::lab::count(in_order(results).len(), "place"),
        crate::lab::count(pods.len(), "pod")
    )
}

/// A row for each place that asked: how much was answered at each kind of frontend, and how often by which pod.
fn table(places: &[&str], results: &[Asked]) -> Table {
    let pods: BTreeSet<&String> = results.iter().flat_map(|asked| asked.answers.keys()).collect();
    // n10 comes after n9.
    let mut pods: Vec<&str> = pods.into_iter().map(String::as_str).collect();
    pods.sort_by_key(|pod| (pod.len(), *pod));
    if pods.len() > WIDEST {
        pods.clear();
    }
    let head = [SERVICE, "CLUSTER-IP", "NODE PORTS"].into_iter().chain(pods.iter().copied());
    let mut table = Table::new(head);
    table.align_right(1..3 + pods.len());
    for place in places {
        let mine: Vec<&Asked> = results.iter().filter(|asked| asked.from == *place).collect();
        let share = |kind| {
            let of_kind = mine.iter().filter(|asked| asked.frontend.kind == kind);
            let (answered, asked) =
                of_kind.fold((0, 0), |(a, b), asked| (a + asked.answered(), b + asked.asked()));
            format!("{answered} of {asked}")
        };
        let by =
            |pod: &&str| mine.iter().filter_map(|asked| asked.answers.get(*pod)).sum::<u32>().to_string();
        let fixed = [(*place).to_owned(), share(FrontendKind::ClusterIp), share(FrontendKind::NodePort)];
        table.row(fixed.into_iter().chain(pods.iter().map(by)));
    }
    table
}

/// Names in the order in which they asked.
fn in_order(results: &[Asked]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    results.iter().map(|asked| asked.from.as_str()).filter(|name| seen.insert(*name)).collect()
}

/// The node that decides about a packet: that of the asker for a ClusterIP, the asked one for a node port.
fn decides<'a>(lab: &'a Lab, from: &'a str, target: &Target) -> &'a str {
    let asked = lab.nodes().iter().find(|node| node.addresses().contains(&target.address.ip()));
    asked.map_or_else(|| from.split('-').next().unwrap_or(from), |node| node.name())
}

/// Commands that show why a place has no answer.
fn advice(lab: &Lab, asked: &Asked) -> String {
    let node = decides(lab, &asked.from, &asked.frontend.target);
    let state = crate::State::of(&lab.spec().name);
    format!(
        "What to look at:\n  {}\n  {}\n  tail {}\n",
        explain_command(lab.spec(), node, asked.source, &asked.frontend.target),
        diff_command(lab.spec(), node),
        state.node(node).join("proxy.log").display(),
    )
}

/// `weft explain ...` for a packet of this lab, as it can be typed.
pub fn explain_command(spec: &Spec, node: &str, source: IpAddr, target: &Target) -> String {
    let packet = format!("{source} -> {target}");
    format!("{} explain {} '{packet}'", call::weft_without_root(), tool_flags(spec, node))
}

/// The same for whoever asked from a pod or a node; None from where no proxy decides.
///
/// # Errors
/// A pod that is not connected.
pub fn explain_from(lab: &Lab, from: &str, target: &Target) -> Result<Option<String>, LabError> {
    let askers = super::check::askers(lab)?;
    let source =
        askers.iter().find(|asker| asker.name == from).and_then(|one| one.source(target.address.ip()));
    let Some(source) = source.filter(|_| lab.spec().proxy.is_some()) else { return Ok(None) };
    Ok(Some(explain_command(lab.spec(), decides(lab, from, target), source, target)))
}

/// `weft proxy diff ...` on a node, as it can be typed.
pub fn diff_command(spec: &Spec, node: &str) -> String {
    let name = crate::name::name_flag(&spec.name);
    format!("{} exec{name} {node} -- weft proxy diff {}", call::lab(), tool_flags(spec, node))
}

fn tool_flags(spec: &Spec, node: &str) -> String {
    let feed = crate::State::of(&spec.name).services();
    let place = Place { node, feed: &feed, pod_networks: &spec.pod_networks() };
    spec.proxy.as_ref().map(|options| options.tool_flags(&place).join(" ")).unwrap_or_default()
}

/// What came of asking one target several times: who answered, how often, and whom they saw.
pub fn asked(from: &str, target: &Target, results: &[Result<Answer, String>]) -> String {
    let mut answers: BTreeMap<&str, (u32, BTreeSet<IpAddr>)> = BTreeMap::new();
    let mut failures: BTreeMap<&str, u32> = BTreeMap::new();
    for result in results {
        match result {
            Ok(answer) => {
                let (count, clients) = answers.entry(&answer.pod).or_default();
                *count += 1;
                clients.extend(answer.client);
            }
            Err(reason) => *failures.entry(reason).or_default() += 1,
        }
    }
    let mut table = Table::new(["ANSWERED BY", "TIMES", "SAW"]);
    table.align_right([1]);
    for (pod, (count, clients)) in &answers {
        let clients: Vec<String> = clients.iter().map(ToString::to_string).collect();
        table.row([(*pod).to_owned(), count.to_string(), clients.join(", ")]);
    }
    let mut text = format!("{from} asked {target}, {}\n", crate::lab::count(results.len(), "time"));
    if !answers.is_empty() {
        let _ = write!(text, "{table}");
    }
    for (reason, count) in failures {
        let _ = writeln!(text, "no answer, {}: {reason}", crate::lab::count(count as usize, "time"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Frontend;
    use super::*;

    fn result(
        from: &str,
        kind: FrontendKind,
        target: &str,
        answers: &[(&str, u32)],
        failures: &[&str],
    ) -> Asked {
        Asked {
            from: from.to_owned(),
            source: "10.244.7.2".parse().unwrap(),
            frontend: Frontend { kind, target: target.parse().unwrap() },
            answers: answers.iter().map(|(pod, count)| ((*pod).to_owned(), *count)).collect(),
            failures: failures.iter().map(|reason| (*reason).to_owned()).collect(),
        }
    }

    #[test]
    fn who_answered_whom_and_how_often() {
        let results = [
            result("n1-p1", FrontendKind::ClusterIp, "10.96.0.10:80", &[("n1-p1", 3), ("n10-p1", 5)], &[]),
            result("n1-p1", FrontendKind::NodePort, "172.30.0.11:30080", &[("n2-p1", 2)], &[]),
            result("n1", FrontendKind::NodePort, "172.30.0.11:30080/udp", &[("n1-p1", 1)], &["no answer"]),
        ];
        assert_eq!(
            table(&in_order(&results), &results).to_string(),
            "\
lab/web  CLUSTER-IP  NODE PORTS  n1-p1  n2-p1  n10-p1
n1-p1        8 of 8      2 of 2      3      2       5
n1           0 of 0      1 of 2      1      0       0
"
        );
        assert_eq!(
            summary(&results[..2]),
            "lab/web: 8 answers by its ClusterIP and 2 by node ports, TCP and UDP, from 1 place: none is missing, \
             3 pods gave them"
        );
    }

    #[test]
    fn answers_to_one_place_are_counted_with_whom_they_saw() {
        let answer = |pod: &str, client: &str| {
            Ok(Answer { pod: pod.to_owned(), client: Some(client.parse().unwrap()) })
        };
        let refused = Err("Connection refused".to_owned());
        let results = [answer("n2-p1", "10.244.7.2"), answer("n2-p1", "10.244.7.2"), refused];
        assert_eq!(
            asked("n1-p1", &"10.96.0.10:80".parse().unwrap(), &results),
            "\
n1-p1 asked 10.96.0.10:80/tcp, 3 times
ANSWERED BY  TIMES  SAW
n2-p1            2  10.244.7.2
no answer, 1 time: Connection refused
"
        );
    }
}
