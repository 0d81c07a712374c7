//! Keys and values: read, listed in pages, written on conditions.

use std::sync::Arc;

use etcd_client::{DeleteOptions, GetOptions, PutOptions, ResponseHeader, TxnOp, TxnOpResponse};

use crate::Client;
use crate::connection::Repeat;
use crate::error::EtcdError;
use crate::lease::LeaseId;

/// Room for one answer. A page of the largest values that etcd takes is smaller.
pub(crate) const ANSWER_LIMIT: usize = 64 << 20;
/// Keys asked for at once when everything is listed: some hundred kilobytes of leases, and an etcd that stays
/// responsive to others.
const PAGE: i64 = 2000;

/// Where and when etcd answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Another cluster has another id; one that was made again with the same members has the same.
    pub cluster: u64,
    pub member: u64,
    /// Counts every change of the whole store, from 1.
    pub revision: i64,
}

impl Header {
    pub(crate) fn of(header: Option<&ResponseHeader>) -> Self {
        header.map_or_else(Self::default, |header| Self {
            cluster: header.cluster_id(),
            member: header.member_id(),
            revision: header.revision(),
        })
    }
}

/// One key as etcd stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub create_revision: i64,
    /// Revision of the last write.
    pub mod_revision: i64,
    /// Writes since the key was created, from 1.
    pub version: i64,
    /// The lease that the key lives and dies with.
    pub lease: Option<LeaseId>,
}

impl KeyValue {
    pub(crate) fn of(kv: etcd_client::KeyValue) -> Self {
        let (create_revision, mod_revision, version) =
            (kv.create_revision(), kv.mod_revision(), kv.version());
        let lease = LeaseId::new(kv.lease());
        let (key, value) = kv.into_key_value();
        Self { key, value, create_revision, mod_revision, version, lease }
    }
}

/// Which keys are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    Key(Vec<u8>),
    /// All keys that begin with this.
    Prefix(Vec<u8>),
    /// From the first key to before the second.
    Between(Vec<u8>, Vec<u8>),
}

impl Span {
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self::Key(key.into())
    }

    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// First key, and the one behind the last: None for a single key; `\0` for no end, as in etcd's protocol.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Key(key) => (key.clone(), None),
            Self::Prefix(prefix) if prefix.is_empty() => (vec![0], Some(vec![0])),
            Self::Prefix(prefix) => (prefix.clone(), Some(behind(prefix))),
            Self::Between(first, end) => (first.clone(), Some(end.clone())),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Key(key) => text(key),
            Self::Prefix(prefix) => format!("{}*", text(prefix)),
            Self::Between(first, end) => format!("{} to {}", text(first), text(end)),
        }
    }
}

/// The first key behind all that begin with a prefix.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(crate) fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// A question for keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub span: Span,
    /// At most so many keys; 0: all, in one answer.
    pub limit: i64,
    /// As of this revision; 0: now.
    pub revision: i64,
    /// Only keys written at this revision or later; 0: all. etcd reads all of the span even so, and
    /// [`Page::count`] counts it all.
    pub min_mod_revision: i64,
    pub keys_only: bool,
    pub count_only: bool,
    /// One member's own view, which may be old: cheaper, and works without a majority.
    pub serializable: bool,
}

impl Range {
    pub fn of(span: Span) -> Self {
        Self {
            span,
            limit: 0,
            revision: 0,
            min_mod_revision: 0,
            keys_only: false,
            count_only: false,
            serializable: false,
        }
    }

    fn options(&self, end: Option<Vec<u8>>) -> GetOptions {
        let mut options = GetOptions::new().with_limit(self.limit).with_revision(self.revision);
        if let Some(end) = end {
            options = options.with_range(end);
        }
        if self.min_mod_revision != 0 {
            options = options.with_min_mod_revision(self.min_mod_revision);
        }
        if self.keys_only {
            options = options.with_keys_only();
        }
        if self.count_only {
            options = options.with_count_only();
        }
        if self.serializable {
            options = options.with_serializable();
        }
        options
    }
}

