//! Tenants take turns: among those who wait for the same, each tenant gets its share, and within a tenant the earliest
//! deadline comes first.
//!
//! Stride scheduling: a tenant that is served moves on by a stride, the shorter the greater its weight; who has moved
//! least is next, of equals the one with the earliest deadline. Who comes back after a pause starts where the others are,
//! so nobody saves turns up. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::challenge::Millis;

/// How far each tenant has moved, over all lines in which it waits.
#[derive(Debug, Default)]
pub struct TenantTurns {
    tenants: HashMap<Arc<str>, Tenant>,
    /// Where the one served last stood: nobody starts behind it.
    front: u64,
    weights: BTreeMap<Arc<str>, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Tenant {
    at: u64,
    /// How many of its challenges wait, in all lines.
    waiting: usize,
}

/// The stride of weight 1.
const STRIDE: u64 = 1 << 20;
/// Most tenants without anybody waiting whose place is remembered.
const REMEMBERED: usize = 10_000;

impl TenantTurns {
    pub fn weigh(&mut self, weights: BTreeMap<Arc<str>, u32>) {
        self.weights = weights;
    }

    fn at(&self, tenant: &Arc<str>) -> u64 {
        self.tenants.get(tenant).map_or(self.front, |t| t.at)
    }

    fn joined(&mut self, tenant: &Arc<str>) {
        let front = self.front;
        if let Some(known) = self.tenants.get_mut(tenant) {
            if known.waiting == 0 {
                known.at = known.at.max(front);
            }
            known.waiting += 1;
            return;
        }
        if self.tenants.len() >= REMEMBERED {
            self.tenants.retain(|_, t| t.waiting > 0 || t.at > front);
        }
        let new = Tenant {
            at: front,
            waiting: 1,
        };
        self.tenants.insert(tenant.clone(), new);
    }

    fn left(&mut self, tenant: &Arc<str>) {
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.waiting = known.waiting.saturating_sub(1);
            let spent = known.at <= self.front || self.tenants.len() > REMEMBERED * 2;
            if spent && self.tenants.get(tenant).is_some_and(|t| t.waiting == 0) {
                self.tenants.remove(tenant);
            }
        }
    }

    /// One of this tenant's got what it waited for.
    pub fn served(&mut self, tenant: &Arc<str>) {
        let weight = self.weights.get(tenant).copied().unwrap_or(1).max(1);
        if let Some(known) = self.tenants.get_mut(tenant) {
            self.front = self.front.max(known.at);
            known.at += STRIDE / u64::from(weight);
        }
    }
}

/// A place in the order of all who wait: how far its tenant has moved, then its deadline.
pub type Rank = (u64, Millis);

/// Those who wait for the same, by tenant.
#[derive(Debug)]
pub struct TenantQueue<V> {
    tenants: HashMap<Arc<str>, Waiting<V>>,
    /// The tenants by their first's rank. A tenant that was served in another line stands too far in front until it is
    /// looked at.
    order: BTreeSet<(Rank, Arc<str>)>,
    len: usize,
}

#[derive(Debug)]
struct Waiting<V> {
    listed: Rank,
    all: BTreeMap<(Millis, i64), V>,
}

impl<V> Default for TenantQueue<V> {
    fn default() -> TenantQueue<V> {
        TenantQueue {
            tenants: HashMap::new(),
            order: BTreeSet::new(),
            len: 0,
        }
    }
}

