//! Sets of completion indexes, as a Job's status writes them: `0-2,5,7,8`.

use std::fmt;

/// Intervals in their order, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i64, i64)>);

impl Indexes {
    /// What is no interval is left out, and so is what is not below `completions`.
    pub fn parse(text: &str, completions: i64) -> Self {
        let mut parsed = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>())
                && (0..completions).contains(&first)
                && first <= last
            {
                parsed.push((first, last.min(completions - 1)));
            }
        }
        Self::of(parsed)
    }

    fn of(mut intervals: Vec<(i64, i64)>) -> Self {
        intervals.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match merged.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// With these too.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = i64>) -> Self {
        Self::of(self.0.iter().copied().chain(more.into_iter().map(|index| (index, index))).collect())
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied().collect())
    }

    pub fn total(&self) -> i64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, index: i64) -> bool {
        let place = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(place).is_some_and(|(first, _)| *first <= index)
    }

    /// How many of these are among the others.
    pub fn common(&self, other: &Self) -> i64 {
        let (mut common, mut a, mut b) = (0, self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(one), Some(two)) = (a.peek(), b.peek()) {
            common += (one.1.min(two.1) - one.0.max(two.0) + 1).max(0);
            if one.1 <= two.1 {
                a.next()
            } else {
                b.next()
            };
        }
        common
    }

    /// The lowest `count` indexes below `completions` that are not among these.
    pub fn missing(&self, count: usize, completions: i64) -> Vec<i64> {
        let (mut missing, mut next) = (Vec::new(), 0);
        for (first, last) in self.0.iter().copied().chain([(completions, completions)]) {
            let room = count - missing.len();
            missing.extend((next..first.min(completions)).take(room));
            next = next.max(last + 1);
        }
        missing
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_written_as_the_original_writes_them() {
        for (text, shown, total) in [
            ("", "", 0),
            ("0", "0", 1),
            ("1,2", "1,2", 2),
            ("0,1,2,5", "0-2,5", 4),
            ("3-5,x,9", "3-5,9", 4),
            ("8-20", "8,9", 2),
            ("12", "", 0),
        ] {
            let parsed = Indexes::parse(text, 10);
            assert_eq!((parsed.to_string().as_str(), parsed.total()), (shown, total), "{text}");
        }
    }

    proptest! {
        #[test]
        fn they_are_sets(a in prop::collection::btree_set(0..20_i64, 0..12), b in prop::collection::btree_set(0..20_i64, 0..12)) {
            let (one, two) = (Indexes::default().with(a.iter().copied()), Indexes::default().with(b.iter().copied()));
            prop_assert_eq!(&Indexes::parse(&one.to_string(), 20), &one);
            prop_assert!((0..20).all(|index| one.has(index) == a.contains(&index)));
            let union: BTreeSet<i64> = a.union(&b).copied().collect();
            prop_assert_eq!(one.union(&two), Indexes::default().with(union));
            prop_assert_eq!(one.common(&two), i64::try_from(a.intersection(&b).count()).expect("small"));
            let missing: Vec<i64> = (0..15).filter(|index| !a.contains(index)).take(4).collect();
            prop_assert_eq!(one.missing(4, 15), missing);
        }
    }
}
