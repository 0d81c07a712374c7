//! What the store costs beside etcd alone, on an etcd of its own. Prints one line for each figure.
//!
//! `cargo run --release -p control-store --example measure -- http://127.0.0.1:2379 [creates|reads|watchers|memory]...`
//!
//! It writes under `/measure/` and deletes that first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use control_store::{Freshness, Settings, Slot, Store};
use etcd::{Client, Compare, Op, Repeat, Span, Txn};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// About a small pod.
const BYTES: usize = 1500;
const CREATES: usize = 6000;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: measure ETCD-URL [creates|reads|watchers|memory]...")?;
    let parts: Vec<String> = arguments.collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let client = Client::new(etcd::Settings { endpoints: vec![url], ..etcd::Settings::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if wants("creates") {
            creates(&client).await?;
        }
        if wants("reads") {
            reads(&client).await?;
        }
        if wants("watchers") {
            watchers(&client).await?;
        }
        if wants("memory") {
            memory(&client).await?;
        }
        Ok(())
    })
}

async fn open(client: &Client, connections: usize) -> Result<Store, Failed> {
    client.delete(&Span::prefix("/measure/")).await?;
    again(client, connections).await
}

async fn again(client: &Client, connections: usize) -> Result<Store, Failed> {
    let settings = Settings {
        prefix: "/measure".to_owned(),
        kinds: vec!["pods/".to_owned()],
        compaction: None,
        connections,
        ..Settings::default()
    };
    let store = Store::open(client.clone(), settings);
    store.ready().await;
    Ok(store)
}

/// Runs `work` with numbers from 0 in so many tasks; prints how many there were in a second, and how long each took.
async fn rate<F>(what: &str, tasks: usize, count: usize, work: impl Fn(usize) -> F) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let work = &work;
    let next = AtomicUsize::new(0);
    let (start, used) = (Instant::now(), cpu()?);
    let each = futures::future::try_join_all((0..tasks).map(|_| {
        let next = &next;
        async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return Ok::<_, Failed>(times);
                }
                let start = Instant::now();
                tokio::spawn(work(number)).await??;
                times.push(start.elapsed());
            }
        }
    }))
    .await?;
    let whole = start.elapsed();
    println!(
        "{what}, {tasks} tasks: {:.0}/s, {}, {:.0} us of CPU here for each",
        count as f64 / whole.as_secs_f64(),
        percentiles(each.concat()),
        (cpu()? - used).as_secs_f64() * 1e6 / count as f64
    );
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
    format!("p50 {:.2?}, p99 {:.2?}", at(0.5), at(0.99))
}

async fn creates(client: &Client) -> Result<(), Failed> {
    for tasks in [1, 16, 64] {
        for connections in [1, 2, 4] {
            client.delete(&Span::prefix("/measure/")).await?;
            let clients: Arc<Vec<Client>> = Arc::new((0..connections).map(|_| client.separate()).collect());
            let alone = |number: usize| {
                let clients = clients.clone();
                async move {
                    let key = format!("/measure/pods/a/{number:06}").into_bytes();
                    let put = Op::Put { key: key.clone(), value: vec![b'x'; BYTES], lease: None };
                    let txn =
                        Txn { when: vec![Compare::absent(key)], then: vec![put], otherwise: Vec::new() };
                    clients[number % clients.len()].txn("write", Repeat::Refused, txn).await?;
                    Ok(())
                }
            };
            let count = if tasks == 1 { CREATES / 4 } else { CREATES };
            rate(&format!("create, etcd alone over {connections}"), tasks, count, alone).await?;
            let store = open(client, connections).await?;
            let ours = |number: usize| {
                let store = store.clone();
                async move {
                    store.create(&format!("pods/a/{number:06}"), vec![b'x'; BYTES], None).await?;
                    Ok(())
                }
            };
            rate(&format!("create, store over {connections}"), tasks, count, ours).await?;
        }
    }
    Ok(())
}

