//! Look-ups: a connection of its own that never writes, and how rows become the ledger's words again.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    AGES, ControlMessage, EndedChallenge, OutboxReport, Pending, ReadError, Referred, ReportKey,
    Stored, Target,
    pack::{self, Rest},
    seal::{Keyring, Lookup, Opener, Part, Unsealable},
};
use crate::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    number::written::Tail,
};

pub(in crate::ledger) struct Reader {
    inner: Mutex<Inner>,
    ring: Arc<ArcSwap<Keyring>>,
}

struct Inner {
    conn: Connection,
    opener: Opener,
}

impl Reader {
    pub fn new(conn: Connection, ring: Arc<ArcSwap<Keyring>>) -> Reader {
        let opener = Opener::new(ring.load_full());
        Reader {
            inner: Mutex::new(Inner { conn, opener }),
            ring,
        }
    }

    /// The keys of this moment.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    fn with<T>(
        &self,
        what: impl FnOnce(&Connection, &mut Opener) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        // A read that panicked has left nothing half done: it changes nothing.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load_full();
        if !Arc::ptr_eq(&ring, &inner.opener.ring) {
            inner.opener = Opener::new(ring);
        }
        let Inner { conn, opener } = &mut *inner;
        what(conn, opener)
    }

    pub fn find(&self, tenant: &str, id: &str) -> Result<Option<Stored>, ReadError> {
        self.with(|conn, opener| {
            let ring = opener.ring.clone();
            let mut statement =
                conn.prepare_cached(&select_stored("challenges WHERE id_hmac = ?"))?;
            for mac in macs(&ring, Lookup::Id, tenant, id) {
                let row = statement.query_row([mac], raw_stored).optional()?;
                if let Some(raw) = row {
                    return Ok(Some(raw.open(conn, opener)?));
                }
            }
            Ok(None)
        })
    }

    pub fn get(&self, key: ChallengeKey) -> Result<Option<Stored>, ReadError> {
        self.with(|conn, opener| {
            conn.prepare_cached(&select_stored("challenges WHERE key = ?"))?
                .query_row([key.0], raw_stored)
                .optional()?
                .map(|raw| raw.open(conn, opener))
                .transpose()
        })
    }

    pub fn outcomes(&self, tenant: &str, id: &str) -> Result<Vec<EndedChallenge>, ReadError> {
        self.with(|conn, opener| {
            let ring = opener.ring.clone();
            let mut select = conn.prepare_cached(
                "SELECT key, arrived, ended, body FROM outcomes WHERE id_hmac = ?
                 ORDER BY key DESC LIMIT ?",
            )?;
            let mut found = Vec::new();
            for mac in macs(&ring, Lookup::Id, tenant, id) {
                let mut rows = select.query(params![mac, PAGE as i64])?;
                while let Some(row) = rows.next()? {
                    let key = row.get(0)?;
                    found.push(EndedChallenge {
                        key: ChallengeKey(key),
                        arrived: Millis(row.get(1)?),
                        ended: Millis(row.get(2)?),
                        outcome: opener.open(
                            Part::EndedChallenge,
                            key,
                            &row.get::<_, Vec<u8>>(3)?,
                        )?,
                    });
                }
            }
            found.sort_by_key(|outcome| std::cmp::Reverse(outcome.key));
            Ok(found)
        })
    }

    pub fn newest(&self, limit: usize) -> Result<Vec<Stored>, ReadError> {
        self.with(|conn, opener| {
            let sql = select_stored("challenges ORDER BY key DESC LIMIT ?");
            let raws = conn
                .prepare_cached(&sql)?
                .query_map([limit.min(PAGE) as i64], raw_stored)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            raws.into_iter().map(|raw| raw.open(conn, opener)).collect()
        })
    }

    /// Where the first of these forms leads that leads anywhere, with its place among them: the newest first.
    pub fn find_references(
        &self,
        carrier: &str,
        forms: &[Arc<str>],
        phones: &[Tail],
    ) -> Result<(usize, Vec<Referred>), ReadError> {
        self.with(|conn, opener| {
            let phones: Vec<i64> = phones
                .iter()
                .flat_map(|tail| phone_macs(&opener.ring, carrier, *tail))
                .collect();
            let mut statement = conn.prepare_cached(
                "SELECT challenge, attempt, part, phone FROM refs WHERE hmac = ?
                 ORDER BY challenge DESC, attempt DESC, part LIMIT ?",
            )?;
            for (place, form) in forms.iter().enumerate() {
                let mut found = Vec::new();
                for mac in macs(&opener.ring, Lookup::Reference, carrier, form) {
                    let rows = statement.query_map(params![mac, REFERRED as i64], |row| {
                        let known: Option<i64> = row.get(3)?;
                        Ok(Referred {
                            key: AttemptKey {
                                challenge: ChallengeKey(row.get(0)?),
                                attempt: row.get(1)?,
                            },
                            part: row.get(2)?,
                            same_phone: known
                                .filter(|_| !phones.is_empty())
                                .map(|known| phones.contains(&known)),
                        })
                    })?;
                    for row in rows {
                        found.push(row?);
                    }
                }
                if !found.is_empty() {
                    return Ok((place, found));
                }
            }
            Ok((0, Vec::new()))
        })
    }

    pub fn early_word(&self, tenant: &str, id: &str) -> Result<Option<ControlMessage>, ReadError> {
        self.with(|conn, opener| early_word(conn, &opener.ring, tenant, id).map_err(Into::into))
    }

    pub fn pending_reports(
        &self,
        after: ReportKey,
        limit: usize,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.with(|conn, opener| {
            let mut statement = conn.prepare_cached(
                "SELECT report, challenge, seq, kind, route, final, until, body FROM outbox
                 WHERE report > ? ORDER BY report LIMIT ?",
            )?;
            let mut rows = statement.query(params![after.0, limit.min(PAGE) as i64])?;
            let mut reports = Vec::new();
            while let Some(row) = rows.next()? {
                let report = row.get(0)?;
                let plain = opener.open(Part::Outbox, report, &row.get::<_, Vec<u8>>(7)?)?;
                let (correlation_id, body) = split_body(&plain).ok_or(ReadError::Sealed)?;
                let route: Arc<str> = row.get(4)?;
                reports.push(OutboxReport {
                    report: ReportKey(report),
                    challenge: ChallengeKey(row.get(1)?),
                    seq: row.get(2)?,
                    target: match row.get(3)? {
                        KIND_REPLY_TO => Target::ReplyTo {
                            queue: route,
                            correlation_id: correlation_id.map(Into::into),
                        },
                        kind => Target::Exchange {
                            routing_key: route,
                            mandatory: kind == KIND_MANDATORY,
                        },
                    },
                    body: body.into(),
                    is_final: row.get(5)?,
                    until: Millis(row.get(6)?),
                });
            }
            Ok(reports)
        })
    }

    pub fn pending(&self, before: [Millis; AGES]) -> Result<Pending, ReadError> {
        self.with(|conn, _| {
            let mut statement = conn.prepare_cached(
                "SELECT count(*), min(at), total(at <= ?), total(at <= ?), total(at <= ?),
                 total(at <= ?) FROM outbox",
            )?;
            let pending = statement.query_row(before.map(|at| at.0), |row| {
                let mut waited = [0; AGES];
                for (place, count) in waited.iter_mut().enumerate() {
                    *count = row.get::<_, f64>(2 + place)? as u64;
                }
                Ok(Pending {
                    count: row.get::<_, i64>(0)? as u64,
                    oldest: row.get::<_, Option<i64>>(1)?.map(Millis),
                    before: waited,
                })
            })?;
            Ok(pending)
        })
    }

    pub fn audit(&self, limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        self.with(|conn, _| {
            let mut select =
                conn.prepare_cached("SELECT record FROM audit ORDER BY number DESC LIMIT ?")?;
            let records = select.query_map([limit.min(PAGE) as i64], |row| row.get(0))?;
            Ok(records.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub fn reports_of(
        &self,
        key: ChallengeKey,
        after_seq: u32,
    ) -> Result<Vec<OutboxReport>, ReadError> {
        self.with(|conn, opener| {
            let mut statement = conn.prepare_cached(
                "SELECT report, seq, final, until, body FROM kept
                 WHERE challenge = ? AND seq > ? ORDER BY seq LIMIT ?",
            )?;
            let mut rows = statement.query(params![key.0, after_seq, PAGE as i64])?;
            let mut reports = Vec::new();
            while let Some(row) = rows.next()? {
                let report = row.get(0)?;
                let body = opener.open(Part::Kept, report, &row.get::<_, Vec<u8>>(4)?)?;
                reports.push(OutboxReport {
                    report: ReportKey(report),
                    challenge: key,
                    seq: row.get(1)?,
                    target: Target::Http,
                    body: body.into(),
                    is_final: row.get(2)?,
                    until: Millis(row.get(3)?),
                });
            }
            drop(rows);
            let packed: Option<Option<Vec<u8>>> = conn
                .prepare_cached("SELECT rest FROM challenges WHERE key = ?")?
                .query_row([key.0], |row| row.get(0))
                .optional()?;
            if let Some(packed) = packed.flatten() {
                let rest = open_rest(opener, key.0, &packed)?.reports.into_iter();
                reports.extend(rest.filter(|r| r.seq > after_seq).map(|r| OutboxReport {
                    report: r.report,
                    challenge: key,
                    seq: r.seq,
                    target: Target::Http,
                    body: r.body.into(),
                    is_final: r.is_final,
                    until: r.until,
                }));
                reports.sort_by_key(|report| report.seq);
                reports.truncate(PAGE);
            }
            Ok(reports)
        })
    }
}

/// What is left of a wiped challenge.
pub(super) fn open_rest(opener: &mut Opener, key: i64, sealed: &[u8]) -> Result<Rest, Unsealable> {
    pack::unpack(&opener.open(Part::Rest, key, sealed)?).ok_or(Unsealable)
}

/// A row of `challenges`, still sealed.
pub(super) struct RawStored {
    pub key: i64,
    arrived: i64,
    deadline: i64,
    ended: Option<i64>,
    verified: Option<bool>,
    head: Vec<u8>,
    last: Option<Vec<u8>>,
    life: Option<Vec<u8>>,
    job: Option<Vec<u8>>,
    late: Option<Vec<u8>>,
    rest: Option<Vec<u8>>,
}

pub(super) fn select_stored(rest: &str) -> String {
    format!(
        "SELECT key, arrived, deadline, ended, verified, head, last, life, job, late, rest FROM {rest}"
    )
}

pub(super) fn raw_stored(row: &Row<'_>) -> rusqlite::Result<RawStored> {
    Ok(RawStored {
        key: row.get(0)?,
        arrived: row.get(1)?,
        deadline: row.get(2)?,
        ended: row.get(3)?,
        verified: row.get(4)?,
        head: row.get(5)?,
        last: row.get(6)?,
        life: row.get(7)?,
        job: row.get(8)?,
        late: row.get(9)?,
        rest: row.get(10)?,
    })
}

impl RawStored {
    pub fn open(self, conn: &Connection, opener: &mut Opener) -> Result<Stored, ReadError> {
        let key = self.key;
        let head = Head::parse(&opener.open(Part::Head, key, &self.head)?)?;
        let early = match self.ended {
            None => early_word(conn, &opener.ring, &head.tenant, &head.id)?,
            Some(_) => None,
        };
        let (job, life, last) = match &self.rest {
            Some(rest) => {
                let rest = open_rest(opener, key, rest)?;
                let last = Some(rest.last).filter(|last| !last.is_empty());
                (rest.job, rest.life, last)
            }
            None => {
                let mut part = |part, sealed: Option<Vec<u8>>| {
                    sealed.map(|s| opener.open(part, key, &s)).transpose()
                };
                let job = part(Part::Job, self.job)?.unwrap_or_default();
                let life = part(Part::Life, self.life)?.unwrap_or_default();
                (job, life, part(Part::Last, self.last)?)
            }
        };
        Ok(Stored {
            key: ChallengeKey(key),
            content: head.content,
            arrived: Millis(self.arrived),
            deadline: Millis(self.deadline),
            job,
            life,
            last,
            ended: self.ended.map(Millis),
            late: self.late.unwrap_or_default(),
            verified: self.verified,
            early,
            tenant: head.tenant,
            id: head.id,
        })
    }
}

/// What of a challenge outlives its wiping: whose it was, and what it said, for "the same again".
pub(super) struct Head {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub content: [u8; 32],
}

impl Head {
    /// `content (32) | length of tenant (4) | tenant | id`
    pub fn write(tenant: &str, id: &str, content: &[u8; 32], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(content);
        out.extend_from_slice(&(tenant.len() as u32).to_le_bytes());
        out.extend_from_slice(tenant.as_bytes());
        out.extend_from_slice(id.as_bytes());
    }

    pub fn parse(plain: &[u8]) -> Result<Head, ReadError> {
        let read = || {
            let (content, rest) = plain.split_first_chunk::<32>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (tenant, id) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            Some(Head {
                tenant: std::str::from_utf8(tenant).ok()?.into(),
                id: std::str::from_utf8(id).ok()?.into(),
                content: *content,
            })
        };
        read().ok_or(ReadError::Sealed)
    }
}

/// `length of correlation id (4, all ones: none) | correlation id | body`
pub(super) fn join_body(correlation_id: Option<&str>, body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let length = correlation_id.map_or(u32::MAX, |c| c.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(correlation_id.unwrap_or_default().as_bytes());
    out.extend_from_slice(body);
}

fn split_body(plain: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*length) {
        u32::MAX => Some((None, rest)),
        length => {
            let (correlation_id, body) = rest.split_at_checked(length as usize)?;
            Some((Some(std::str::from_utf8(correlation_id).ok()?), body))
        }
    }
}

pub(super) fn early_word(
    conn: &Connection,
    ring: &Keyring,
    tenant: &str,
    id: &str,
) -> rusqlite::Result<Option<ControlMessage>> {
    let mut statement = conn.prepare_cached("SELECT word FROM early WHERE hmac = ?")?;
    for mac in macs(ring, Lookup::Id, tenant, id) {
        let word: Option<i64> = statement.query_row([mac], |row| row.get(0)).optional()?;
        if let Some(word) = word {
            return Ok(word_of(word));
        }
    }
    Ok(None)
}

/// The look-up's HMACs under every key, the sealing one first.
pub(super) fn macs<'a>(
    ring: &'a Keyring,
    lookup: Lookup,
    first: &'a str,
    second: &'a str,
) -> impl Iterator<Item = super::seal::Mac> + 'a {
    std::iter::once(ring.mac(lookup, first, second)).chain(ring.older_macs(lookup, first, second))
}

/// The last digits of a phone under the sealing key: four octets, since they only tell apart what shares a reference.
pub(super) fn phone_mac(ring: &Keyring, carrier: &str, phone: Tail) -> i64 {
    short(ring.mac(Lookup::Phone, carrier, &phone.value().to_string()))
}

/// The same under every key.
fn phone_macs(ring: &Keyring, carrier: &str, phone: Tail) -> Vec<i64> {
    macs(ring, Lookup::Phone, carrier, &phone.value().to_string())
        .map(short)
        .collect()
}

fn short(mac: super::seal::Mac) -> i64 {
    i64::from(u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]))
}

pub(super) fn number_of(word: ControlMessage) -> i64 {
    match word {
        ControlMessage::Cancel => 0,
        ControlMessage::Verified => 1,
        ControlMessage::NotVerified => 2,
    }
}

fn word_of(number: i64) -> Option<ControlMessage> {
    match number {
        0 => Some(ControlMessage::Cancel),
        1 => Some(ControlMessage::Verified),
        2 => Some(ControlMessage::NotVerified),
        _ => None,
    }
}

pub(super) const KIND_REPLY_TO: i64 = 0;
pub(super) const KIND_EXCHANGE: i64 = 1;
pub(super) const KIND_MANDATORY: i64 = 2;
/// Most attempts that one reference gives: a carrier that gives all of them one id has no use for more.
pub(super) const REFERRED: usize = 64;
/// Bound of rows that one read gives.
const PAGE: usize = 1_024;