impl<V> TenantQueue<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whose deadline is the latest.
    pub fn longest(&self) -> Option<&V> {
        let lasts = self.tenants.values().filter_map(|w| w.all.last_key_value());
        lasts.max_by_key(|(place, _)| **place).map(|(_, v)| v)
    }

    /// How many of this tenant's stand here.
    pub fn of(&self, tenant: &Arc<str>) -> usize {
        self.tenants.get(tenant).map_or(0, |w| w.all.len())
    }

    /// `key` is told apart from all others of the tenant. False: it stands here already.
    pub fn push(
        &mut self,
        turns: &mut TenantTurns,
        tenant: &Arc<str>,
        key: (Millis, i64),
        v: V,
    ) -> bool {
        let waiting = self.tenants.entry(tenant.clone()).or_insert(Waiting {
            listed: (u64::MAX, Millis::NEVER),
            all: BTreeMap::new(),
        });
        if waiting.all.insert(key, v).is_some() {
            return false;
        }
        self.len += 1;
        turns.joined(tenant);
        self.list(turns, tenant);
        true
    }

    pub fn remove(
        &mut self,
        turns: &mut TenantTurns,
        tenant: &Arc<str>,
        key: (Millis, i64),
    ) -> Option<V> {
        let gone = self.tenants.get_mut(tenant)?.all.remove(&key)?;
        self.len -= 1;
        turns.left(tenant);
        self.list(turns, tenant);
        Some(gone)
    }

    /// Whose turn it is, and where that stands among all lines.
    pub fn first(&mut self, turns: &TenantTurns) -> Option<(Rank, Arc<str>)> {
        loop {
            let (rank, tenant) = self.order.first()?.clone();
            if rank.0 == turns.at(&tenant) {
                return Some((rank, tenant));
            }
            self.list(turns, &tenant);
        }
    }

    /// Takes the one out whose turn it is; its tenant has had it.
    pub fn pop(&mut self, turns: &mut TenantTurns) -> Option<V> {
        let (_, tenant) = self.first(turns)?;
        let key = *self.tenants.get(&tenant)?.all.keys().next()?;
        turns.served(&tenant);
        self.remove(turns, &tenant, key)
    }

    /// The first `many`, as the turns stand: each tenant's first, then each one's second, and so on.
    pub fn heads(&mut self, turns: &TenantTurns, many: usize) -> Vec<&V> {
        self.first(turns);
        let mut heads = Vec::with_capacity(many);
        for round in 0..many {
            let before = heads.len();
            for (_, tenant) in self.order.iter().take(many) {
                let one = self
                    .tenants
                    .get(tenant)
                    .and_then(|w| w.all.values().nth(round));
                heads.extend(one);
                if heads.len() == many {
                    return heads;
                }
            }
            if heads.len() == before {
                break;
            }
        }
        heads
    }

    /// Those for whom it is so are taken out.
    pub fn drop_if(&mut self, turns: &mut TenantTurns, mut so: impl FnMut(&V) -> bool) -> Vec<V> {
        let mut keys = Vec::new();
        for (tenant, waiting) in &self.tenants {
            let gone = waiting.all.iter().filter(|(_, v)| so(v));
            keys.extend(gone.map(|(key, _)| (tenant.clone(), *key)));
        }
        keys.into_iter()
            .filter_map(|(tenant, key)| self.remove(turns, &tenant, key))
            .collect()
    }

    /// Puts the tenant where it belongs by now.
    fn list(&mut self, turns: &TenantTurns, tenant: &Arc<str>) {
        let Some(waiting) = self.tenants.get_mut(tenant) else {
            return;
        };
        self.order.remove(&(waiting.listed, tenant.clone()));
        match waiting.all.keys().next() {
            Some((deadline, _)) => {
                waiting.listed = (turns.at(tenant), *deadline);
                self.order.insert((waiting.listed, tenant.clone()));
            }
            None => {
                self.tenants.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        turns: TenantTurns,
        line: TenantQueue<&'static str>,
        next: i64,
    }

    impl World {
        fn new(weights: &[(&str, u32)]) -> World {
            let mut turns = TenantTurns::default();
            turns.weigh(weights.iter().map(|(t, w)| (Arc::from(*t), *w)).collect());
            World {
                turns,
                line: TenantQueue::default(),
                next: 0,
            }
        }

        fn push(&mut self, tenant: &'static str, deadline: i64) {
            self.next += 1;
            let key = (Millis(deadline), self.next);
            assert!(self.line.push(&mut self.turns, &tenant.into(), key, tenant));
        }

        fn pop(&mut self, many: usize) -> Vec<&'static str> {
            (0..many)
                .filter_map(|_| self.line.pop(&mut self.turns))
                .collect()
        }
    }

    #[test]
    fn a_noisy_tenant_does_not_starve_the_others() {
        let mut w = World::new(&[]);
        for n in 0..900 {
            w.push("noisy", n);
        }
        for n in 0..20 {
            w.push("quiet", 10_000 + n);
        }
        let first = w.pop(41);
        let quiet = first.iter().filter(|t| **t == "quiet").count();
        assert_eq!(quiet, 20, "{first:?}");
        assert_eq!(w.pop(1_000).len(), 900 - 21);
        assert!(w.line.is_empty() && w.line.tenants.is_empty() && w.line.order.is_empty());
        assert!(w.turns.tenants.len() <= 2);
    }

    #[test]
    fn a_weight_is_a_share() {
        let mut w = World::new(&[("bank", 3)]);
        for n in 0..400 {
            w.push("bank", n);
            w.push("shop", n);
        }
        let bank = w.pop(100).iter().filter(|t| **t == "bank").count();
        assert!((74..=76).contains(&bank), "{bank}");
    }

    #[test]
    fn nobody_saves_turns_up_and_one_at_a_time_is_no_way_around() {
        let mut w = World::new(&[]);
        for n in 0..1_000 {
            w.push("busy", n);
        }
        w.pop(500);
        w.push("late", 5);
        w.push("late", 6);
        w.push("late", 7);
        let late = w.pop(4).iter().filter(|t| **t == "late").count();
        assert!((2..=3).contains(&late), "{late}");
        w.pop(3);
        // One that comes back with a single one each time gets every second turn, not more.
        let mut single = 0;
        for n in 0..100 {
            if w.line.of(&"single".into()) == 0 {
                w.push("single", n);
            }
            single += w.pop(1).iter().filter(|t| **t == "single").count();
        }
        assert!((49..=51).contains(&single), "{single}");
    }

    #[test]
    fn within_a_tenant_and_among_equals_the_earliest_deadline_comes_first() {
        let mut w = World::new(&[]);
        for (tenant, deadline) in [("a", 30), ("b", 20), ("c", 10)] {
            w.push(tenant, deadline);
        }
        w.push("a", 5);
        assert_eq!(w.line.heads(&w.turns, 8), [&"a", &"c", &"b", &"a"]);
        assert_eq!(w.pop(4), ["a", "c", "b", "a"]);
    }

    #[test]
    fn a_turn_taken_in_one_line_counts_in_the_other() {
        let mut turns = TenantTurns::default();
        let (mut one, mut two): (TenantQueue<u8>, TenantQueue<u8>) = Default::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for n in 0..3 {
            one.push(&mut turns, &a, (Millis(n), n), 0);
            two.push(&mut turns, &a, (Millis(n), n), 0);
            two.push(&mut turns, &b, (Millis(100 + n), n), 1);
        }
        one.pop(&mut turns);
        one.pop(&mut turns);
        assert_eq!(two.first(&turns).map(|(_, tenant)| tenant), Some(b));
        let order: Vec<u8> = (0..3).filter_map(|_| two.pop(&mut turns)).collect();
        assert_eq!(order, [1, 1, 0]);
    }
}
