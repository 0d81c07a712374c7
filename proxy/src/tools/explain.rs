//! Where would this packet go, and why?

use std::fmt;

use proxy_core::question::{Answer, AtFrontend, Explanation, Masqueraded, Origin, Packet, explain as ask};
use serde_json::{Value, json};

use super::{Question, World};

/// An answer, for people (`Display`) and for programs ([`Explained::json`]).
#[derive(Clone, Debug)]
pub struct Explained(Explanation);

/// Answers for the first packet of a new connection, as the node of the world meets it.
pub fn explain(world: &World, question: &Question) -> Explained {
    let packet = Packet {
        src: question.src,
        dst: question.dst.ip(),
        port: question.dst.port(),
        protocol: question.protocol,
        from: Origin::of(question.src, &world.table.node),
    };
    Explained(ask(&world.table, &world.cluster, &packet))
}

impl Explained {
    /// `verdict` (deliver, reject, drop, pass), `endpoints` (IP:PORT, each as likely as the others), `masquerade` (whether
    /// the endpoint sees the node's address; `hairpin` in `masqueradeIf` where that is only so for a client that is its own
    /// endpoint), `service`, `frontend`, `leftOut`, `explanation`.
    pub fn json(&self) -> Value {
        let Self(found) = self;
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
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
