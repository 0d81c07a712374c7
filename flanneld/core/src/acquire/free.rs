//! The free places of a pool.

use ipnet::IpNet;

use crate::config::Pool;

/// What is left of a pool: its taken places as ranges that are sorted and apart, so that neither a /8 nor tens of
/// thousands of leases cost more than the sorting.
pub(super) struct Free<'a> {
    pool: &'a Pool,
    /// First and last place of each range.
    taken: Vec<(u128, u128)>,
}

impl<'a> Free<'a> {
    pub fn new(pool: &'a Pool, taken: impl Iterator<Item = IpNet>) -> Self {
        let mut places: Vec<(u128, u128)> = taken.filter_map(|net| pool.slots(net)).collect();
        places.sort_unstable();
        places.dedup_by(|next, last| {
            let joined = next.0 <= last.1;
            if joined {
                last.1 = last.1.max(next.1);
            }
            joined
        });
        Self { pool, taken: places }
    }

    /// Whether a node may have this very subnet.
    pub fn has(&self, subnet: IpNet) -> bool {
        let at = self.pool.slots(subnet).filter(|_| self.pool.admits(subnet));
        at.is_some_and(|(slot, _)| {
            let after = self.taken.partition_point(|(first, _)| *first <= slot);
            after == 0 || self.taken[after - 1].1 < slot
        })
    }

    /// The free subnets in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let begins = std::iter::once(0).chain(self.taken.iter().map(|(_, last)| last + 1));
        let ends = self.taken.iter().map(|(first, _)| *first).chain(std::iter::once(self.pool.count()));
        begins.zip(ends).flat_map(|(begin, end)| begin..end).map(|slot| self.pool.subnet(slot))
    }
}
