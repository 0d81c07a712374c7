//! Leader election over a server in memory that does what a test says. Beside the original's candidates:
//! `tests/tests/peers_leader.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apiclient::leader::{self, Loss, Standing, Timing};
use apiclient::objects::{Api, Changes, Listed, Write, version};
use apiclient::{Failure, Pending, Query};
use apiclient_core::wire::Status;
use serde_json::{Value, json};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Value>>,
    /// Nobody gets an answer.
    silent: AtomicBool,
}

fn refused(code: u16, reason: &str) -> Failure {
    Failure::Refused(Box::new(Status { code, reason: reason.to_owned(), ..Status::default() }))
}

impl Memory {
    async fn answer(
        &self,
        then: impl FnOnce(&mut BTreeMap<String, Value>) -> Result<Value, Failure>,
    ) -> Result<Arc<Value>, Failure> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        then(&mut self.objects.lock().expect("no panic inside")).map(Arc::new)
    }

    fn put(objects: &mut BTreeMap<String, Value>, path: String, mut object: Value) -> Value {
        let next = objects.values().filter_map(|o| version(o).parse::<u64>().ok()).max().unwrap_or(0) + 1;
        object["metadata"]["resourceVersion"] = json!(next.to_string());
        objects.insert(path, object.clone());
        object
    }

    fn holder(&self) -> String {
        let objects = self.objects.lock().expect("no panic inside");
        objects
            .get(LEASE)
            .map_or("", |lease| lease["spec"]["holderIdentity"].as_str().unwrap_or_default())
            .to_owned()
    }

    fn events(&self) -> Vec<String> {
        let objects = self.objects.lock().expect("no panic inside");
        objects.values().filter_map(|object| Some(object["message"].as_str()?.to_owned())).collect()
    }
}

impl Api for Memory {
    fn server(&self) -> String {
        "memory".to_owned()
    }

    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
        Box::pin(self.answer(|objects| objects.get(path).cloned().ok_or_else(|| refused(404, "NotFound"))))
    }

    fn list<'a>(&'a self, _: &'a Query, _: bool) -> Pending<'a, Result<Listed, Failure>> {
        Box::pin(async { Ok(Listed::default()) })
    }

    fn watch<'a>(&'a self, _: &'a Query, _: &'a str) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
        Box::pin(std::future::pending())
    }

    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>> {
        Box::pin(self.answer(move |objects| match write {
            Write::Create { path, object } => {
                let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
                match objects.contains_key(&path) {
                    true => Err(refused(409, "AlreadyExists")),
                    false => Ok(Self::put(objects, path, object.clone())),
                }
            }
            Write::Update { path, object } => match objects.get(path) {
                None => Err(refused(404, "NotFound")),
                Some(have) if version(have) != version(object) => Err(refused(409, "Conflict")),
                Some(_) => Ok(Self::put(objects, path.clone(), object.clone())),
            },
            Write::Patch { .. } | Write::Delete { .. } => Err(refused(405, "MethodNotAllowed")),
        }))
    }
}

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/demo";

fn standing(identity: &str) -> Standing {
    let ms = Duration::from_millis;
    Standing {
        identity: identity.to_owned(),
        timing: Timing::new(ms(5_000), ms(4_000), ms(200)).expect("sound times"),
        ..Standing::new("kube-system", "demo", "demo")
    }
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn one_leads_until_its_work_is_done_then_the_next_at_once() {
    let server = Arc::new(Memory::default());
    let (tell, done) = tokio::sync::oneshot::channel();
    let first = tokio::spawn(leader::lead(server.clone(), standing("a"), |leading| async move {
        let done = done.await;
        (leading.holds(), done)
    }));
    until("the first to lead", || server.holder() == "a").await;
    let led = Arc::new(AtomicBool::new(false));
    let seen = led.clone();
    let second = tokio::spawn(leader::lead(server.clone(), standing("b"), |leading| async move {
        seen.store(leading.holds(), Ordering::SeqCst);
    }));
    // Longer than the lease: renewals keep it.
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert!(!led.load(Ordering::SeqCst) && server.holder() == "a");
    tell.send(()).expect("it works");
    assert_eq!(first.await.expect("no panic"), Ok((true, Ok(()))));
    assert_eq!(second.await.expect("no panic"), Ok(()));
    assert!(led.load(Ordering::SeqCst));
    assert_eq!(server.holder(), "", "given up");
    until("the Events", || server.events().len() == 4).await;
    let said = server.events();
    for text in ["a became leader", "a stopped leading", "b became leader", "b stopped leading"] {
        assert!(said.iter().any(|event| event == text), "{said:?}");
    }
}

#[tokio::test]
async fn a_leader_without_a_server_stops_before_its_lease_ends_and_writes_nothing_after() {
    let server = Arc::new(Memory::default());
    let escaped = Arc::new(Mutex::new(None));
    let kept = escaped.clone();
    let lead = tokio::spawn(leader::lead(server.clone(), standing("a"), |leading| async move {
        *kept.lock().expect("no panic inside") = Some(leading);
        std::future::pending::<()>().await;
    }));
    until("it to lead", || escaped.lock().expect("no panic inside").is_some()).await;
    let leading = escaped.lock().expect("no panic inside").clone().expect("it leads");
    let guarded = leading.guard(server.clone());
    let note = |name: &str| Write::Create {
        path: "/api/v1/namespaces/a/configmaps".to_owned(),
        object: json!({"metadata": {"name": name}}),
    };
    guarded.write(&note("before")).await.expect("it leads");
    server.silent.store(true, Ordering::SeqCst);
    let since = Instant::now();
    let lost = lead.await.expect("no panic").expect_err("nothing answers");
    assert_eq!(lost.loss, Loss::Late);
    // The lease is 5 s; the last renewal is older than the silence.
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(!leading.holds());
    leading.lost().await;
    server.silent.store(false, Ordering::SeqCst);
    let failure = guarded.write(&note("after")).await.expect_err("it does not lead");
    assert!(failure.to_string().contains("does not lead any more"), "{failure}");
    assert_eq!(
        guarded.read(LEASE).await.map(|lease| lease["spec"]["holderIdentity"].clone()).ok(),
        Some(json!("a"))
    );
}

#[tokio::test]
async fn a_lead_that_is_dropped_has_ended_for_everybody() {
    let server = Arc::new(Memory::default());
    let (tell, told) = tokio::sync::oneshot::channel();
    let lead = tokio::spawn(leader::lead(server.clone(), standing("a"), |leading| async move {
        let _ = tell.send(leading);
        std::future::pending::<()>().await;
    }));
    let leading = told.await.expect("it leads");
    assert!(leading.holds());
    lead.abort();
    leading.lost().await;
    assert!(!leading.holds());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_keeps_its_thread_busy_keeps_its_lease() {
    let server = Arc::new(Memory::default());
    let lead = tokio::spawn(leader::lead(server.clone(), standing("a"), |leading| async move {
        std::thread::sleep(Duration::from_millis(5_500));
        leading.holds()
    }));
    assert_eq!(lead.await.expect("no panic"), Ok(true));
}
