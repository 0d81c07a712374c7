//! The process that answers in every pod: by TCP (HTTP) and UDP, with the pod's name and the address that it sees
//! the client have.
//!
//! One process for a whole lab: its sockets are inside the pods, itself is in the hub.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use host::netns::Namespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::error::LabError;
use crate::lab::Lab;
use crate::services::ANSWER_PORT;

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any request needs.
const LARGEST: usize = 16 << 10;

/// Answers in every pod of the lab, until the process ends.
///
/// # Errors
/// A socket that cannot be opened.
pub fn answer(lab: &Lab) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LabError::io("start", "the answers"))?;
    runtime.block_on(async {
        for pod in lab.pods() {
            let name: Arc<str> = pod.name().into();
            let (tcp, udp) = open(pod.namespace()).map_err(LabError::io("open sockets in", pod.name()))?;
            tokio::spawn(serve_tcp(tcp, Arc::clone(&name)));
            tokio::spawn(serve_udp(udp, name));
        }
        telemetry::say!("answering in {} pods", lab.pods().count());
        std::future::pending().await
    })
}

/// Of both families: a socket at `[::]` takes IPv4 too (`bindv6only` of a new namespace is 0).
fn open(namespace: &Namespace) -> io::Result<(TcpListener, UdpSocket)> {
    let sockets = namespace.run(|| {
        let bind = |everywhere: IpAddr| {
            let place = SocketAddr::from((everywhere, ANSWER_PORT));
            Ok::<_, io::Error>((std::net::TcpListener::bind(place)?, std::net::UdpSocket::bind(place)?))
        };
        // A kernel without IPv6 has no [::].
        bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| bind(Ipv4Addr::UNSPECIFIED.into()))
    });
    let (tcp, udp) = sockets.map_err(io::Error::other)??;
    tcp.set_nonblocking(true)?;
    udp.set_nonblocking(true)?;
    Ok((TcpListener::from_std(tcp)?, UdpSocket::from_std(udp)?))
}

/// What a client is told.
fn words(pod: &str, client: SocketAddr) -> String {
    format!("{pod} {}\n", plain(client.ip()))
}

/// An IPv4 client of a socket for both families looks like `::ffff:10.0.0.1`.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

async fn serve_tcp(listener: TcpListener, pod: Arc<str>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let words = words(&pod, client);
                tokio::spawn(async move {
                    // A client that leaves early needs no answer.
                    let _ = tokio::time::timeout(PATIENCE, reply(stream, &words)).await;
                });
            }
            // Out of files, perhaps: a moment later some are free again.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Reads a request of HTTP to its end, and answers.
async fn reply(mut stream: TcpStream, words: &str) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|part| part == b"\r\n\r\n") && request.len() < LARGEST {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{words}", words.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn serve_udp(socket: UdpSocket, pod: Arc<str>) {
    let mut buffer = [0; 2048];
    loop {
        // An error here is an ICMP message about an earlier answer.
        if let Ok((_, client)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(words(&pod, client).as_bytes(), client).await;
        }
    }
}
