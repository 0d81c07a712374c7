//! What an etcd remembers of objects: each creation, also of those that came and went while nobody looked.

use std::collections::BTreeMap;

use etcd::{Change, Client, Header, Settings, Span, WatchEvent};
use host::programs::Etcd;

/// How often a key of each name was created below a prefix since the beginning, by what `of` makes of the key's end.
/// Nothing may have been compacted, and some keys must be there.
///
/// # Panics
/// etcd does not answer, or has forgotten.
pub fn creations(etcd: &Etcd, prefix: &str, of: impl Fn(&str) -> String) -> BTreeMap<String, usize> {
    let settings = Settings { endpoints: vec![etcd.endpoint().to_owned()], ..Settings::default() };
    let client = Client::new(settings).unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let span = Span::prefix(prefix);
        let now = client.list(&span).await.unwrap_or_else(|error| panic!("{error}"));
        // What is there now was written last.
        let last = now.kvs.iter().map(|kv| kv.mod_revision).max().unwrap_or_default();
        let mut watch = client.watch(span, Header { revision: 0, ..now.header }, false);
        let mut counts = BTreeMap::new();
        while watch.revision() < last {
            let event = watch.next().await.unwrap_or_else(|error| panic!("{error}"));
            let WatchEvent::Changes(_, changes) = event else { continue };
            for change in changes {
                let Change::Put { kv, .. } = change else { continue };
                if kv.create_revision == kv.mod_revision {
                    let key = String::from_utf8_lossy(&kv.key[prefix.len()..]).into_owned();
                    *counts.entry(of(&key)).or_default() += 1;
                }
            }
        }
        counts
    })
}
