//! Whose the rows are. One process at a time has a file, and takes over with it all that is open there; so nothing needs to be
//! looked up while it writes in its own name. A group in another's name, or of an opening that is over, is held against
//! the rows.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, params};

use super::meta;
use crate::ledger::group::{Fence, Group, Owner};

/// The node that has opened the file.
pub(super) struct Node {
    name: Arc<str>,
    owner: Owner,
    /// All that is open is its own.
    is_alone: bool,
    /// In whose name the present group is written, and in which term.
    pub writer: Arc<str>,
    pub term: i64,
}

impl Node {
    pub fn new(name: &str) -> Node {
        Node {
            name: name.into(),
            owner: Owner::default(),
            is_alone: false,
            writer: name.into(),
            term: 0,
        }
    }

    /// From this opening on it has all that is open.
    pub fn begin(&mut self, conn: &Connection, epoch: i64) -> rusqlite::Result<Owner> {
        let number = conn.query_row(
            "INSERT INTO nodes (name, term) VALUES (?, ?)
             ON CONFLICT (name) DO UPDATE SET term = excluded.term RETURNING number",
            params![&*self.name, epoch],
            |row| row.get(0),
        )?;
        conn.execute(
            "UPDATE challenges SET owner = ?1 WHERE key >= ?2 AND ended IS NULL AND owner <> ?1",
            params![&*self.name, meta(conn, "open_from")?],
        )?;
        self.owner = Owner {
            node: number,
            term: epoch,
        };
        self.is_alone = true;
        Ok(self.owner)
    }

    /// What of the group is not its owner's, in whose name its rows are written.
    pub fn fence(&mut self, conn: &Connection, group: &Group) -> rusqlite::Result<Fence> {
        let Owner { node, term } = group.owner;
        self.term = term;
        if group.owner == self.owner {
            self.writer = self.name.clone();
            if self.is_alone {
                return Ok(Fence::Open);
            }
        } else {
            let known: Option<(String, i64)> = conn
                .prepare_cached("SELECT name, term FROM nodes WHERE number = ?")?
                .query_row([node], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match known {
                Some((name, current)) if current == term => self.writer = name.into(),
                Some(_) | None => return Ok(Fence::Over),
            }
            // What begins in it is the other's.
            self.is_alone = false;
        }
        let mut select = conn.prepare_cached(
            "SELECT ended IS NOT NULL FROM challenges WHERE key = ? AND owner <> ?",
        )?;
        let mut others = BTreeMap::new();
        for key in group.challenges() {
            let ended = select.query_row(params![key, &*self.writer], |row| row.get(0));
            others.extend(ended.optional()?.map(|ended| (key, ended)));
        }
        Ok(Fence::Others(others))
    }
}
