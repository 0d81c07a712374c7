//! Answers that are streams as messages of a WebSocket (RFC 6455): watches and logs, for browsers.
//!
//! Owns: the handshake, and frames. What clients send is read and thrown away, but for pings and the end.
//! Facts: the handshake of `golang.org/x/net/websocket`, and the original's `wsstream.Reader`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;

use crate::backend::forward;
use crate::call::Call;
use crate::reply::{Body, Response, Upgrading, whole};

/// What a stream becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Each piece is a message of text.
    Text,
    /// Each piece is a binary message, without its first bytes: those that say how long it is.
    Binary { without: usize },
    /// Bytes in messages of any size: binary ones, or base64 as text where the client asks for that.
    Reader,
    /// As [`Messages::Reader`], and base64 was asked for.
    Base64,
}

/// Pieces of logs are cut to this. In bytes.
const PIECE: usize = 2048;

/// The client asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let wanted = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    wanted.eq_ignore_ascii_case("websocket") && forward::is_upgrade(headers)
}

/// The answer to a handshake: what the client gets, and what it gets messages as.
#[derive(Debug, PartialEq, Eq)]
enum Handshake {
    Agreed { accept: String, protocol: Option<String>, messages: Messages },
    Refused(StatusCode),
}

/// Decides on a handshake. A watch needs an origin and takes at most one protocol, whichever it is; logs take the first
/// one that is known. That is how the original has it.
fn shake(method: &Method, headers: &HeaderMap, messages: Messages) -> Handshake {
    let text =
        |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let key = text(SEC_WEBSOCKET_KEY);
    if *method != Method::GET {
        return Handshake::Refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    if key.is_empty() || text(SEC_WEBSOCKET_VERSION) != "13" {
        return Handshake::Refused(StatusCode::BAD_REQUEST);
    }
    let protocols: Vec<&str> = text(SEC_WEBSOCKET_PROTOCOL)
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
        .collect();
    let secret = crate::authentication::bearer::WEBSOCKET_PREFIX;
    let protocols: Vec<&str> = protocols.into_iter().filter(|one| !one.starts_with(secret)).collect();
    let (protocol, messages) = match messages {
        Messages::Reader | Messages::Base64 => {
            let known = protocols.iter().find_map(|protocol| match *protocol {
                "binary.k8s.io" => Some((Some(*protocol), Messages::Reader)),
                "base64.binary.k8s.io" => Some((Some(*protocol), Messages::Base64)),
                _ => None,
            });
            match known {
                Some(known) => known,
                None if protocols.is_empty() => (None, Messages::Reader),
                None => return Handshake::Refused(StatusCode::FORBIDDEN),
            }
        }
        _ if text(ORIGIN).is_empty() => return Handshake::Refused(StatusCode::FORBIDDEN),
        messages => match protocols.as_slice() {
            [] => (None, messages),
            [one] => (Some(*one), messages),
            _ => return Handshake::Refused(StatusCode::BAD_REQUEST),
        },
    };
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes()));
    Handshake::Agreed { accept, protocol: protocol.map(str::to_owned), messages }
}

