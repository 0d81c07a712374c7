//! The idle round trip, by ping.

use std::time::Duration;

use super::{Path, failed};
use host::programs;
use lab::LabError;

/// Microseconds: the average round trip of `count` echo requests, one every 5 ms.
///
/// # Errors
/// ping fails, or an echo is lost: nothing else is under way, so none should be.
pub fn average(path: &Path, count: u32) -> Result<f64, LabError> {
    let address = path.address.to_string();
    let argv =
        ["ping", "-q", "-n", "-i", "0.005", "-c", &count.to_string(), "-W", "1", &address].map(str::to_owned);
    let limit = Duration::from_millis(u64::from(count) * 10) + Duration::from_secs(10);
    let text = programs::run(&programs::inside(&path.from, argv).time_limit(limit))?.ok()?;
    parse(&text).ok_or_else(|| failed("ping", format!("not every echo was answered: {}", text.trim())))
}

/// One echo, to see whether the path is there.
pub fn answers(path: &Path) -> Result<bool, LabError> {
    let address = path.address.to_string();
    let argv = ["ping", "-q", "-n", "-c", "1", "-W", "1", &address].map(str::to_owned);
    Ok(programs::run(&programs::inside(&path.from, argv))?.status.success())
}

fn parse(text: &str) -> Option<f64> {
    if !text.contains(" 0% packet loss") {
        return None;
    }
    let (_, values) = text.lines().find(|line| line.starts_with("rtt "))?.split_once(" = ")?;
    let average: f64 = values.split('/').nth(1)?.parse().ok()?;
    Some(average * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPUTILS: &str = "PING 10.244.2.2 (10.244.2.2) 56(84) bytes of data.\n\n\
        --- 10.244.2.2 ping statistics ---\n\
        300 packets transmitted, 300 received, 0% packet loss, time 1495ms\n\
        rtt min/avg/max/mdev = 0.016/0.018/0.061/0.004 ms\n";

    #[test]
    fn the_average_is_in_microseconds() {
        let average = parse(IPUTILS).unwrap();
        assert!((average - 18.0).abs() < 1e-9, "{average}");
    }

    #[test]
    fn a_lost_echo_makes_it_worthless() {
        assert_eq!(parse(&IPUTILS.replace("300 received, 0%", "297 received, 1%")), None);
        assert_eq!(parse(&IPUTILS.replace("300 received, 0%", "0 received, 100%")), None);
        assert_eq!(parse(""), None);
    }
}
