//! What a group needs to know before it is planned, and the locks that keep it true until the commit.
//!
//! As a rule that is one exchange with the database: the transaction begins, the node's row says whether the term is still
//! its own, the accepts claim their ids, and their windows are locked. Ids that are taken, and rows of other owners, are
//! looked up in a second one.
//!
//! Ids are claimed, and windows locked, in the order of their keys: two nodes never wait for each other in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    plan::{Found, Twice},
    session::Link,
};
use crate::{
    admission::{Kind, Limits, Windows, limited},
    challenge::Millis,
    ledger::{
        StoreError,
        group::{Fence, Group, KnownRow, Owner, Row},
        limiter,
        seal::Mac,
    },
};

/// What the rows of a group ask for.
#[derive(Default)]
pub(super) struct Asked {
    /// Each with the key of the first accept that has it.
    claims: BTreeMap<Mac, i64>,
    /// Looked up, and not claimed.
    ids: BTreeSet<Mac>,
    /// Ids for which control messages may wait.
    waits: BTreeSet<Mac>,
    windows: BTreeMap<i64, Kind>,
    withdrawn: BTreeSet<i64>,
}

impl Asked {
    pub fn by(group: &Group) -> Asked {
        let mut asked = Asked::default();
        for row in group.rows() {
            match row {
                Row::Accept(new) => {
                    asked.claims.entry(new.id).or_insert(new.key);
                    asked.ids.extend(group.macs(new.older));
                    asked.waits.insert(new.id);
                    asked.waits.extend(group.macs(new.older));
                    if let Some(row) = &new.limits {
                        let limited = limited(&row.keys, group.limits(row));
                        let limited = limited.map(|(kind, _, key)| (key.cast_signed(), kind));
                        asked.windows.extend(limited);
                    }
                }
                Row::Early(early) => {
                    asked.ids.insert(early.id);
                    asked.ids.extend(group.macs(early.older));
                }
                Row::Withdrawn { key } => {
                    asked.withdrawn.insert(*key);
                }
                _ => {}
            }
        }
        asked
    }
}

