//! One server, once: over an empty etcd to the end of its life.

use std::path::Path;
use std::time::{Instant, SystemTime};

use lab::LabError;
use serde_json::{Value, json};

use super::alone::Alone;
use super::metric::Metric;
use super::mode::{Mode, Part, Server};
use super::objects::{self, ALL, PODS};
use super::rates;
use super::sample::Settings;
use super::watchers::Watchers;
use crate::interrupt::Interrupt;
use crate::measure::failed;
use crate::run::Turn;
use crate::servers::Programs;
use crate::servers::client::{Client, JSON, PROTOBUF};
use crate::servers::clients::{self, Request};
use crate::servers::side::Side;
use crate::stats::Spread;

/// The number of watchers with which memory is measured.
const REMEMBERED: u32 = 100;
const APPLY: &str = "application/apply-patch+yaml";

/// What a round works with.
pub struct Round<'a, 't> {
    pub programs: &'a Programs,
    pub settings: &'a Settings,
    pub interrupt: &'a Interrupt,
    /// Where etcd writes.
    pub directory: &'a Path,
    pub server: Server,
    /// What a server has made of the first pod, for etcd alone.
    pub value: &'a mut Option<Vec<u8>>,
    pub turn: &'a mut Turn<'t, Mode, Metric>,
}

type Values = Vec<(Metric, f64)>;

impl Round<'_, '_> {
    /// All parts that were asked for, one after the other. What fails is told, and ends the round.
    pub fn measure(mut self) {
        let (mut part, mut load) = (self.first_part(), 0);
        let mut memory = Values::new();
        let measured = match self.server {
            Server::Etcd => self.etcd(&mut part, &mut load),
            _ => self.api(&mut part, &mut load, &mut memory),
        };
        self.take(Part::Memory, 0, memory);
        if let Err(error) = measured {
            self.turn.failed(self.mode(part, load), "this and what follows it", &error);
        }
    }

    fn first_part(&self) -> Part {
        self.settings.parts.first().copied().unwrap_or(Part::Start)
    }

    fn etcd(&mut self, part: &mut Part, load: &mut u32) -> Result<(), LabError> {
        let Some(value) = self.value.clone() else {
            return Err(failed("etcd alone", "no server has run, so the bytes of a pod are not known"));
        };
        let side = Side::make(self.server.kind(), self.programs, self.directory)?;
        let alone = Alone::new(side.etcd().endpoint(), value, self.settings.pods, self.interrupt)?;
        let mut first = 0;
        for (clients, count) in self.settings.creates() {
            (*part, *load) = (Part::Creates, clients);
            let values = alone.measure(*part, clients, first, count)?;
            self.take(*part, *load, values);
            first += count;
        }
        for asked in [Part::Gets, Part::Updates] {
            for (clients, count) in self.settings.asks() {
                (*part, *load) = (asked, clients);
                if self.settings.wants(asked) {
                    let values = alone.measure(*part, clients, 0, count)?;
                    self.take(*part, *load, values);
                }
            }
        }
        Ok(())
    }

