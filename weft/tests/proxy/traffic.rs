//! Traffic through services that is counted: new connections at a steady rate, and flows that last.
//! `tests/tests/peers_move.rs` takes it in too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::sys::socket::{setsockopt, sockopt};

/// New connections in a second, all together.
pub const RATE: u32 = 200;

/// Threads that connect.
const THREADS: u32 = 8;

/// How long an answer may take on a busy machine. What is lost comes never, or is sent again after a second or more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two questions of a flow that lasts.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers each line (port 9090), and each datagram (9091), with it and the pod's name, as long as this process lives.
pub fn echo(name: &'static str, place: &Namespace) {
    let bind = || (TcpListener::bind("[::]:9090").unwrap(), UdpSocket::bind("[::]:9091").unwrap());
    let (tcp, udp) = place.run(bind).unwrap();
    let talk = move |mut stream: TcpStream| -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        for line in lines {
            stream.write_all(format!("{} {name}\n", line?).as_bytes())?;
        }
        Ok(())
    };
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            // A client that goes away in the middle is its own affair.
            std::thread::spawn(move || _ = talk(stream));
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let text = format!("{} {name}", String::from_utf8_lossy(&buffer[..length]));
            let _ = udp.send_to(text.as_bytes(), from);
        }
    });
}

/// Runs from when it is made until [`Traffic::end`].
pub struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// New connections, each with a question and its answer.
    pub connections: usize,
    /// Questions on connections and sockets that lasted.
    pub questions: usize,
    pub failures: Vec<String>,
}

impl Traffic {
    /// From a namespace to addresses with [`echo`] behind them. Returns when it flows.
    pub fn start(client: &Namespace, tcp: &'static [&'static str], udp: &'static [&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let mut traffic = Self { stop, done, threads: Vec::new() };
        let begin = Instant::now();
        for nth in 0..THREADS {
            let done = traffic.done.clone();
            traffic.spawn(client, move |stop| connect_steadily(nth, tcp, begin, stop, &done));
        }
        for &to in tcp {
            traffic.spawn(client, move |stop| last(to, talk_tcp(to), stop));
        }
        for &to in udp {
            traffic.spawn(client, move |stop| last(to, talk_udp(to), stop));
        }
        traffic.flow();
        traffic
    }

    fn spawn(&mut self, client: &Namespace, work: impl FnOnce(&AtomicBool) -> Tally + Send + 'static) {
        let (client, stop) = (client.clone(), self.stop.clone());
        self.threads.push(std::thread::spawn(move || client.run(|| work(&stop)).unwrap()));
    }

    /// Waits for as many connections as a second has, from now on.
    pub fn flow(&self) {
        let from = self.done.load(Ordering::Relaxed);
        let end = Instant::now() + 3 * PATIENCE;
        loop {
            let now = self.done.load(Ordering::Relaxed) - from;
            if now >= RATE as usize {
                return;
            }
            assert!(Instant::now() < end, "{now} new connections in {:?}", 3 * PATIENCE);
            sleep(Duration::from_millis(5));
        }
    }

    pub fn end(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.threads.drain(..).map(|thread| thread.join().unwrap()) {
            all.connections += tally.connections;
            all.questions += tally.questions;
            all.failures.extend(tally.failures);
        }
        all
    }
}

/// Ends the threads also where the test fails.
impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One thread's share of the rate: what is late is made up for.
fn connect_steadily(nth: u32, tcp: &[&str], begin: Instant, stop: &AtomicBool, done: &AtomicUsize) -> Tally {
    let mut tally = Tally::default();
    let mut number = nth;
    while !stop.load(Ordering::Relaxed) {
        let at = begin + Duration::from_secs(1) * number / RATE;
        sleep(at.saturating_duration_since(Instant::now()));
        let to = tcp[number as usize / THREADS as usize % tcp.len()];
        let outcome = talk_tcp(to).and_then(|mut ask| ask("new"));
        if let Err(error) = outcome {
            tally.failures.push(format!("connection to {to} after {:?}: {error}", begin.elapsed()));
        }
        tally.connections += 1;
        done.fetch_add(1, Ordering::Relaxed);
        number += THREADS;
    }
    tally
}

/// Asks a question, and returns who answered.
type Ask = Box<dyn FnMut(&str) -> Result<String, String>>;

/// One connection, or one socket, for the whole time: the same pod answers.
fn last(to: &str, ask: Result<Ask, String>, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut who: Option<String> = None;
    let mut ask = match ask {
        Ok(ask) => ask,
        Err(error) => return Tally { failures: vec![format!("flow to {to}: {error}")], ..tally },
    };
    while !stop.load(Ordering::Relaxed) {
        tally.questions += 1;
        match ask(&tally.questions.to_string()) {
            Ok(pod) if who.as_ref().is_none_or(|who| *who == pod) => who = Some(pod),
            Ok(pod) => {
                tally.failures.push(format!("flow to {to}: {pod} answers in the place of {who:?}"));
                break;
            }
            Err(error) => {
                tally.failures.push(format!("flow to {to}, question {}: {error}", tally.questions));
                break;
            }
        }
        sleep(PAUSE);
    }
    tally
}

fn talk_tcp(to: &str) -> Result<Ask, String> {
    let text = |error: std::io::Error| error.to_string();
    let address: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    Ok(Box::new(move |question| {
        stream.write_all(format!("{question}\n").as_bytes()).map_err(text)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).map_err(text)?;
            answer.push(byte[0]);
        }
        who(question, String::from_utf8_lossy(&answer).trim_end())
    }))
}

/// Each datagram is sent once: one that is lost is a failure.
fn talk_udp(to: &str) -> Result<Ask, String> {
    let text = |error: std::io::Error| error.to_string();
    let from = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(from).map_err(text)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(1 << 20)).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    socket.connect(to).map_err(text)?;
    Ok(Box::new(move |question| {
        socket.send(question.as_bytes()).map_err(text)?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).map_err(text)?;
        who(question, &String::from_utf8_lossy(&buffer[..length]))
    }))
}

fn who(question: &str, answer: &str) -> Result<String, String> {
    let pod = answer.strip_prefix(question).ok_or_else(|| format!("{question:?} got {answer:?}"))?;
    Ok(pod.trim().to_owned())
}
