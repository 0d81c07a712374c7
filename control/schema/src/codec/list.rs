//! Bodies of lists, made of objects that are encoded already.

use super::json::string;
use super::protobuf::{bytes_size, end_envelope, open, open_envelope, put_bytes, put_varint};

/// `metadata` of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    pub resource_version: &'a str,
    /// Empty for the last page.
    pub next: &'a str,
    /// How many items come after this page, where that is known.
    pub remaining: Option<i64>,
}

/// A list in JSON of items as [`super::json::encode`] writes them; they lose kind and apiVersion where those come first
/// in them, as items of the original's lists do. `kind` is the list's: `PodList`. Ends with a newline.
pub fn json<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let items: Vec<&[u8]> = items.into_iter().collect();
    let mut out = Vec::with_capacity(room(&items));
    out.extend_from_slice(b"{\"kind\":");
    string(kind, &mut out);
    out.extend_from_slice(b",\"apiVersion\":");
    string(api_version, &mut out);
    out.extend_from_slice(b",\"metadata\":{");
    let mut first = true;
    let mut member = |name: &str, out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
    };
    if !meta.resource_version.is_empty() {
        member("resourceVersion", &mut out);
        string(meta.resource_version, &mut out);
    }
    if !meta.next.is_empty() {
        member("continue", &mut out);
        string(meta.next, &mut out);
    }
    if let Some(remaining) = meta.remaining {
        member("remainingItemCount", &mut out);
        out.extend_from_slice(remaining.to_string().as_bytes());
    }
    out.extend_from_slice(b"},\"items\":[");
    let mut prefix = Vec::new();
    prefix.extend_from_slice(b"{\"kind\":");
    // Items say their kind only where it is not that of the list: metadata of any kind does.
    let strips = kind != "PartialObjectMetadataList";
    string(kind.strip_suffix("List").unwrap_or(kind), &mut prefix);
    prefix.extend_from_slice(b",\"apiVersion\":");
    string(api_version, &mut prefix);
    put_items(&items, &mut out, |item, out| match item.strip_prefix(&*prefix).filter(|_| strips) {
        Some(rest) => {
            out.push(b'{');
            out.extend_from_slice(rest.strip_prefix(b",").unwrap_or(rest));
        }
        None => out.extend_from_slice(item),
    });
    out.extend_from_slice(b"]}\n");
    out
}

/// A list in JSON whose fields are in the order of their names and whose items keep kind and apiVersion, as those of
/// kinds defined at run time are. Ends with a newline.
pub fn json_sorted<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let items: Vec<&[u8]> = items.into_iter().collect();
    let mut out = Vec::with_capacity(room(&items));
    out.extend_from_slice(b"{\"apiVersion\":");
    string(api_version, &mut out);
    out.extend_from_slice(b",\"items\":[");
    put_items(&items, &mut out, |item, out| out.extend_from_slice(item));
    out.extend_from_slice(b"],\"kind\":");
    string(kind, &mut out);
    out.extend_from_slice(b",\"metadata\":{\"continue\":");
    string(meta.next, &mut out);
    if let Some(remaining) = meta.remaining {
        out.extend_from_slice(b",\"remainingItemCount\":");
        out.extend_from_slice(remaining.to_string().as_bytes());
    }
    out.extend_from_slice(b",\"resourceVersion\":");
    string(meta.resource_version, &mut out);
    out.extend_from_slice(b"}}\n");
    out
}

/// A list in protobuf, in its envelope, of items as [`super::protobuf::encode`] writes them. Items that are no such
/// objects are left out.
pub fn protobuf<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let raws: Vec<&[u8]> =
        items.into_iter().filter_map(|item| open(item).ok()).map(|item| item.raw).collect();
    let mut head = Vec::new();
    // ListMeta: selfLink, which nobody sets, is there for it is no pointer.
    put_bytes(1, b"", &mut head);
    put_bytes(2, meta.resource_version.as_bytes(), &mut head);
    put_bytes(3, meta.next.as_bytes(), &mut head);
    if let Some(remaining) = meta.remaining {
        head.push(4 << 3);
        put_varint(remaining.cast_unsigned(), &mut head);
    }
    let size: usize = [&*head].iter().chain(&raws).map(|raw| bytes_size(raw.len())).sum();
    let mut out = Vec::with_capacity(size + 64 + api_version.len() + kind.len());
    open_envelope(api_version, kind, &mut out);
    put_varint(size as u64, &mut out);
    put_bytes(1, &head, &mut out);
    for raw in raws {
        put_bytes(2, raw, &mut out);
    }
    end_envelope(&mut out);
    out
}

/// Items with commas between them, each without the newline at its end.
fn put_items(items: &[&[u8]], out: &mut Vec<u8>, put: impl Fn(&[u8], &mut Vec<u8>)) {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        put(item.strip_suffix(b"\n").unwrap_or(item), out);
    }
}

/// Room for a list of these items and what is around them.
fn room(items: &[&[u8]]) -> usize {
    items.iter().map(|item| item.len() + 1).sum::<usize>() + 512
}
