//! Sizes and costs that stay in their bounds.

/// How large a value is: letters, bytes, items, entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub least: u64,
    pub most: u64,
}

/// Steps that a cost is counted in, for each letter that is looked at.
pub(super) const TRAVERSAL: f64 = 0.1;

/// The same for each letter of a regular expression.
pub(super) const REGEX: f64 = 0.25;

impl Size {
    pub const UNKNOWN: Self = Self { least: 0, most: u64::MAX };
    /// Less than any: where a union begins.
    pub const NONE: Self = Self { least: u64::MAX, most: 0 };

    pub fn of(size: u64) -> Self {
        Self { least: size, most: size }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }

    pub fn times(self, other: Self) -> Self {
        Self { least: self.least.saturating_mul(other.least), most: self.most.saturating_mul(other.most) }
    }

    pub fn or(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// What going through all of it costs at most.
    pub fn cost(self, factor: f64) -> u64 {
        by_factor(self.most, factor)
    }
}

/// Rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "casts saturate, and an estimate is rough"
)]
pub(super) fn by_factor(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).ceil() as u64
}
