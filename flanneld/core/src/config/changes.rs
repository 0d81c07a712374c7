//! What differs between two configurations, in words.

use super::NetworkConfig;

impl NetworkConfig {
    /// One sentence for each part that is different now.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        let mut compare = |was: Option<String>, now: Option<String>| match (was, now) {
            (was, now) if was == now => {}
            (Some(was), Some(now)) => changes.push(format!("{was} became {now}")),
            (Some(was), None) => changes.push(format!("{was} was taken out")),
            (None, Some(now)) => changes.push(format!("{now} was added")),
            (None, None) => {}
        };
        let text = |pool: &Option<super::Pool>| pool.as_ref().map(ToString::to_string);
        compare(text(&self.v4), text(&now.v4));
        compare(text(&self.v6), text(&now.v6));
        let nftables = |choice: Option<bool>| choice.map(|on| format!("EnableNFTables {on}"));
        compare(nftables(self.enable_nftables), nftables(now.enable_nftables));
        compare(Some(format!("backend {}", self.backend)), Some(format!("backend {}", now.backend)));
        changes
    }
}
