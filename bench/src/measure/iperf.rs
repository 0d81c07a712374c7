//! TCP and UDP throughput by iperf3. What counts is what the server received after the first second.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Path, failed};
use host::programs;
use lab::LabError;

/// The first second of a test does not count: slow start, and buffers that fill up.
pub const OMITTED_SECONDS: u32 = 1;

/// What iperf3 may take on top of its test: to connect, and to exchange results behind a full queue.
const PATIENCE: Duration = Duration::from_secs(15);

/// iperf3's port, 5201, as `/proc/net/tcp` shows it, and the state LISTEN.
const LISTENING: (&str, &str) = ("1451", "0A");

/// One TCP test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tcp {
    pub gigabits_per_second: f64,
    pub retransmits: f64,
    /// Everything received, the omitted second too: what the CPU time of the whole test was spent on.
    pub gigabits: f64,
}

/// TCP in `streams` parallel streams.
///
/// # Errors
/// iperf3 fails or does not end.
pub fn tcp(path: &Path, streams: u32, seconds: u32) -> Result<Tcp, LabError> {
    let (client, server) = run(path, seconds, &["-P".to_owned(), streams.to_string()])?;
    let received = client_and_server(&client, &server)?;
    let retransmits = parse(&client)?.end.sum_sent.and_then(|sum| sum.retransmits);
    Ok(Tcp {
        gigabits_per_second: received.bits_per_second()? / 1e9,
        retransmits: retransmits.ok_or_else(|| failed("iperf3", "its report has no retransmits"))?,
        gigabits: received.all_bytes * 8.0 / 1e9,
    })
}

/// UDP datagrams of `size` bytes received in a second, while one sender sends as fast as it can.
///
/// # Errors
/// iperf3 fails or does not end.
pub fn udp(path: &Path, size: u32, seconds: u32) -> Result<f64, LabError> {
    let (client, server) =
        run(path, seconds, &["-u", "-b", "0", "-l", &size.to_string()].map(str::to_owned))?;
    let received = client_and_server(&client, &server)?;
    Ok(received.bits_per_second()? / 8.0 / f64::from(size))
}

/// One test from beginning to end: what the client and what the server reported.
fn run(path: &Path, seconds: u32, arguments: &[String]) -> Result<(String, String), LabError> {
    let server = Server::start(path)?;
    let limit = Duration::from_secs(u64::from(seconds + OMITTED_SECONDS)) + PATIENCE;
    let argv = ["iperf3", "-J", "-c", &path.address.to_string()].map(str::to_owned);
    let times = ["-t", &seconds.to_string(), "-O", &OMITTED_SECONDS.to_string()].map(str::to_owned);
    let argv = argv.into_iter().chain(times).chain(arguments.iter().cloned());
    let client = programs::run(&programs::inside(&path.from, argv).time_limit(limit))?;
    if !client.status.success() {
        // With -J the reason is in the report, not on standard error.
        let reason = serde_json::from_str::<Report>(&client.stdout).ok().and_then(|report| report.error);
        return Err(failed("iperf3", reason.unwrap_or_else(|| client.stderr.trim().to_owned())));
    }
    Ok((client.stdout, server.report()?))
}

/// A server for one test; killed when it is dropped.
struct Server(Child);

