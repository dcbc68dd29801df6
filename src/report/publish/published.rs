//! Which reports are done, so that none goes again that the ledger still holds for a moment. Pure.

use std::collections::BTreeMap;

use crate::ledger::ReportKey;

/// Keys of reports that are done, as ranges: the ledger gives them out in order, so what is remembered of those that
/// went well is one range, however many they are.
#[derive(Default)]
pub(super) struct Published {
    /// First key to last key; ranges neither overlap nor touch.
    ranges: BTreeMap<i64, i64>,
}

impl Published {
    pub fn contains(&self, ReportKey(key): ReportKey) -> bool {
        let before = self.ranges.range(..=key).next_back();
        before.is_some_and(|(_, last)| key <= *last)
    }

    pub fn insert(&mut self, done: ReportKey) {
        if self.contains(done) {
            return;
        }
        let ReportKey(key) = done;
        let before = self.ranges.range(..key).next_back();
        let first = before
            .filter(|(_, last)| last.checked_add(1) == Some(key))
            .map_or(key, |(first, _)| *first);
        let after = key.checked_add(1);
        let last = after.and_then(|after| self.ranges.remove(&after));
        self.ranges.insert(first, last.unwrap_or(key));
        if self.ranges.len() > RANGES {
            self.ranges.pop_first();
        }
    }
}

/// Ranges remembered; the oldest goes first. Copies for those who asked by HTTP are numbered with the others but don't
/// pass here: where many do, there are as many ranges as reports.
const RANGES: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    fn published(keys: impl IntoIterator<Item = i64>) -> Published {
        let mut published = Published::default();
        for key in keys {
            published.insert(ReportKey(key));
        }
        published
    }

    #[test]
    fn keys_in_any_order_become_one_range() {
        for keys in [
            [1, 2, 3, 4, 5],
            [5, 4, 3, 2, 1],
            [1, 5, 3, 2, 4],
            [2, 4, 2, 3, 1],
        ] {
            let published = published(keys.into_iter().chain([5, 9]));
            assert_eq!(
                published.ranges,
                BTreeMap::from([(1, 5), (9, 9)]),
                "{keys:?}"
            );
            let known: Vec<i64> = (0..=10)
                .filter(|key| published.contains(ReportKey(*key)))
                .collect();
            assert_eq!(known, [1, 2, 3, 4, 5, 9]);
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_keys_like_others() {
        let published = published([i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, i64::MAX]);
        assert_eq!(published.ranges.len(), 2);
        assert!(published.contains(ReportKey(i64::MAX)) && !published.contains(ReportKey(0)));
    }

    #[test]
    fn what_never_joins_is_bounded_and_the_oldest_is_forgotten() {
        let published = published((0..=RANGES as i64).map(|key| key * 2));
        assert_eq!(published.ranges.len(), RANGES);
        assert!(!published.contains(ReportKey(0)) && published.contains(ReportKey(2)));
    }
}
