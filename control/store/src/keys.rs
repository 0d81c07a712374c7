//! Keys as etcd has them, and as the store's callers see them.

use etcd::Span;

/// The registry's prefix, with its slash: `/registry/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    /// `prefix` with or without a slash at its end.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{}/", prefix.trim_end_matches('/')).into() }
    }

    /// A key as etcd has it.
    pub(crate) fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// A key without the prefix; None for others' keys, and for one that is no text and so no object's.
    pub(crate) fn strip<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// All keys with a prefix of ours.
    pub(crate) fn span(&self, prefix: &str) -> Span {
        Span::prefix(self.key(prefix))
    }

    /// All keys under the registry's prefix but for those with one of these (which are not within each other).
    pub(crate) fn spans(&self, but: &[Box<str>]) -> Vec<Span> {
        let mut gaps: Vec<_> = but.iter().map(|prefix| self.key(prefix)).collect();
        gaps.sort();
        let mut spans = Vec::new();
        let mut start = self.key("");
        for gap in gaps {
            spans.push(Span::Between(start, gap.clone()));
            start = behind(gap);
        }
        spans.push(Span::Between(start, behind(self.key(""))));
        spans
    }
}

/// The first key behind all that begin with a prefix. Ours all end with a slash.
pub(crate) fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_seen_without_the_prefix() {
        let keys = Keys::new("/registry/");
        assert_eq!(keys.key("pods/a/b"), b"/registry/pods/a/b");
        assert_eq!(keys.strip(b"/registry/pods/a/b"), Some("pods/a/b"));
        for foreign in [&b"/registr"[..], b"/coreos.com/network/config", b"/registry/\xff"] {
            assert_eq!(keys.strip(foreign), None);
        }
    }

    #[test]
    fn spans_leave_out_what_is_served_from_etcd() {
        let between = |first: &str, end: &str| Span::Between(first.into(), end.into());
        let keys = Keys::new("/r");
        assert_eq!(keys.spans(&[]), [between("/r/", "/r0")]);
        assert_eq!(
            keys.spans(&["events/".into(), "a/".into()]),
            [between("/r/", "/r/a/"), between("/r/a0", "/r/events/"), between("/r/events0", "/r0")]
        );
    }
}
