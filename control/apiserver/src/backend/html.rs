//! Pages of backends: references in them that are absolute paths lead through this server again.
//!
//! Owns: which attributes are references, and where tags begin and end. It is no parser of HTML: what is no start tag is
//! handed on as it is, and so is all that cannot be understood.

use std::borrow::Cow;
use std::io::{Read, Write};

use apiclient_core::wire::Status;
use bytes::Bytes;
use control_core::refusal;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};

use super::rewrite::{Source, reference};
use crate::reply::{Body, whole};

/// Attributes that are references, by the names of their tags.
const REFERENCES: [(&str, &[&str]); 24] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
];
/// The same of `video`.
const OF_VIDEO: &[&str] = &["poster", "src"];
/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 8] = ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title"];
/// Pages up to this are rewritten, and larger ones handed on as they are. In bytes.
const MOST: usize = 16 << 20;

/// A body as the client gets it: where it is a page, with its references rewritten.
///
/// # Errors
/// The backend broke off.
pub async fn rewritten(headers: &mut HeaderMap, body: Body, source: &Source<'_>) -> Result<Body, Status> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_page = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim() == "text/html";
    let packed = match text(CONTENT_ENCODING) {
        "" => false,
        "gzip" => true,
        // Not understood, and so left alone.
        _ => return Ok(body),
    };
    if !is_page {
        return Ok(body);
    }
    let bytes = match read(body).await? {
        Page::Whole(bytes) => bytes,
        Page::Large(body) => return Ok(body),
    };
    let rewritten = match packed {
        true => unpacked(&bytes).and_then(|page| repacked(&page_of(&page, source))),
        false => Some(page_of(&bytes, source)),
    };
    let Some(page) = rewritten else { return Ok(whole(bytes)) };
    headers.insert(CONTENT_LENGTH, page.len().into());
    Ok(whole(page))
}

enum Page {
    Whole(Vec<u8>),
    /// As it came: what was read, and the rest.
    Large(Body),
}

async fn read(mut body: Body) -> Result<Page, Status> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| refusal::unavailable(format!("error trying to reach service: {error}")))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MOST {
            let first = futures::stream::once(std::future::ready(Ok(Frame::data(Bytes::from(bytes)))));
            return Ok(Page::Large(StreamBody::new(first.chain(BodyStream::new(body))).boxed_unsync()));
        }
    }
    Ok(Page::Whole(bytes))
}

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut page = Vec::new();
    let read = GzDecoder::new(bytes).take(MOST as u64 + 1).read_to_end(&mut page).ok()?;
    (read <= MOST).then_some(page)
}

fn repacked(page: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page).ok()?;
    encoder.finish().ok()
}

fn page_of(page: &[u8], source: &Source<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + page.len() / 8);
    let mut rest = page;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        let (before, tag) = rest.split_at(at);
        out.extend_from_slice(before);
        if tag.starts_with(b"<!--") {
            let end = find(tag, b"-->").map_or(tag.len(), |end| end + 3);
            let (comment, after) = tag.split_at(end);
            out.extend_from_slice(comment);
            rest = after;
            continue;
        }
        let Some((start, after)) = Tag::parse(tag) else {
            out.push(b'<');
            rest = tag.get(1..).unwrap_or_default();
            continue;
        };
        start.write(&mut out, source);
        rest = after;
        if RAW.contains(&start.name.as_str()) && !start.closed {
            let end = find_ignoring_case(rest, format!("</{}", start.name).as_bytes()).unwrap_or(rest.len());
            let (raw, after) = rest.split_at(end);
            out.extend_from_slice(raw);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    out
}

/// A start tag.
struct Tag {
    /// In lower case.
    name: String,
    /// Names in lower case, and values with their entities.
    attributes: Vec<(String, Option<String>)>,
    closed: bool,
}

