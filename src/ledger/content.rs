//! How much is in a ledger, and what that takes: counts and octets, nothing of anybody.

/// What is in it.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub challenges: i64,
    pub open: i64,
    /// Ended ones with nothing personal left.
    pub wiped: i64,
    /// Reports that wait for the broker, and those kept to be asked for by HTTP.
    pub waiting: i64,
    pub kept: i64,
    pub inbox: i64,
    /// What is left of challenges after retention.
    pub outcomes: i64,
    /// Octets of each table and index, the largest first; pages that are free stand under "free".
    pub tables: Vec<(String, i64)>,
}

impl Content {
    /// On disk for each challenge: everything counted but free pages and outcomes.
    pub fn octets_per_challenge(&self) -> Option<i64> {
        self.octets(|name| name != FREE && !name.starts_with(OUTCOMES))
            .checked_div(self.challenges)
    }

    pub fn octets_per_outcome(&self) -> Option<i64> {
        self.octets(|name| name.starts_with(OUTCOMES))
            .checked_div(self.outcomes)
    }

    fn octets(&self, of: impl Fn(&str) -> bool) -> i64 {
        let tables = self.tables.iter().filter(|(name, _)| of(name));
        tables.map(|(_, octets)| octets).sum()
    }
}

/// The table and its index.
pub(super) const OUTCOMES: &str = "outcomes";
/// Pages of no table.
pub(super) const FREE: &str = "free";
