//! Tables in parts by arrival: made as rows need them, dropped whole when the time of all that is in them is over.

use std::time::Duration;

use super::session::Link;
use crate::{challenge::Millis, ledger::StoreError};

/// A table that is parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    History,
    Outcomes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub whole: Whole,
    pub begins: Millis,
    pub ends: Millis,
}

impl Whole {
    pub fn name(self) -> &'static str {
        match self {
            Whole::History => "history",
            Whole::Outcomes => "outcomes",
        }
    }
}

impl Part {
    pub fn name(self) -> String {
        format!("{}_{}", self.whole.name(), self.begins.0)
    }

    /// All that there are, the oldest first.
    pub async fn all(link: &Link, whole: Whole) -> Result<Vec<Part>, StoreError> {
        let rows = link.rows(PARTS, &[&whole.name()]).await?;
        let parts = rows.iter().map(|row| Part {
            whole,
            begins: Millis(row.get(0)),
            ends: Millis(row.get(1)),
        });
        Ok(parts.collect())
    }

    /// Makes it, in the present transaction.
    async fn make(self, link: &Link) -> Result<(), StoreError> {
        let (name, whole) = (self.name(), self.whole.name());
        let (begins, ends) = (self.begins.0, self.ends.0);
        link.plain(&format!(
            "CREATE TABLE {name} PARTITION OF {whole} FOR VALUES FROM ({begins}) TO ({ends});
             INSERT INTO parts (whole, begins, ends) VALUES ('{whole}', {begins}, {ends})"
        ))
        .await
    }

    /// Drops it with all that is in it, in the present transaction.
    pub async fn drop(self, link: &Link) -> Result<(), StoreError> {
        let (name, whole, begins) = (self.name(), self.whole.name(), self.begins.0);
        link.plain(&format!(
            "DROP TABLE {name}; DELETE FROM parts WHERE whole = '{whole}' AND begins = {begins}"
        ))
        .await
    }
}

/// Makes what is missing for rows that arrived then.
pub(super) async fn make_for(
    link: &Link,
    whole: Whole,
    arrivals: impl Iterator<Item = Millis>,
    width: Duration,
) -> Result<(), StoreError> {
    let mut parts = Part::all(link, whole).await?;
    for at in arrivals {
        if parts.iter().any(|part| part.begins <= at && at < part.ends) {
            continue;
        }
        let part = around(whole, at, width, &parts);
        part.make(link).await?;
        parts.push(part);
    }
    Ok(())
}

/// Of this width and at a multiple of it, as far as others leave room: they may have another width.
fn around(whole: Whole, at: Millis, width: Duration, others: &[Part]) -> Part {
    let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
    let begins = at.0.div_euclid(width).saturating_mul(width);
    let before = others
        .iter()
        .map(|part| part.ends.0)
        .filter(|ends| *ends <= at.0);
    let behind = others
        .iter()
        .map(|part| part.begins.0)
        .filter(|begins| *begins > at.0);
    Part {
        whole,
        begins: Millis(before.fold(begins, i64::max)),
        ends: Millis(behind.fold(begins.saturating_add(width), i64::min)),
    }
}

/// How much longer than asked for a row may be kept at most: the width of a part.
pub(super) fn width(kept: Duration) -> Duration {
    (kept / PARTS_KEPT).clamp(SHORTEST, LONGEST)
}

pub(super) const STATEMENTS: &[&str] = &[PARTS];

const PARTS: &str = "SELECT begins, ends FROM parts WHERE whole = $1 ORDER BY begins";

/// A look-up by key asks each of them.
const PARTS_KEPT: u32 = 24;
const SHORTEST: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(10 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_leaves_its_neighbours_their_room() {
        let part = |begins, ends| Part {
            whole: Whole::History,
            begins: Millis(begins),
            ends: Millis(ends),
        };
        let around = |at, others: &[Part]| {
            around(
                Whole::History,
                Millis(at),
                Duration::from_millis(100),
                others,
            )
        };
        assert_eq!(around(250, &[]), part(200, 300));
        assert_eq!(around(-1, &[]), part(-100, 0));
        let others = [part(150, 230), part(270, 300)];
        assert_eq!(around(250, &others), part(230, 270));
        assert_eq!(around(230, &others), part(230, 270));
        assert_eq!(around(350, &others), part(300, 400));
    }

    #[test]
    fn few_parts_are_kept_at_once() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        for kept in [days(1), days(7), days(90), days(400)] {
            let parts = kept.as_secs() / width(kept).as_secs();
            assert!((20..=40).contains(&parts), "{kept:?}: {parts}");
        }
    }
}
