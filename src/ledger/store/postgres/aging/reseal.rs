//! A change of keys: what an older key has sealed is sealed again by the first, a few rows at a time.

use super::super::session::{Link, Param};
use crate::ledger::{StoreError, codec::Codec, seal::Part};

/// A walk over everything that is sealed: the place of the table in [`TABLES`], and how far it is done.
#[derive(Clone, Copy)]
pub(in super::super) struct Reseal {
    table: usize,
    after: i64,
}

impl Reseal {
    /// None: the first key has sealed everything.
    pub async fn begin(link: &Link, codec: &Codec) -> Result<Option<Reseal>, StoreError> {
        let number = i32::from(codec.ring.number());
        let older = "SELECT 1 FROM keys WHERE sealed AND number <> $1";
        let older = link.seldom(older, &[&number]).await?;
        let reseal = Reseal {
            table: 0,
            after: i64::MIN,
        };
        Ok((!older.is_empty()).then_some(reseal))
    }

    /// One step; None: that was all.
    pub async fn step(self, link: &Link, codec: &mut Codec) -> Result<Option<Reseal>, StoreError> {
        let Some(table) = TABLES.get(self.table) else {
            let number = i32::from(codec.ring.number());
            link.seldom(
                "UPDATE keys SET sealed = false WHERE number <> $1",
                &[&number],
            )
            .await?;
            tracing::info!("the ledger is sealed by its first key alone");
            return Ok(None);
        };
        Ok(Some(match table.step(link, codec, self.after).await? {
            Some(after) => Reseal { after, ..self },
            None => Reseal {
                table: self.table + 1,
                after: i64::MIN,
            },
        }))
    }
}

/// A table with what is sealed in it.
struct Table {
    name: &'static str,
    key: &'static str,
    columns: &'static [(&'static str, Part)],
}

/// Challenges have their id beside the head: it is found by an HMAC under the key that sealed the head.
const TABLES: &[Table] = &[
    Table {
        name: "live",
        key: "key",
        columns: &[
            ("head", Part::Head),
            ("last", Part::Last),
            ("life", Part::Life),
            ("job", Part::Job),
        ],
    },
    Table {
        name: "history",
        key: "key",
        columns: &[("head", Part::Head), ("rest", Part::Rest)],
    },
    Table {
        name: "outbox",
        key: "report",
        columns: &[("body", Part::Outbox)],
    },
    Table {
        name: "kept",
        key: "report",
        columns: &[("body", Part::Kept)],
    },
    Table {
        name: "inbox",
        key: "message",
        columns: &[("body", Part::Inbox)],
    },
    Table {
        name: "outcomes",
        key: "key",
        columns: &[("body", Part::EndedChallenge)],
    },
];

impl Table {
    /// Where to go on; None: that was all.
    async fn step(
        &self,
        link: &Link,
        codec: &mut Codec,
        after: i64,
    ) -> Result<Option<i64>, StoreError> {
        let Table { name, key, columns } = self;
        let selected: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
        let select = format!(
            "SELECT {key}, {} FROM {name} WHERE {key} > $1 ORDER BY {key} LIMIT $2",
            selected.join(", ")
        );
        let rows = link.seldom(&select, &[&after, &STEP]).await?;
        for row in &rows {
            let row_key: i64 = row.get(0);
            for (place, (column, part)) in columns.iter().enumerate() {
                let sealed: Option<&[u8]> = row.get(place + 1);
                let Some(sealed) = sealed else { continue };
                if let Part::Head = part {
                    self.head(link, codec, row_key, sealed).await?;
                } else if let Some(new) = codec.again(*part, row_key, sealed) {
                    let update = format!("UPDATE {name} SET {column} = $2 WHERE {key} = $1");
                    link.seldom(&update, &[&row_key, &new]).await?;
                }
            }
        }
        let is_full = rows.len() as i64 >= STEP;
        Ok(rows.last().filter(|_| is_full).map(|row| row.get(0)))
    }

    async fn head(
        &self,
        link: &Link,
        codec: &mut Codec,
        key: i64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let Some((new, mac)) = codec.head_again(key, sealed) else {
            return Ok(());
        };
        let mac = mac.as_slice();
        let name = self.name;
        let moved: [Param<'_>; 2] = [&key, &mac];
        // The old HMAC is beside the head until then.
        link.seldom(
            &format!(
                "UPDATE ids SET hmac = $2 FROM {name} AS l
                 WHERE l.key = $1 AND ids.hmac = l.id AND ids.key = $1"
            ),
            &moved,
        )
        .await?;
        let update = format!("UPDATE {name} SET head = $2, id = $3 WHERE key = $1");
        link.seldom(&update, &[&key, &new, &mac]).await?;
        Ok(())
    }
}

/// Bound of rows that one step touches.
const STEP: i64 = 128;