impl Server {
    /// Starts it and waits until it listens.
    fn start(path: &Path) -> Result<Self, LabError> {
        let mut command = path.to.command("iperf3");
        command.args(["-s", "-1", "-J"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(LabError::io("start", "iperf3"))?;
        let server = Self(child);
        let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{}/net/{table}", server.0.id()));
        let listening = programs::wait_for(Instant::now() + PATIENCE, || {
            let text =
                tables.iter().filter_map(|table| std::fs::read_to_string(table).ok()).collect::<String>();
            Ok::<_, LabError>(listens(&text).then_some(()))
        })?;
        listening.ok_or_else(|| failed("the iperf3 server", "it does not listen"))?;
        Ok(server)
    }

    /// Waits for its end, which follows that of the client.
    fn report(mut self) -> Result<String, LabError> {
        let mut stdout =
            self.0.stdout.take().ok_or_else(|| failed("the iperf3 server", "it has no output"))?;
        // The pipe holds a report of any length that we ask for, but not one of many streams for a minute.
        let reader = std::thread::spawn(move || std::io::read_to_string(&mut stdout));
        programs::wait_for(Instant::now() + PATIENCE, || {
            self.0.try_wait().map_err(LabError::io("wait for", "iperf3"))
        })?
        .ok_or_else(|| failed("the iperf3 server", "it does not end after the test"))?;
        let text = reader.join().map_err(|_| failed("the iperf3 server", "its output was not read"))?;
        text.map_err(LabError::io("read from", "iperf3"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already after a test that went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens(proc_net_tcp: &str) -> bool {
    proc_net_tcp.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next().and_then(|local| local.rsplit(':').next());
        (local, words.nth(1)) == (Some(LISTENING.0), Some(LISTENING.1))
    })
}

/// The parts of iperf3's JSON that we read; the same for client and server (3.9 to 3.18).
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    intervals: Vec<Interval>,
    #[serde(default)]
    end: End,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Interval {
    sum: Sum,
}

#[derive(Debug, Default, Deserialize)]
struct End {
    sum_sent: Option<Sum>,
}

#[derive(Debug, Deserialize)]
struct Sum {
    seconds: f64,
    bytes: f64,
    #[serde(default)]
    omitted: bool,
    retransmits: Option<f64>,
}

/// What a server received.
///
/// The totals at the end of iperf3's UDP report count the omitted second for some fields and not for others (seen with
/// 3.12), so we add up the intervals.
#[derive(Debug, Default, PartialEq)]
struct Received {
    bytes: f64,
    seconds: f64,
    all_bytes: f64,
}

impl Received {
    fn of(report: &Report) -> Self {
        report.intervals.iter().fold(Self::default(), |mut received, Interval { sum }| {
            received.all_bytes += sum.bytes;
            if !sum.omitted {
                received.bytes += sum.bytes;
                received.seconds += sum.seconds;
            }
            received
        })
    }

    fn bits_per_second(&self) -> Result<f64, LabError> {
        if self.seconds > 0.0 {
            Ok(self.bytes * 8.0 / self.seconds)
        } else {
            Err(failed("iperf3", "its report has no interval that counts"))
        }
    }
}

fn client_and_server(client: &str, server: &str) -> Result<Received, LabError> {
    for report in [parse(client)?, parse(server)?] {
        if let Some(error) = report.error {
            return Err(failed("iperf3", error));
        }
    }
    Ok(Received::of(&parse(server)?))
}

fn parse(text: &str) -> Result<Report, LabError> {
    serde_json::from_str(text).map_err(|error| failed("iperf3's report", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shortened from iperf 3.12, -O 1 -t 2.
    const SERVER: &str = r#"{
        "intervals": [
            {"streams": [], "sum": {"start": 0, "end": 1.0, "seconds": 1.0, "bytes": 14463872, "omitted": true, "sender": false}},
            {"streams": [], "sum": {"start": 0, "end": 1.0, "seconds": 1.0, "bytes": 8960000, "omitted": false, "sender": false}},
            {"streams": [], "sum": {"start": 1, "end": 2.0, "seconds": 1.0, "bytes": 8320000, "omitted": false, "sender": false}}
        ],
        "end": {"sum": {"seconds": 2.0, "bytes": 0, "lost_packets": 538667, "packets": 806135}}
    }"#;
    const CLIENT: &str = r#"{
        "intervals": [],
        "end": {"sum_sent": {"seconds": 1.999, "bytes": 6354370560, "retransmits": 17, "sender": true}}
    }"#;

    #[test]
    fn only_what_the_server_received_after_the_omitted_second_counts() {
        let received = client_and_server(CLIENT, SERVER).unwrap();
        assert_eq!(received, Received { bytes: 17_280_000.0, seconds: 2.0, all_bytes: 31_743_872.0 });
        assert_eq!(received.bits_per_second().unwrap() / 8.0 / 64.0, 135_000.0);
        assert_eq!(parse(CLIENT).unwrap().end.sum_sent.unwrap().retransmits, Some(17.0));
    }

    #[test]
    fn an_error_in_either_report_is_the_reason() {
        let broken =
            r#"{"start": {}, "intervals": [], "end": {}, "error": "control socket has closed unexpectedly"}"#;
        for (client, server) in [(broken, SERVER), (CLIENT, broken)] {
            let error = client_and_server(client, server).unwrap_err().to_string();
            assert_eq!(error, "iperf3: control socket has closed unexpectedly");
        }
        assert!(Received::default().bits_per_second().is_err());
    }

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let line = |local: &str, state: &str| {
            format!("{head}   0: {local} 00000000:0000 {state} 00000000:00000000\n")
        };
        assert!(listens(&line("00000000:1451", "0A")));
        assert!(listens(&line("00000000000000000000000000000000:1451", "0A")));
        assert!(!listens(&line("0100007F:1451", "01")));
        assert!(!listens(&line("0100007F:1452", "0A")));
        assert!(!listens(head));
    }
}
