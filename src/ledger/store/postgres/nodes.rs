//! Several nodes beside each other: that this one lives, what it takes over of those that don't, and what others have left
//! for it. Over a connection of its own, so that a commit that takes long does not keep it from being heard of.

use super::{
    fault::other,
    number,
    reads::{call, challenge, inbox},
    session::{Link, Session},
};
use crate::{
    challenge::Millis,
    ledger::{
        StoreError,
        group::Owner,
        rows::InboxRow,
        store::{Beat, Errands, NodeRow, StoreNodes, TakenRows},
    },
};

pub(super) struct Nodes {
    pub session: Session,
    pub owner: Owner,
}

impl StoreNodes for Nodes {
    fn beat(&mut self, beat: &Beat) -> Result<Option<Vec<NodeRow>>, StoreError> {
        let Owner { node, term } = self.owner;
        let node = i32::from(node);
        self.session.run(async |link| {
            let Beat {
                version,
                configuration,
                open,
                parts,
                seen,
            } = beat;
            let counted = link
                .put(
                    BEAT,
                    &[&node, &term, version, configuration, open, parts, seen],
                )
                .await?;
            match counted {
                0 => Ok(None),
                _ => all(link).await.map(Some),
            }
        })
    }

    fn take(&mut self, of: &NodeRow, limit: usize) -> Result<TakenRows, StoreError> {
        let owner = self.owner;
        self.session.run(async |link| {
            link.plain("BEGIN").await?;
            let taken = take(link, owner, of, limit as i64).await?;
            link.commit().await?;
            Ok(taken)
        })
    }

    fn errands(&mut self) -> Result<Errands, StoreError> {
        let node = i32::from(self.owner.node);
        self.session.run(async |link| {
            let params: [super::session::Param<'_>; 1] = [&node];
            let (words, handed) =
                tokio::join!(biased; link.rows(WORDS, &params), link.rows(HANDED, &params));
            let words = words?
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2)))
                .collect();
            let inbox = handed?.iter().map(inbox).collect();
            Ok(Errands { words, inbox })
        })
    }

    fn waiting(&mut self, before: Millis) -> Result<Vec<InboxRow>, StoreError> {
        let node = i32::from(self.owner.node);
        self.session.run(async |link| {
            let rows = link.rows(WAITING, &[&node, &before.0]).await?;
            Ok(rows.iter().map(inbox).collect())
        })
    }
}

pub(super) async fn all(link: &Link) -> Result<Vec<NodeRow>, StoreError> {
    let rows = link.seldom(NODES, &[]).await?;
    let nodes = rows.iter().map(|row| {
        Ok(NodeRow {
            number: number(Some(row.get(0)))?,
            name: row.get(1),
            term: row.get(2),
            beat: row.get(3),
            gone: row.get(4),
            version: row.get(5),
            configuration: row.get(6),
            open: row.get(7),
            parts: row.get(8),
            seen: row.get(9),
        })
    });
    nodes.collect()
}

/// One bite of what a node has left: nothing, where it lives after all.
async fn take(
    link: &Link,
    owner: Owner,
    of: &NodeRow,
    limit: i64,
) -> Result<TakenRows, StoreError> {
    let (node, left) = (i32::from(owner.node), i32::from(of.number));
    // Its own transactions hold this row for as long as they last, so none of them is half way.
    let params: [super::session::Param<'_>; 3] = [&left, &of.term, &of.beat];
    if link.rows(STANDS_STILL, &params).await?.is_empty() {
        return Ok(TakenRows::default());
    }
    let own = link.rows(OWN, &[&node, &owner.term]).await?;
    if own.is_empty() {
        return Err(other("this node's opening is over".to_owned()));
    }
    link.put(ROB, &[&left]).await?;
    let rows = link
        .rows(TAKE_OPEN, &[&node, &owner.term, &left, &limit])
        .await?;
    let challenges: Vec<_> = rows.iter().map(challenge).collect();
    let rows = link.rows(TAKE_CALLS, &[&node, &left, &limit]).await?;
    let calls: Vec<_> = rows.iter().map(call).collect();
    let rows = link.rows(TAKE_INBOX, &[&node, &left, &limit]).await?;
    let messages: Vec<_> = rows.iter().map(inbox).collect();
    let reports = link.put(TAKE_OUTBOX, &[&node, &left, &limit]).await?;
    let most = limit.unsigned_abs();
    let lengths = [challenges.len(), calls.len(), messages.len()];
    let is_more = reports >= most || lengths.iter().any(|length| *length as u64 >= most);
    Ok(TakenRows {
        challenges,
        calls,
        inbox: messages,
        reports,
        is_more,
    })
}

/// This node has ended well: nobody waits for its term to run out.
pub(super) async fn leave(link: &Link, owner: Owner) -> Result<(), StoreError> {
    let node = i32::from(owner.node);
    let gone = "UPDATE nodes SET gone = true WHERE number = $1 AND term = $2";
    link.seldom(gone, &[&node, &owner.term]).await.map(drop)
}

pub(super) const STATEMENTS: &[&str] = &[
    BEAT,
    WORDS,
    HANDED,
    WAITING,
    STANDS_STILL,
    OWN,
    ROB,
    TAKE_OPEN,
    TAKE_CALLS,
    TAKE_INBOX,
    TAKE_OUTBOX,
];

const BEAT: &str = "UPDATE nodes SET beat = beat + 1, version = $3, configuration = $4, open = $5,
    parts = $6, seen = $7
    WHERE number = $1 AND term = $2";
const NODES: &str = "SELECT number, name, term, beat, gone, version, configuration, open,
    parts, seen FROM nodes
    ORDER BY number";
/// Control messages for open challenges of this node.
const WORDS: &str = "SELECT live.key, early.word, early.until FROM early
    JOIN ids ON ids.hmac = early.hmac JOIN live ON live.key = ids.key
    WHERE live.owner = $1 AND live.ended IS NULL";
const HANDED: &str = "SELECT message, at, body FROM inbox
    WHERE owner = $1 AND challenge IS NOT NULL ORDER BY message";
const WAITING: &str = "SELECT message, at, body FROM inbox WHERE owner = $1 AND at < $2
    ORDER BY message LIMIT 256";
const STANDS_STILL: &str =
    "SELECT 1 FROM nodes WHERE number = $1 AND term = $2 AND beat = $3 FOR UPDATE";
const OWN: &str = "SELECT 1 FROM nodes WHERE number = $1 AND term = $2 FOR KEY SHARE";
const ROB: &str = "UPDATE nodes SET robbed = robbed + 1 WHERE number = $1";
/// Those that end first come first.
const TAKE_OPEN: &str = "UPDATE live SET owner = $1, term = $2 WHERE key IN
    (SELECT key FROM live WHERE owner = $3 AND ended IS NULL ORDER BY deadline LIMIT $4)
    RETURNING key, arrived, deadline, ended, verified, head, last, life, job, late, NULL::bytea";
const TAKE_CALLS: &str = "UPDATE calls SET owner = $1 WHERE (challenge, attempt) IN
    (SELECT challenge, attempt FROM calls WHERE owner = $2 LIMIT $3)
    RETURNING challenge, attempt, carrier, state";
const TAKE_INBOX: &str = "UPDATE inbox SET owner = $1, challenge = NULL WHERE message IN
    (SELECT message FROM inbox WHERE owner = $2 ORDER BY message LIMIT $3)
    RETURNING message, at, body";
const TAKE_OUTBOX: &str = "UPDATE outbox SET owner = $1 WHERE report IN
    (SELECT report FROM outbox WHERE owner = $2 ORDER BY report LIMIT $3)";