/// Keys at one revision, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `revision` is the store's at the time of the answer, also where an older one was asked for.
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    /// There are more behind the last one.
    pub more: bool,
    /// How many there are in the whole range.
    pub count: i64,
}

/// What must be true for a transaction's first branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key's last write was at this revision; 0: there is no such key.
    ModRevision { key: Vec<u8>, is: i64 },
    /// The key has been written so often since it was created; 0: there is no such key.
    Version { key: Vec<u8>, is: i64 },
}

impl Compare {
    pub fn mod_revision(key: impl Into<Vec<u8>>, is: i64) -> Self {
        Self::ModRevision { key: key.into(), is }
    }

    pub fn absent(key: impl Into<Vec<u8>>) -> Self {
        Self::mod_revision(key, 0)
    }
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Get(Vec<u8>),
    Put { key: Vec<u8>, value: Vec<u8>, lease: Option<LeaseId> },
    Delete(Vec<u8>),
}

/// `then` if all of `when` holds, else `otherwise`; at one revision, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub when: Vec<Compare>,
    pub then: Vec<Op>,
    pub otherwise: Vec<Op>,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    pub header: Header,
    /// `when` held, and `then` was done.
    pub succeeded: bool,
    /// One for each step of the branch that was taken.
    pub replies: Vec<Reply>,
}

