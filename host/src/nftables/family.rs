//! Families of tables.

/// The family of a table. Weft's own tables are of the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Inet,
    Ip,
    Arp,
    Netdev,
    Bridge,
    Ip6,
}

const FAMILIES: [(Family, u8, &str); 6] = [
    (Family::Inet, 1, "inet"),
    (Family::Ip, 2, "ip"),
    (Family::Arp, 3, "arp"),
    (Family::Netdev, 5, "netdev"),
    (Family::Bridge, 7, "bridge"),
    (Family::Ip6, 10, "ip6"),
];

impl Family {
    /// `NFPROTO_*`, as [`super::Expr::Nat`] has it.
    pub fn code(self) -> u8 {
        FAMILIES.iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        FAMILIES.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    pub fn name(self) -> &'static str {
        FAMILIES.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }
}
