//! Medians, their spread, and ratios. Pure.

use std::collections::BTreeMap;

/// A median and the lowest and highest value around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// None of no values, or where one is not a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The ratio of two series, taken within each repetition, so that a machine that slows down over a run does not count.
///
/// Repetitions that only one of them has, and those where `below` is zero, are left out.
pub fn ratio(above: &BTreeMap<u32, f64>, below: &BTreeMap<u32, f64>) -> Option<Spread> {
    let both = above.iter().filter_map(|(repetition, a)| Some((a, below.get(repetition)?)));
    Spread::of(both.filter(|(_, b)| **b != 0.0).map(|(a, b)| a / b))
}

/// The value below which `percent` of the sorted values lie (nearest rank); None of no values.
pub fn percentile<T: Copy>(sorted: &[T], percent: f64) -> Option<T> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is small and positive"
    )]
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_repetition() {
        let direct = BTreeMap::from([(1, 20.0), (2, 10.0), (3, 40.0)]);
        let vxlan = BTreeMap::from([(1, 10.0), (2, 5.0), (3, 20.0), (4, 1.0)]);
        assert_eq!(ratio(&vxlan, &direct), Some(Spread { median: 0.5, min: 0.5, max: 0.5 }));
        assert_eq!(ratio(&vxlan, &BTreeMap::new()), None);
        assert_eq!(ratio(&BTreeMap::from([(1, 0.0)]), &BTreeMap::from([(1, 0.0)])), None);
    }

    #[test]
    fn percentiles_by_nearest_rank() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 50.0), Some(100));
        assert_eq!(percentile(&values, 99.0), Some(198));
        assert_eq!(percentile(&values, 100.0), Some(200));
        assert_eq!(percentile(&values, 0.0), Some(1));
        assert_eq!(percentile::<u32>(&[], 50.0), None);
    }
}