async fn reads(client: &Client) -> Result<(), Failed> {
    let store = open(client, 1).await?;
    for number in 0..1000 {
        store.create(&format!("pods/a/{number:06}"), vec![b'x'; BYTES], None).await?;
    }
    for tasks in [1, 16, 64] {
        let clients = client.separate();
        let alone = |number: usize| {
            let client = clients.clone();
            async move {
                client.get(format!("/measure/pods/a/{:06}", number % 1000)).await?;
                Ok(())
            }
        };
        rate("get, etcd alone", tasks, 5000, alone).await?;
        for (what, freshness) in [("latest", Freshness::Latest), ("any", Freshness::Any)] {
            let ours = |number: usize| {
                let store = store.clone();
                async move {
                    store.get(&format!("pods/a/{:06}", number % 1000), freshness).await?;
                    Ok(())
                }
            };
            rate(&format!("get, store, {what}"), tasks, 5000, ours).await?;
        }
    }
    Ok(())
}

async fn watchers(client: &Client) -> Result<(), Failed> {
    for count in [1, 100, 1000] {
        let store = open(client, 1).await?;
        let start = Instant::now();
        let first = store.revision();
        let watching: Vec<_> = (0..count)
            .map(|_| {
                let mut watcher = store.watch("pods/", first)?;
                Ok(tokio::spawn(async move {
                    let mut times = Vec::new();
                    while times.len() < 300 {
                        let event = watcher.next().await?;
                        // The time of the write is in the object.
                        let sent = event.object.bytes().first_chunk().copied().map_or(0, u64::from_le_bytes);
                        times.push(start.elapsed().saturating_sub(Duration::from_nanos(sent)));
                    }
                    Ok::<_, Failed>(times)
                }))
            })
            .collect::<Result<_, Failed>>()?;
        for number in 0..300 {
            let mut bytes = vec![b'x'; BYTES];
            bytes[..8].copy_from_slice(&u64::try_from(start.elapsed().as_nanos())?.to_le_bytes());
            store.create(&format!("pods/a/{number:06}"), bytes, None).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut all = Vec::new();
        for watcher in watching {
            all.extend(watcher.await??);
        }
        println!("write to event, {count} watchers: {}", percentiles(all));
    }
    Ok(())
}

async fn memory(client: &Client) -> Result<(), Failed> {
    for count in [10_000, 100_000] {
        client.delete(&Span::prefix("/measure/")).await?;
        for part in (0..count).collect::<Vec<usize>>().chunks(100) {
            let put = |number: &usize| Op::Put {
                key: format!("/measure/pods/namespace/name-of-a-pod-{number:06}").into_bytes(),
                value: vec![b'x'; BYTES],
                lease: None,
            };
            let txn = Txn { then: part.iter().map(put).collect(), ..Txn::default() };
            client.txn("write", Repeat::Safe, txn).await?;
        }
        let before = resident()?;
        let start = Instant::now();
        let store = again(client, 1).await?;
        let ready = start.elapsed();
        let grown = resident()?.saturating_sub(before);
        println!("{count} objects of {BYTES} bytes: ready after {ready:.2?}, {} bytes each", grown / count);
        let list = store.list("pods/", Freshness::Latest).await?;
        let start = Instant::now();
        let bytes: usize =
            list.iter().map(|object| object.form(Slot(1), || object.bytes().clone()).len()).sum();
        println!("a walk over all, with a form made for each: {:.2?} for {bytes} bytes", start.elapsed());
        let start = Instant::now();
        let bytes: usize = list.iter().map(|object| object.bytes().len()).sum();
        println!("a walk over all: {:.2?} for {bytes} bytes", start.elapsed());
    }
    Ok(())
}

/// Time that this process has run.
fn cpu() -> Result<Duration, Failed> {
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let time = |at: nix::sys::time::TimeVal| {
        Duration::from_secs(at.tv_sec().unsigned_abs()) + Duration::from_micros(at.tv_usec().unsigned_abs())
    };
    Ok(time(used.user_time()) + time(used.system_time()))
}

/// Bytes of memory of this process.
fn resident() -> Result<usize, Failed> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = text.split_whitespace().nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * 4096)
}