/// Begins the transaction and looks.
pub(super) async fn look(
    link: &Link,
    group: &Group,
    twice: Twice,
) -> Result<(Found, Fence), StoreError> {
    let asked = Asked::by(group);
    let (rest, robbed) = match asked.withdrawn.is_empty() {
        true => {
            let (began, first) =
                tokio::join!(biased; link.plain("BEGIN"), first(link, group, &asked));
            began?;
            first?
        }
        false => {
            link.plain("BEGIN").await?;
            withdraw(link, &asked.withdrawn).await?;
            first(link, group, &asked).await?
        }
    };
    let mut found = Found { twice, ..rest };
    let fence = match robbed {
        None => return Ok((found, Fence::Over)),
        Some(0) => Fence::Open,
        Some(_) => others(link, group).await?,
    };
    let taken = asked
        .claims
        .keys()
        .filter(|mac| !found.claimed.contains_key(*mac));
    let ids: Vec<&[u8]> = taken.chain(&asked.ids).map(<[u8; _]>::as_slice).collect();
    if !ids.is_empty() {
        let params: [super::session::Param<'_>; 1] = [&ids];
        let (whose, known) =
            tokio::join!(biased; link.rows(WHOSE, &params), link.rows(KNOWN, &params));
        for row in whose? {
            let key: i64 = row.get(1);
            found.ids.insert(mac(row.get(0)), key);
        }
        // What this transaction has claimed is nobody's yet.
        for (mac, key) in &found.claimed {
            if found.ids.get(mac) == Some(key) {
                found.ids.remove(mac);
            }
        }
        for row in known? {
            let known = KnownRow {
                key: row.get(0),
                head: row.get(1),
                ended: row.get(2),
                last: row.get(3),
                rest: row.get(4),
            };
            found.known.insert(known.key, known);
        }
    }
    Ok((found, fence))
}

/// The first exchange; and how often others have robbed the node in this term. None: the term is over.
async fn first(
    link: &Link,
    group: &Group,
    asked: &Asked,
) -> Result<(Found, Option<i64>), StoreError> {
    let Owner { node, term } = group.owner;
    let node = i32::from(node);
    let macs: Vec<&[u8]> = asked.claims.keys().map(<[u8; _]>::as_slice).collect();
    let keys: Vec<i64> = asked.claims.values().copied().collect();
    let waits: Vec<&[u8]> = asked.waits.iter().map(<[u8; _]>::as_slice).collect();
    let windows: Vec<i64> = asked.windows.keys().copied().collect();
    let kinds: Vec<i32> = asked.windows.values().map(|kind| *kind as i32).collect();
    let claim = async {
        match macs.is_empty() {
            true => Ok(Vec::new()),
            false => link.rows(CLAIM, &[&macs, &keys]).await,
        }
    };
    let lock = async {
        match windows.is_empty() {
            true => Ok(Vec::new()),
            false => link.rows(LOCK_WINDOWS, &[&windows, &kinds]).await,
        }
    };
    let early = async {
        match waits.is_empty() {
            true => Ok(Vec::new()),
            false => link.rows(WAITS, &[&waits]).await,
        }
    };
    let own = async { link.rows(NODE, &[&node]).await };
    let (own, claimed, locked, early) = tokio::join!(biased; own, claim, lock, early);
    let own = own?.first().map(|row| (row.get::<_, i64>(0), row.get(1)));
    let robbed = own
        .filter(|(now, _)| *now == term)
        .map(|(_, robbed)| robbed);
    let claimed = claimed?
        .iter()
        .map(|row| mac(row.get(0)))
        .collect::<Vec<_>>();
    let claimed: HashMap<Mac, i64> = claimed
        .into_iter()
        .filter_map(|mac| Some((mac, *asked.claims.get(&mac)?)))
        .collect();
    let mut found = Found {
        claimed,
        windows: Windows::default(),
        ..Found::default()
    };
    for row in locked? {
        let key: i64 = row.get(0);
        let arrivals = limiter::arrivals(row.get(1));
        found.windows.set(key.cast_unsigned(), arrivals);
    }
    for row in early? {
        found.early.insert(mac(row.get(0)), row.get(1));
    }
    Ok((found, robbed))
}

/// Windows that are full under these limits, and until when: few of all there are, so the database picks them.
pub(super) async fn full(
    link: &Link,
    limits: &Limits,
    now: Millis,
) -> Result<Vec<(u64, Millis)>, StoreError> {
    let mut full = Vec::new();
    for kind in Kind::ALL {
        let Some(pace) = kind.pace(limits) else {
            continue;
        };
        let octets = i64::from(pace.count).saturating_mul(8);
        let select = "SELECT key, arrivals FROM windows
            WHERE until > $1 AND kind = $2 AND octet_length(arrivals) >= $3::bigint";
        for row in link
            .seldom(select, &[&now.0, &(kind as i32), &octets])
            .await?
        {
            let key = row.get::<_, i64>(0).cast_unsigned();
            let mut windows = Windows::default();
            windows.set(key, limiter::arrivals(row.get(1)));
            let until = windows.full_until(key, pace, now);
            full.extend(until.map(|until| (key, until)));
        }
    }
    Ok(full)
}

/// Challenges of the group that others own by now.
async fn others(link: &Link, group: &Group) -> Result<Fence, StoreError> {
    let keys: Vec<i64> = group.challenges().into_iter().collect();
    let rows = link
        .rows(OTHERS, &[&keys, &i32::from(group.owner.node)])
        .await?;
    let others = rows.iter().map(|row| (row.get(0), row.get(1)));
    Ok(Fence::Others(others.collect()))
}

/// Nothing of these is there afterwards, and nothing of them counts.
async fn withdraw(link: &Link, keys: &BTreeSet<i64>) -> Result<(), StoreError> {
    let keys: Vec<i64> = keys.iter().copied().collect();
    let gone = link.rows(WITHDRAW, &[&keys]).await?;
    if gone.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = gone.iter().map(|row| row.get(1)).collect();
    let of: Vec<i64> = gone.iter().map(|row| row.get(0)).collect();
    link.put(UNCLAIM, &[&ids, &of]).await?;
    link.put(WITHDRAW_OUTBOX, &[&keys]).await?;
    link.put(FORGET_KEPT, &[&keys]).await?;
    let mut counted: BTreeMap<i64, Vec<Millis>> = BTreeMap::new();
    for row in &gone {
        let arrived = Millis(row.get(2));
        let limits: Option<&[u8]> = row.get(3);
        for key in limits.and_then(limiter::read).into_iter().flatten() {
            counted.entry(key.cast_signed()).or_default().push(arrived);
        }
    }
    let windows: Vec<i64> = counted.keys().copied().collect();
    for row in link.rows(WINDOWS, &[&windows]).await? {
        let key: i64 = row.get(0);
        let mut arrivals = limiter::arrivals(row.get(1));
        for at in counted.remove(&key).into_iter().flatten() {
            if let Some(place) = arrivals.iter().position(|arrived| *arrived == at) {
                arrivals.remove(place);
            }
        }
        let octets = limiter::write_arrivals(&arrivals);
        link.put(SET_ARRIVALS, &[&key, &octets]).await?;
    }
    Ok(())
}

fn mac(octets: &[u8]) -> Mac {
    octets.try_into().unwrap_or_default()
}

pub(super) const STATEMENTS: &[&str] = &[
    NODE,
    CLAIM,
    LOCK_WINDOWS,
    WAITS,
    WHOSE,
    KNOWN,
    OTHERS,
    WITHDRAW,
    UNCLAIM,
    WITHDRAW_OUTBOX,
    FORGET_KEPT,
    WINDOWS,
    SET_ARRIVALS,
];

/// Whoever takes over something of a node locks its row for an update first.
const NODE: &str = "SELECT term, robbed FROM nodes WHERE number = $1 FOR KEY SHARE";
const CLAIM: &str = "INSERT INTO ids (hmac, key) SELECT * FROM unnest($1::bytea[], $2::bigint[])
    ON CONFLICT DO NOTHING RETURNING hmac";
/// In one statement, so that new and old ones are locked in one order.
const LOCK_WINDOWS: &str = "INSERT INTO windows AS w (key, kind, until, arrivals)
    SELECT key, kind, 0, '' FROM unnest($1::bigint[], $2::integer[]) AS u (key, kind)
    ON CONFLICT (key) DO UPDATE SET kind = w.kind RETURNING key, arrivals";
const WAITS: &str = "SELECT hmac, word FROM early WHERE hmac = ANY ($1)";
const WHOSE: &str = "SELECT hmac, key FROM ids WHERE hmac = ANY ($1)";
const KNOWN: &str = "SELECT key, head, ended, last, NULL::bytea FROM live
    WHERE key = ANY (ARRAY (SELECT key FROM ids WHERE hmac = ANY ($1)))
    UNION ALL SELECT key, head, ended, NULL, rest FROM history
    WHERE key = ANY (ARRAY (SELECT key FROM ids WHERE hmac = ANY ($1)))";
/// What is wiped has ended, and goes on by nobody's word.
const OTHERS: &str = "SELECT key, ended IS NOT NULL FROM live WHERE key = ANY ($1) AND owner <> $2
    UNION ALL SELECT key, true FROM history WHERE key = ANY ($1)";
const WITHDRAW: &str = "DELETE FROM live WHERE key = ANY ($1) RETURNING key, id, arrived, limits";
pub(super) const UNCLAIM: &str = "DELETE FROM ids
    USING unnest($1::bytea[], $2::bigint[]) AS u (h, k) WHERE hmac = u.h AND key = u.k";
const WITHDRAW_OUTBOX: &str = "DELETE FROM outbox WHERE challenge = ANY ($1)";
pub(super) const FORGET_KEPT: &str = "DELETE FROM kept WHERE challenge = ANY ($1)";
const WINDOWS: &str =
    "SELECT key, arrivals FROM windows WHERE key = ANY ($1) ORDER BY key FOR UPDATE";
const SET_ARRIVALS: &str = "UPDATE windows SET arrivals = $2 WHERE key = $1";
