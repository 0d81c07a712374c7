//! "Did you mean": the known word that is fewest edits away.

/// The candidate nearest to `word`, unless even that one is too far to be meant (more than a third of the word's
/// letters, at least two, would have to change). Case does not count, `_` counts as `-`. Of equals the first wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let flags = ["iface", "iface-regex", "ip-masq", "etcd-endpoints", "proxy-mode"];
        for (typed, meant) in [
            ("ifcae", Some("iface")),
            ("ipmasq", Some("ip-masq")),
            ("ip_masq", Some("ip-masq")),
            ("etcd-endpoint", Some("etcd-endpoints")),
            ("Iface", Some("iface")),
            ("porxy-mode", Some("proxy-mode")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, flags), meant, "{typed}");
        }
        let fields = ["masqueradeAll", "syncPeriod", "minSyncPeriod"];
        for (typed, meant) in [
            ("masqueradeall", Some("masqueradeAll")),
            ("syncperiod", Some("syncPeriod")),
            ("minSyncPeriods", Some("minSyncPeriod")),
        ] {
            assert_eq!(nearest(typed, fields), meant, "{typed}");
        }
    }
}