impl TxnOutcome {
    /// What the first [`Op::Get`] of the branch found.
    pub fn found(self) -> Option<KeyValue> {
        self.replies.into_iter().find_map(|reply| match reply {
            Reply::Got(found) => found,
            Reply::Put | Reply::Deleted(_) => None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Got(Option<KeyValue>),
    Put,
    /// How many keys went.
    Deleted(i64),
}

impl Client {
    /// What a key holds now.
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<KeyValue>, EtcdError> {
        let page = self.range(&Range::of(Span::key(key))).await?;
        Ok(page.kvs.into_iter().next())
    }

    /// One question, one answer.
    ///
    /// # Errors
    /// [`EtcdError::Compacted`] where `revision` is too old; or etcd does not answer, or does not allow it.
    pub async fn range(&self, range: &Range) -> Result<Page, EtcdError> {
        let (first, end) = range.span.bounds();
        self.page(&range.span, range, first, end).await
    }

    async fn page(
        &self,
        named: &Span,
        range: &Range,
        first: Vec<u8>,
        end: Option<Vec<u8>>,
    ) -> Result<Page, EtcdError> {
        let question = |client: Arc<etcd_client::Client>| {
            let (first, options) = (first.clone(), range.options(end.clone()));
            async move {
                client.kv_client().max_decoding_message_size(ANSWER_LIMIT).get(first, Some(options)).await
            }
        };
        let what = || format!("read {}", named.text());
        let mut answer = self.connection.ask(what, Repeat::Safe, question).await?;
        Ok(Page {
            header: Header::of(answer.header()),
            more: answer.more(),
            count: answer.count(),
            kvs: answer.take_kvs().into_iter().map(KeyValue::of).collect(),
        })
    }

    /// All keys of a span at one revision (`header.revision`), read in pages so that neither etcd nor this process
    /// holds a large answer. A compaction between two pages makes it begin again.
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it; or compacts faster than the list can be read.
    pub async fn list(&self, span: &Span) -> Result<Page, EtcdError> {
        let mut again = 3;
        loop {
            match self.list_once(span).await {
                Err(EtcdError::Compacted { .. }) if again > 0 => again -= 1,
                outcome => return outcome,
            }
        }
    }

    async fn list_once(&self, span: &Span) -> Result<Page, EtcdError> {
        let (first, end) = span.bounds();
        let mut range = Range { limit: PAGE, ..Range::of(span.clone()) };
        let mut all = self.page(span, &range, first, end.clone()).await?;
        range.revision = all.header.revision;
        while all.more {
            let Some(last) = all.kvs.last() else { break };
            let behind_last = [&last.key[..], &[0]].concat();
            let next = self.page(span, &range, behind_last, end.clone()).await?;
            all.kvs.extend(next.kvs);
            all.more = next.more;
        }
        Ok(all)
    }

    /// Writes a key, whatever it held.
    ///
    /// # Errors
    /// etcd does not answer (the write may have happened), or does not allow it.
    pub async fn put(
        &self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        lease: Option<LeaseId>,
    ) -> Result<Header, EtcdError> {
        let (key, value) = (key.into(), value.into());
        let question = |client: Arc<etcd_client::Client>| {
            let (key, value) = (key.clone(), value.clone());
            async move { client.kv_client().put(key, value, Some(put_options(lease))).await }
        };
        let answer = self.connection.ask(|| format!("write {}", text(&key)), Repeat::Safe, question).await?;
        Ok(Header::of(answer.header()))
    }

    /// Deletes keys; says how many went.
    ///
    /// # Errors
    /// etcd does not answer (they may have gone), or does not allow it.
    pub async fn delete(&self, span: &Span) -> Result<i64, EtcdError> {
        let (first, end) = span.bounds();
        let question = |client: Arc<etcd_client::Client>| {
            let mut options = DeleteOptions::new();
            if let Some(end) = end.clone() {
                options = options.with_range(end);
            }
            let first = first.clone();
            async move { client.kv_client().delete(first, Some(options)).await }
        };
        let what = || format!("delete {}", span.text());
        self.connection.ask(what, Repeat::Safe, question).await.map(|answer| answer.deleted())
    }

    /// Runs a transaction. `what` completes "etcd failed to ...".
    ///
    /// # Errors
    /// etcd does not answer (it may have happened), or does not allow it.
    pub async fn txn(&self, what: &str, repeat: Repeat, txn: Txn) -> Result<TxnOutcome, EtcdError> {
        let question = |client: Arc<etcd_client::Client>| {
            let txn = raw(txn.clone());
            async move { client.kv_client().txn(txn).await }
        };
        let answer = self.connection.ask(|| what.to_owned(), repeat, question).await?;
        let replies = answer.op_responses().into_iter().map(|response| match response {
            TxnOpResponse::Get(mut got) => Reply::Got(got.take_kvs().into_iter().next().map(KeyValue::of)),
            TxnOpResponse::Delete(gone) => Reply::Deleted(gone.deleted()),
            _ => Reply::Put,
        });
        Ok(TxnOutcome {
            header: Header::of(answer.header()),
            succeeded: answer.succeeded(),
            replies: replies.collect(),
        })
    }
}

fn put_options(lease: Option<LeaseId>) -> PutOptions {
    PutOptions::new().with_lease(lease.map_or(0, LeaseId::get))
}

fn raw(txn: Txn) -> etcd_client::Txn {
    let when = txn.when.into_iter().map(|compare| match compare {
        Compare::ModRevision { key, is } => {
            etcd_client::Compare::mod_revision(key, etcd_client::CompareOp::Equal, is)
        }
        Compare::Version { key, is } => etcd_client::Compare::version(key, etcd_client::CompareOp::Equal, is),
    });
    let op = |op| match op {
        Op::Get(key) => TxnOp::get(key, None),
        Op::Put { key, value, lease } => TxnOp::put(key, value, Some(put_options(lease))),
        Op::Delete(key) => TxnOp::delete(key, None),
    };
    let (then, otherwise): (Vec<_>, Vec<_>) =
        (txn.then.into_iter().map(op).collect(), txn.otherwise.into_iter().map(op).collect());
    etcd_client::Txn::new().when(when.collect::<Vec<_>>()).and_then(then).or_else(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_begin_with_it() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"/net/", b"/net0"),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"", b"\0"),
        ] {
            assert_eq!(Span::prefix(prefix).bounds().1.as_deref(), Some(end), "{prefix:?}");
        }
        assert_eq!(Span::key("a").bounds(), (b"a".to_vec(), None));
    }
}
