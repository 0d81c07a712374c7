//! "Did you mean": the known word that is fewest edits away.

/// The candidate nearest to `word`, unless even that one is too far to be meant (more than a third of the word's
/// letters, at least two, would have to change). Letters' case does not count. Of equals the first wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = word.to_ascii_lowercase();
    let limit = (plain.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&plain, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let names = ["proxy-mode", "masqueradeAll", "syncPeriod", "minSyncPeriod"];
        for (typed, meant) in [
            ("proxymode", Some("proxy-mode")),
            ("porxy-mode", Some("proxy-mode")),
            ("masqueradeall", Some("masqueradeAll")),
            ("syncperiod", Some("syncPeriod")),
            ("minSyncPeriods", Some("minSyncPeriod")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
