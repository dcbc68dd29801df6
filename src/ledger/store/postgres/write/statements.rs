//! The statements by which a plan is written.

pub(in super::super) const STATEMENTS: &[&str] = &[
    RECLAIM,
    ACCEPT,
    LIFE,
    END,
    REPORT,
    REPORT_DONE,
    KEEP,
    REFERENCE,
    INBOX,
    INBOX_DONE,
    INBOX_HANDED,
    CALL_UP,
    CALL_DOWN,
    EARLY,
    EARLY_WITHDRAWN,
    LATE,
    FEEDBACK,
    COUNT,
    IDS_OF,
    REPORTS,
    KEPT,
    PAST_LATE,
    PAST_FEEDBACK,
    RECORD,
    UNRECORD,
    FORGET_RECORDS,
    IN_FORCE,
    NOT_IN_FORCE,
];

pub(super) const RECLAIM: &str = "UPDATE ids SET key = u.key
    FROM unnest($1::bytea[], $2::bigint[]) AS u (hmac, key) WHERE ids.hmac = u.hmac";
pub(super) const ACCEPT: &str =
    "INSERT INTO live (owner, term, key, arrived, deadline, ended, verified, id,
        head, last, life, job, limits, late)
    SELECT $1, $2, u.* FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::boolean[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[],
        $13::bytea[], $14::bytea[]) AS u ON CONFLICT DO NOTHING";
pub(super) const LIFE: &str = "UPDATE live SET life = u.life, term = $3
    FROM unnest($1::bigint[], $2::bytea[]) AS u (key, life) WHERE live.key = u.key";
pub(super) const END: &str =
    "UPDATE live SET life = u.life, last = u.last, ended = u.ended, term = $5
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[]) AS u (key, life, last, ended)
    WHERE live.key = u.key";
pub(super) const REPORT: &str =
    "INSERT INTO outbox (owner, report, challenge, seq, kind, route, final, until,
        at, body)
    SELECT $1, u.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::bytea[],
        $7::boolean[], $8::bigint[], $9::bigint[], $10::bytea[]) AS u ON CONFLICT DO NOTHING";
pub(super) const REPORT_DONE: &str = "DELETE FROM outbox WHERE report = ANY ($1)";
pub(super) const KEEP: &str = "INSERT INTO kept (report, challenge, seq, final, until, body)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bigint[],
        $6::bytea[]) ON CONFLICT DO NOTHING";
pub(super) const REFERENCE: &str =
    "INSERT INTO refs (hmac, challenge, attempt, part, number, phone)
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::integer[], $4::integer[], $5::integer[],
        $6::bigint[])
    ON CONFLICT (hmac, challenge, attempt, part)
    DO UPDATE SET number = excluded.number, phone = excluded.phone";
pub(super) const INBOX: &str = "INSERT INTO inbox (owner, message, at, body)
    SELECT $1, u.* FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS u
    ON CONFLICT DO NOTHING";
pub(super) const INBOX_DONE: &str = "DELETE FROM inbox WHERE message = ANY ($1)";
/// The challenge is held while its owner is looked up: whoever takes it over meanwhile finds the message as well. Where nobody
/// has it any more, the message comes back.
pub(super) const INBOX_HANDED: &str = "WITH held AS
    (SELECT key, owner FROM live WHERE key = ANY ($2) AND ended IS NULL FOR SHARE)
    UPDATE inbox SET owner = coalesce(held.owner, inbox.owner), challenge = u.challenge
    FROM unnest($1::bigint[], $2::bigint[]) AS u (message, challenge)
    LEFT JOIN held ON held.key = u.challenge WHERE inbox.message = u.message";
pub(super) const CALL_UP: &str = "INSERT INTO calls (owner, challenge, attempt, carrier, state)
    SELECT $1, u.* FROM unnest($2::bigint[], $3::integer[], $4::bytea[], $5::bytea[]) AS u
    ON CONFLICT (challenge, attempt) DO UPDATE SET owner = excluded.owner,
        carrier = excluded.carrier, state = excluded.state";
pub(super) const CALL_DOWN: &str =
    "DELETE FROM calls USING unnest($1::bigint[], $2::integer[]) AS u (c, a)
    WHERE challenge = u.c AND attempt = u.a";
pub(super) const EARLY: &str = "INSERT INTO early (hmac, number, word, until)
    SELECT * FROM unnest($1::bytea[], $2::integer[], $3::bigint[], $4::bigint[])
    ON CONFLICT (hmac) DO UPDATE SET number = excluded.number, word = excluded.word,
        until = excluded.until";
pub(super) const EARLY_WITHDRAWN: &str = "DELETE FROM early
    USING unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS u (h, w, t)
    WHERE hmac = u.h AND word = u.w AND until = u.t";
pub(super) const LATE: &str = "UPDATE live SET late = u.late
    FROM unnest($1::bigint[], $2::bytea[]) AS u (key, late) WHERE live.key = u.key";
pub(super) const FEEDBACK: &str = "UPDATE live SET verified = u.verified
    FROM unnest($1::bigint[], $2::boolean[]) AS u (key, verified) WHERE live.key = u.key";
pub(super) const PAST_LATE: &str = "UPDATE history SET late = u.late
    FROM unnest($1::bigint[], $2::bytea[]) AS u (key, late) WHERE history.key = u.key";
pub(super) const PAST_FEEDBACK: &str = "UPDATE history SET verified = u.verified
    FROM unnest($1::bigint[], $2::boolean[]) AS u (key, verified) WHERE history.key = u.key";
pub(super) const COUNT: &str = "UPDATE windows SET until = u.until, arrivals = u.arrivals
    FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS u (key, until, arrivals)
    WHERE windows.key = u.key";
pub(super) const IDS_OF: &str = "SELECT key, id FROM live WHERE key = ANY ($1)
    UNION ALL SELECT key, id FROM history WHERE key = ANY ($1)";
pub(super) const REPORTS: &str =
    "SELECT report, challenge, seq FROM outbox WHERE report = ANY ($1)";
pub(super) const KEPT: &str = "SELECT report, challenge, seq FROM kept WHERE report = ANY ($1)";
pub(super) const IN_FORCE: &str = "INSERT INTO overlay (subject, entry) VALUES ($1, $2)
    ON CONFLICT (subject) DO UPDATE SET entry = excluded.entry";
pub(super) const NOT_IN_FORCE: &str = "DELETE FROM overlay WHERE subject = $1";
pub(super) const RECORD: &str =
    "INSERT INTO audit (record) SELECT $1::bytea WHERE NOT EXISTS (SELECT 1
    FROM audit WHERE record = $1 AND number > (SELECT max(number) FROM audit) - $2::bigint)";
pub(super) const UNRECORD: &str = "DELETE FROM audit
    WHERE record = $1 AND number > (SELECT max(number) FROM audit) - $2::bigint";
pub(super) const FORGET_RECORDS: &str =
    "DELETE FROM audit WHERE number <= (SELECT max(number) FROM audit) - $1::bigint";
