//! Where would this packet go, and why?

use std::fmt;

use proxy_core::question::{
    Answer, AtFrontend, Explanation, Masqueraded, Origin, Packet, Ping, explain as ask, ping,
};
use serde_json::{Value, json};

use super::{Destination, Question, World};

/// An answer, for people (`Display`) and for programs ([`Explained::json`]).
#[derive(Clone, Debug)]
pub struct Explained {
    remarks: Vec<String>,
    answer: Said,
}

#[derive(Clone, Debug)]
enum Said {
    Packet(Explanation),
    Ping(Ping),
}

/// Answers for the first packet of a new connection, as the node of the world meets it.
pub fn explain(world: &World, question: &Question) -> Explained {
    let answer = match question.to {
        Destination::Ping(dst) => Said::Ping(ping(&world.table, question.src, dst)),
        Destination::Port(dst, protocol) => {
            let (src, from) = (question.src, Origin::of(question.src, &world.table.node));
            let packet = Packet { src, dst: dst.ip(), port: dst.port(), protocol, from };
            Said::Packet(ask(&world.table, &world.cluster, &packet))
        }
    };
    Explained { remarks: question.remarks.clone(), answer }
}

impl Explained {
    /// `verdict` (deliver, reject, drop, pass; none for ICMP, of which services know nothing), `endpoints` (IP:PORT, each
    /// as likely as the others), `masquerade` (whether the endpoint sees the node's address; `hairpin` in `masqueradeIf`
    /// where that is only so for a client that is its own endpoint), `service`, `frontend`, `leftOut`, `hints`,
    /// `explanation`.
    pub fn json(&self) -> Value {
        let mut json = match &self.answer {
            Said::Packet(found) => of_packet(found),
            Said::Ping(ping) => json!({
                "packet": format!("{} -> {}/icmp", ping.src, ping.dst),
                "verdict": null, "endpoints": [], "leftOut": [],
                "hints": ping.hint().map(ToString::to_string).into_iter().collect::<Vec<_>>(),
                "explanation": ping.to_string(),
            }),
        };
        if !self.remarks.is_empty() {
            json["remarks"] = json!(self.remarks);
        }
        json
    }
}

fn of_packet(found: &Explanation) -> Value {
    let answer = &found.answer;
    let masqueraded = answer.balance().map(|balance| balance.masquerade);
    let endpoints: Vec<String> = answer.endpoints().iter().map(ToString::to_string).collect();
    let left_out = found
        .left_out
        .iter()
        .map(|(endpoint, why)| json!({ "endpoint": endpoint.to_string(), "why": why.to_string() }));
    let mut json = json!({
        "packet": found.packet.to_string(),
        "from": found.packet.from.to_string(),
        "verdict": answer.verdict().as_str(),
        "probability": (!endpoints.is_empty()).then(|| 1.0 / endpoints.len() as f64),
        "endpoints": endpoints,
        "masquerade": matches!(masqueraded, Some(Masqueraded::Yes(_))),
        "leftOut": left_out.collect::<Vec<_>>(),
        "hints": found.hints.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "explanation": found.to_string(),
    });
    if let Some(masqueraded) = masqueraded {
        json["masqueradeWhy"] = masqueraded.to_string().into();
        if masqueraded == Masqueraded::IfHairpin {
            json["masqueradeIf"] = "hairpin".into();
        }
    }
    if let Answer::Frontend(AtFrontend { service, frontend, .. }) = answer {
        json["service"] = service.name.to_string().into();
        json["frontend"] = frontend.kind.to_string().into();
        json["affinitySeconds"] = service.affinity.map(|time| time.as_secs()).into();
    }
    json
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))?;
        match &self.answer {
            Said::Packet(found) => found.fmt(f),
            Said::Ping(ping) => ping.fmt(f),
        }
    }
}