    fn api(&mut self, part: &mut Part, load: &mut u32, memory: &mut Values) -> Result<(), LabError> {
        let side = Side::make(self.server.kind(), self.programs, self.directory)?;
        (*part, *load) = (Part::Start, 0);
        let first = side.start(self.interrupt)?.as_secs_f64();
        side.stop()?;
        let later = side.start(self.interrupt)?.as_secs_f64();
        self.take(*part, 0, vec![(Metric::FirstStart, first), (Metric::LaterStart, later)]);
        let wants_memory = self.settings.wants(Part::Memory);
        let remember = |metric, memory: &mut Values| -> Result<(), LabError> {
            if wants_memory {
                memory.push((metric, side.memory(self.interrupt)?));
            }
            Ok(())
        };
        remember(Metric::Idle, memory)?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects::NAMESPACE}});
        side.client()?.must("POST", "/api/v1/namespaces", namespace.to_string().as_bytes())?;
        let mut created = 0;
        for (clients, count) in self.settings.creates() {
            (*part, *load) = (Part::Creates, clients);
            let create = |nth| {
                let body = objects::pod(created + nth, "0");
                Request { method: "POST", path: PODS.to_owned(), body }
            };
            let clients = self.clients(&side, clients, JSON)?;
            let values = self.rates(&side, clients, count, create)?;
            if created == 0 {
                remember(Metric::Tenth, memory)?;
            }
            created += count;
            self.take(*part, *load, values);
        }
        self.remember_value(&side)?;
        remember(Metric::Full, memory)?;
        for asked in [Part::Gets, Part::Updates, Part::Applies] {
            for (clients, count) in self.settings.asks() {
                (*part, *load) = (asked, clients);
                if self.settings.wants(asked) {
                    let values = self.ask(&side, asked, clients, count)?;
                    self.take(*part, *load, values);
                }
            }
        }
        (*part, *load) = (Part::Lists, 0);
        if self.settings.wants(*part) {
            let values = vec![
                (Metric::Json, self.list(&side, JSON)?),
                (Metric::Protobuf, self.list(&side, PROTOBUF)?),
            ];
            self.take(*part, 0, values);
        }
        let mut loads =
            if self.settings.wants(Part::Watches) { self.settings.watchers.clone() } else { vec![] };
        if wants_memory && !loads.contains(&REMEMBERED) {
            loads.push(REMEMBERED);
            loads.sort_unstable();
        }
        for watchers in loads {
            (*part, *load) = (Part::Watches, watchers);
            let (values, open) = self.watch(&side, watchers)?;
            if watchers == REMEMBERED {
                remember(Metric::Watched, memory)?;
            }
            drop(open);
            if self.settings.watchers.contains(&watchers) {
                self.take(*part, *load, values);
            }
        }
        side.must_run()
    }

    fn clients(&self, side: &Side, count: u32, content: &'static str) -> Result<Vec<Client>, LabError> {
        (0..count).map(|_| Ok(side.client()?.with(JSON, content))).collect()
    }

    fn ask(&self, side: &Side, part: Part, clients: u32, count: u32) -> Result<Values, LabError> {
        let pods = self.settings.pods;
        let (round, content) =
            (format!("{part}-{clients}"), if part == Part::Applies { APPLY } else { JSON });
        let request = |nth| {
            let number = objects::scattered(nth, pods);
            let path = objects::path(number);
            // Where all pods had their turn, the next turn changes them again.
            let round = format!("{round}-{}", nth / pods);
            match part {
                Part::Updates => Request { method: "PUT", path, body: objects::pod(number, &round) },
                Part::Applies => Request {
                    method: "PATCH",
                    path: format!("{path}?fieldManager=bench"),
                    body: objects::applied(number, &round),
                },
                _ => Request { method: "GET", path, body: Vec::new() },
            }
        };
        self.rates(side, self.clients(side, clients, content)?, count, request)
    }

    /// As [`clients::measure`], and what it cost the server.
    fn rates(
        &self,
        side: &Side,
        clients: Vec<Client>,
        count: u32,
        request: impl Fn(u32) -> Request + Sync,
    ) -> Result<Values, LabError> {
        let before = side.cpu()?;
        let taken = clients::measure(clients, count, request, self.interrupt)?;
        let mut values = rates::numbers(taken.times, taken.elapsed);
        let used = side.cpu()? - before;
        values.push((Metric::Cpu, used * 1e6 / f64::from(count.max(1))));
        Ok(values)
    }

    /// Milliseconds of a list of all pods: the median. The first one does not count.
    fn list(&self, side: &Side, accept: &'static str) -> Result<f64, LabError> {
        let mut client = side.client()?.with(accept, JSON);
        let mut times = Vec::new();
        for nth in 0..=self.settings.lists {
            if self.interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            let begun = Instant::now();
            let body = client.must("GET", ALL, &[])?;
            if nth > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            drop(body);
        }
        let found = Spread::of(times).ok_or_else(|| failed("a list", "none was asked for"))?;
        Ok(found.median)
    }

    /// The way of some writes to so many watchers, who are still there.
    fn watch(&self, side: &Side, count: u32) -> Result<(Values, Watchers), LabError> {
        let mut client = side.client()?;
        let none: Value = serde_json::from_slice(&client.must("GET", &format!("{ALL}?limit=1"), &[])?)
            .map_err(|error| failed("a list", error.to_string()))?;
        let version = none.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
        let mut watchers = Watchers::open(count, side.address(), &side.trust()?, version)?;
        let mut times = Vec::new();
        // The first one finds nothing prepared, and does not count.
        for nth in 0..=self.settings.writes {
            if self.interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            let number = objects::scattered(nth, self.settings.pods);
            let (path, body) =
                (objects::path(number), objects::pod(number, &format!("watched-{count}-{nth}")));
            let client = &mut client;
            let seen = watchers.see(move || {
                let begun = SystemTime::now();
                client.must("PUT", &path, &body)?;
                Ok(begun)
            })?;
            if nth > 0 {
                times.extend(seen);
            }
        }
        let mut values = rates::numbers(times, std::time::Duration::from_secs(1));
        values.retain(|(metric, _)| *metric != Metric::Rate);
        Ok((values, watchers))
    }

    /// What the server has written into etcd, for etcd alone.
    fn remember_value(&mut self, side: &Side) -> Result<(), LabError> {
        if self.value.is_none() {
            let alone = Alone::new(side.etcd().endpoint(), Vec::new(), 0, self.interrupt)?;
            *self.value = Some(alone.first_value()?);
        }
        Ok(())
    }

    fn mode(&self, part: Part, load: u32) -> Mode {
        Mode { part, load, server: self.server }
    }

    fn take(&mut self, part: Part, load: u32, values: Values) {
        if self.settings.wants(part) && !values.is_empty() {
            self.turn.done(self.mode(part, load), values.into_iter().collect());
        }
    }
}