/// The stream as messages of a WebSocket, where the client's handshake is one.
pub fn serve(call: &Call, body: Body, messages: Messages) -> Response {
    let refuse = |status| {
        let mut response = Response::new(whole(""));
        *response.status_mut() = status;
        response.extensions_mut().insert(Upgrading);
        response
    };
    let Some(client) = call.wire.upgrade.clone() else { return refuse(StatusCode::INTERNAL_SERVER_ERROR) };
    let (accept, protocol, messages) = match shake(&call.method, &call.headers, messages) {
        Handshake::Refused(status) => return refuse(status),
        Handshake::Agreed { accept, protocol, messages } => (accept, protocol, messages),
    };
    tokio::spawn(async move {
        match client.await {
            Ok(stream) => pump(TokioIo::new(stream), body, messages).await,
            Err(error) => tracing::debug!(%error, "a WebSocket did not come about"),
        }
    });
    let mut response = refuse(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    for (name, value) in [(SEC_WEBSOCKET_ACCEPT, Some(accept)), (SEC_WEBSOCKET_PROTOCOL, protocol)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A whole message in one frame; servers do not mask.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The frames that a piece of a stream becomes.
fn frames(piece: &Bytes, messages: Messages) -> Vec<u8> {
    match messages {
        Messages::Text => frame(TEXT, piece),
        Messages::Binary { without } => frame(BINARY, piece.get(without..).unwrap_or_default()),
        Messages::Reader => piece.chunks(PIECE).flat_map(|piece| frame(BINARY, piece)).collect(),
        Messages::Base64 => {
            piece.chunks(PIECE).flat_map(|piece| frame(TEXT, STANDARD.encode(piece).as_bytes())).collect()
        }
    }
}

/// Until the stream ends or the client does.
async fn pump(stream: impl AsyncRead + AsyncWrite, mut body: Body, messages: Messages) {
    let (reader, mut writer) = split(stream);
    let (pings, mut pinged) = mpsc::channel(1);
    let reading = ignore(reader, pings);
    tokio::pin!(reading);
    let first = match messages {
        Messages::Reader => frame(BINARY, b""),
        Messages::Base64 => frame(TEXT, b""),
        _ => Vec::new(),
    };
    let mut written = writer.write_all(&first).await;
    while written.is_ok() {
        written = tokio::select! {
            () = &mut reading => break,
            Some(ping) = pinged.recv() => writer.write_all(&frame(PONG, &ping)).await,
            piece = body.frame() => match piece {
                Some(Ok(piece)) => match piece.into_data() {
                    Ok(piece) => writer.write_all(&frames(&piece, messages)).await,
                    Err(_) => Ok(()),
                },
                Some(Err(_)) | None => break,
            },
        };
        if written.is_ok() {
            written = writer.flush().await;
        }
    }
    // 1000: a normal end.
    let _ = writer.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).await;
    let _ = writer.shutdown().await;
}

/// Reads what the client sends, to its end. Pings are handed on where there is room; others count as answered.
async fn ignore(mut reader: impl AsyncRead + Unpin, pings: mpsc::Sender<Vec<u8>>) {
    while let Ok((opcode, payload)) = read(&mut reader).await {
        match opcode {
            CLOSE => return,
            PING => drop(pings.try_send(payload)),
            _ => {}
        }
    }
}

/// The next frame's kind, and its content where it is a control frame (at most 125 bytes).
async fn read(reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let (first, second) = (reader.read_u8().await?, reader.read_u8().await?);
    let length = match second & 0x7f {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        reader.read_exact(&mut mask).await?;
    }
    let opcode = first & 0x0f;
    if opcode < CLOSE || length > 125 {
        let thrown_away = tokio::io::copy(&mut (&mut *reader).take(length), &mut tokio::io::sink()).await?;
        return match thrown_away == length {
            true => Ok((opcode & 7, Vec::new())),
            false => Err(std::io::ErrorKind::UnexpectedEof.into()),
        };
    }
    let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
    reader.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((opcode, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use tokio::io::duplex;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let own = [(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="), (SEC_WEBSOCKET_VERSION, "13")];
        let all = own.iter().chain(pairs);
        all.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_handshake_is_that_of_the_standard() {
        let origin = (ORIGIN, "http://a");
        let found = shake(&Method::GET, &headers(std::slice::from_ref(&origin)), Messages::Text);
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(found, Handshake::Agreed { accept, protocol: None, messages: Messages::Text });
        let refused = |pairs: &[_], messages| shake(&Method::GET, &headers(pairs), messages);
        assert_eq!(refused(&[], Messages::Text), Handshake::Refused(StatusCode::FORBIDDEN));
        let two = (SEC_WEBSOCKET_PROTOCOL, "a, b");
        assert_eq!(refused(&[origin, two], Messages::Text), Handshake::Refused(StatusCode::BAD_REQUEST));
        let unknown = (SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io");
        assert_eq!(refused(&[unknown], Messages::Reader), Handshake::Refused(StatusCode::FORBIDDEN));
        let base64 = (SEC_WEBSOCKET_PROTOCOL, "x, base64.binary.k8s.io");
        let Handshake::Agreed { messages, protocol, .. } = refused(&[base64], Messages::Reader) else {
            panic!("refused")
        };
        assert_eq!((messages, protocol.as_deref()), (Messages::Base64, Some("base64.binary.k8s.io")));
    }

    #[test]
    fn frames_have_the_length_of_their_message() {
        assert_eq!(frame(TEXT, b"ab"), [0x81, 2, b'a', b'b']);
        assert_eq!(frame(BINARY, &[0; 200])[..4], [0x82, 126, 0, 200]);
        assert_eq!(frame(BINARY, &vec![0; 70_000])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        let piece = Bytes::from_static(b"\0\0\0\x02ab");
        assert_eq!(frames(&piece, Messages::Binary { without: 4 }), [0x82, 2, b'a', b'b']);
        assert_eq!(frames(&Bytes::from(vec![0; PIECE + 1]), Messages::Reader).len(), 4 + PIECE + 3);
    }

    #[tokio::test]
    async fn a_client_that_closes_ends_the_stream_and_pings_are_answered() {
        let (mut client, server) = duplex(1 << 10);
        let never = http_body_util::StreamBody::new(futures::stream::pending()).boxed_unsync();
        let pumping = tokio::spawn(pump(server, never, Messages::Text));
        // A masked ping of "hi", a masked message, a masked end.
        client.write_all(&[0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.expect("open");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.expect("a pong");
        assert_eq!(answer, [0x8a, 2, b'h', b'i']);
        client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x', 0x88, 0x80, 0, 0, 0, 0]).await.expect("open");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the end");
        assert_eq!(rest, [0x88, 2, 3, 0xe8]);
        pumping.await.expect("no panic");
    }
}
