//! "Did you mean": the known word that is fewest edits away.

/// The candidate nearest to `word`, unless even that one is too far to be meant (more than a third of the
/// word's letters, at least two, would have to change). Of equals the first wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = word.to_ascii_lowercase().replace('_', "-");
    let limit = (plain.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(&plain, candidate), candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, and swap of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let names = ["iface", "iface-regex", "ip-masq", "etcd-endpoints"];
        for (typed, meant) in [
            ("ifcae", Some("iface")),
            ("ipmasq", Some("ip-masq")),
            ("ip_masq", Some("ip-masq")),
            ("etcd-endpoint", Some("etcd-endpoints")),
            ("Iface", Some("iface")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