impl Tag {
    /// A start tag, and what follows it; `None` where there is none that ends.
    fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = text.get(1..)?;
        if !rest.first()?.is_ascii_alphabetic() {
            return None;
        }
        let name = take(&mut rest, |byte| !byte.is_ascii_whitespace() && byte != b'>' && byte != b'/');
        let mut tag = Self { name: lower(name), attributes: Vec::new(), closed: false };
        loop {
            take(&mut rest, |byte| byte.is_ascii_whitespace());
            match *rest.first()? {
                b'>' => return Some((tag, rest.get(1..)?)),
                b'/' => {
                    rest = rest.get(1..)?;
                    tag.closed = rest.first() == Some(&b'>');
                    continue;
                }
                _ => {}
            }
            let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/' | b'=');
            let first = rest.get(..1)?.to_vec();
            rest = rest.get(1..)?;
            let name = [first, take(&mut rest, |byte| !ends(byte)).to_vec()].concat();
            let mut after = rest;
            take(&mut after, |byte| byte.is_ascii_whitespace());
            if after.first() != Some(&b'=') {
                tag.attributes.push((lower(&name), None));
                continue;
            }
            rest = after.get(1..)?;
            take(&mut rest, |byte| byte.is_ascii_whitespace());
            let value = match *rest.first()? {
                quote @ (b'"' | b'\'') => {
                    rest = rest.get(1..)?;
                    let value = take(&mut rest, |byte| byte != quote);
                    // Without its end it is no value.
                    rest = rest.get(1..)?;
                    value
                }
                _ => take(&mut rest, |byte| !byte.is_ascii_whitespace() && byte != b'>'),
            };
            tag.attributes.push((lower(&name), Some(String::from_utf8(value.to_vec()).ok()?)));
        }
    }

    fn write(&self, out: &mut Vec<u8>, source: &Source<'_>) {
        let known = REFERENCES.iter().find(|(name, _)| *name == self.name).map(|(_, attributes)| *attributes);
        let known = known.or((self.name == "video").then_some(OF_VIDEO)).unwrap_or_default();
        out.push(b'<');
        out.extend_from_slice(self.name.as_bytes());
        for (name, value) in &self.attributes {
            let value = value.as_deref().unwrap_or_default();
            let value = match known.contains(&name.as_str()) {
                true => Cow::Owned(reference(value, source)),
                false => Cow::Borrowed(value),
            };
            out.extend_from_slice(format!(" {name}=\"{}\"", value.replace('"', "&#34;")).as_bytes());
        }
        out.extend_from_slice(if self.closed { b"/>" } else { b">" });
    }
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// Takes the longest beginning whose bytes are all so.
fn take<'a>(rest: &mut &'a [u8], is: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|byte| !is(*byte)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn find_ignoring_case(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_pages_lead_through_this_server() {
        let source = Source { prefix: "/p", authority: "10.0.0.1:80", host: "server" };
        for (page, want) in [
            ("<A HREF='/x?a=1&amp;b'>x</A>", "<a href=\"/p/x?a=1&amp;b\">x</A>"),
            ("<a href=x>x</a>", "<a href=\"x\">x</a>"),
            ("<img src=\"http://10.0.0.1:80/i\"/>", "<img src=\"/p/i\"/>"),
            (
                "<script src=/s>if (a<b) '<a href=/x>'</script>",
                "<script src=\"/p/s\">if (a<b) '<a href=/x>'</script>",
            ),
            ("<!-- <a href='/x'> -->", "<!-- <a href='/x'> -->"),
            ("a < b <", "a < b <"),
            ("<a href='/x", "<a href='/x"),
            ("<p hidden title='\"'>", "<p hidden=\"\" title=\"&#34;\">"),
        ] {
            assert_eq!(String::from_utf8_lossy(&page_of(page.as_bytes(), &source)), want, "{page}");
        }
    }

    #[test]
    fn no_page_breaks_it() {
        let source = Source { prefix: "/p", authority: "a", host: "b" };
        for page in [
            "<",
            "<a",
            "<a ",
            "<a =",
            "<a b=",
            "<a b='",
            "<a/",
            "<!--",
            "<script",
            "<script>",
            "<a \u{e4}=1>",
        ] {
            let out = page_of(page.as_bytes(), &source);
            assert!(out.len() < page.len() + 16, "{page}");
        }
    }
}
