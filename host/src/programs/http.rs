//! One HTTP GET over a socket that was opened inside a namespace.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::netns::Namespace;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(3);
/// More than any metrics page of ours.
const LARGEST: u64 = 16 << 20;

/// Asks for `path`; gives the status and the body.
pub fn get(namespace: &Namespace, address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream =
        namespace.run(|| TcpStream::connect_timeout(&address, LIMIT)).map_err(io::Error::other)??;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // 1.0, so that the answer comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(LARGEST).read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(answer: &str) -> io::Result<(u16, String)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {:?}", answer.lines().next()));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or_else(bad)?;
    Ok((status.parse().map_err(|_| bad())?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_status_and_the_body() {
        assert_eq!(parse("HTTP/1.1 503 Not yet\r\nA: b\r\n\r\nwait\n").unwrap(), (503, "wait\n".to_owned()));
        assert!(parse("SSH-2.0-OpenSSH").is_err());
    }

    #[test]
    fn asks_a_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok").unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let here = Namespace::current().unwrap();
        assert_eq!(get(&here, address, "/readyz").unwrap(), (200, "ok".to_owned()));
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.0\r\n"));
    }
}
