//! The ledger in PostgreSQL (15 and newer): common to all nodes that will ever write here, kept whole by its transactions.
//!
//! A group is a transaction of three exchanges: what is there is looked up and locked (`found`), the group is planned in
//! memory (`plan`), and what comes of it goes out as a statement for each table (`write`); then comes the commit. Where the
//! answer to a commit is lost, the same group is planned again: what it finds of its own is taken as written, and counts
//! once.
//!
//! Each gateway has what is its own, under its name, which its connection holds; what is left by one that is no longer there
//! others take over (`nodes`).

use std::{
    cell::RefCell,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Opening, Store, StoreNodes, StoreReads};
use crate::{
    admission::{Limits, Windows},
    challenge::Millis,
    ledger::{
        Keeping, OpenError, StoreError, StoreErrorKind,
        codec::Codec,
        group::{Group, Owner, Verdict},
        rows::KnownKey,
    },
};

mod aging;
mod fault;
mod found;
mod nodes;
mod parts;
mod plan;
mod reads;
mod schema;
mod session;
pub mod status;
mod target;
mod write;

#[cfg(test)]
mod tests;

use aging::{Aging, Reseal, Step};
use plan::{Plan, Twice};
use session::{Driver, Link, Session};
use target::Target;

pub(in crate::ledger) struct Postgres {
    session: RefCell<Session>,
    target: Arc<Target>,
    driver: Arc<Driver>,
    name: Arc<str>,
    owner: Owner,
    whom: Whom,
    aging: Aging,
    /// What older keys have sealed may be there.
    resealing: bool,
}

/// Who has the ledger at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    /// One gateway, with all that is open: as every store does that knows one node at a time.
    #[cfg(test)]
    One,
    /// Each what is its own.
    Each,
}

impl Postgres {
    /// Connects, brings the tables to the newest version, and takes the ledger for this process. `path` stands in errors.
    pub fn open(url: &str, path: &Path, node: &str) -> Result<Postgres, OpenError> {
        let target = Target::parse(url)
            .map_err(|error| OpenError::of(path, fault::other(error.to_string())))?;
        Postgres::over(target, path, node, Whom::Each)
    }

    fn over(target: Target, path: &Path, node: &str, whom: Whom) -> Result<Postgres, OpenError> {
        let failed = |source| OpenError::of(path, source);
        let driver = Arc::new(Driver::start().map_err(failed)?);
        let target = Arc::new(target);
        let mut bare = Session::new(&target, &driver, []);
        bare.run(async |link| link.plain("SELECT 1").await)
            .map_err(failed)?;
        schema::migrate(&mut bare, path)?;
        drop(bare);
        let statements = [
            found::STATEMENTS,
            write::STATEMENTS,
            parts::STATEMENTS,
            aging::STATEMENTS,
        ];
        let mut session = Session::new(&target, &driver, statements.concat());
        session.holds(match whom {
            Whom::Each => schema::hold(node),
            #[cfg(test)]
            Whom::One => schema::hold(""),
        });
        let began = Instant::now();
        while let Err(error) = session.stand() {
            match error.kind {
                // A predecessor that is just ending may need a moment.
                StoreErrorKind::Busy if began.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                StoreErrorKind::Busy => {
                    return Err(OpenError::NameInUse {
                        path: path.to_path_buf(),
                        node: node.to_owned(),
                    });
                }
                _ => return Err(failed(error)),
            }
        }
        Ok(Postgres {
            session: session.into(),
            target,
            driver,
            name: node.into(),
            owner: Owner::default(),
            whom,
            aging: Aging::default(),
            resealing: true,
        })
    }

    fn run<T>(
        &self,
        what: impl AsyncFnOnce(&Link) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.session.borrow_mut().run(what)
    }
}

impl Store for Postgres {
    fn keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        let rows = self.run(async |link| link.seldom(KEYS, &[]).await)?;
        rows.iter().map(known_key).collect()
    }

    fn seals_with(&mut self, fingerprint: [u8; 8], id: &str) -> Result<u16, StoreError> {
        let rows = self.run(async |link| {
            link.seldom(
                "INSERT INTO keys (fingerprint, id, sealed) VALUES ($1, $2, true)
                 ON CONFLICT (fingerprint) DO UPDATE SET sealed = true RETURNING number",
                &[&fingerprint.as_slice(), &id],
            )
            .await
        })?;
        number(rows.first().map(|row| row.get(0)))
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.run(async |link| {
            link.seldom("SELECT sealed FROM secrets WHERE name = $1", &[&name])
                .await
        })?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn put_secret(&mut self, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.run(async |link| {
            link.seldom(
                "INSERT INTO secrets (name, sealed) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
                &[&name, &sealed],
            )
            .await
        })?;
        Ok(())
    }

    fn begin(&mut self) -> Result<Opening, StoreError> {
        let (name, whom) = (self.name.clone(), self.whom);
        let opening = self.run(async |link| {
            schema::judge(link).await?;
            link.plain("BEGIN").await?;
            let opening = schema::begin(link, &name).await?;
            match whom {
                Whom::Each => {}
                #[cfg(test)]
                Whom::One => schema::take_over(link, opening.owner).await?,
            }
            link.commit().await?;
            Ok(opening)
        })?;
        self.owner = opening.owner;
        Ok(opening)
    }

    /// They stand in a table.
    fn windows(&mut self) -> Option<&mut Windows> {
        None
    }

    fn full(&mut self, limits: &Limits, now: Millis) -> Result<Vec<(u64, Millis)>, StoreError> {
        self.run(async |link| found::full(link, limits, now).await)
    }

    fn reader(&self) -> Result<Box<dyn StoreReads>, StoreError> {
        let statements = reads::STATEMENTS.iter().copied();
        Ok(Box::new(reads::Reads {
            session: Session::new(&self.target, &self.driver, statements),
            node: i32::from(self.owner.node),
        }))
    }

    fn nodes(&self) -> Option<Box<dyn StoreNodes>> {
        let statements = nodes::STATEMENTS.iter().copied();
        Some(Box::new(nodes::Nodes {
            session: Session::new(&self.target, &self.driver, statements),
            owner: self.owner,
        }))
    }

    fn lock(&mut self) -> Result<(), StoreError> {
        self.session.borrow_mut().stand()
    }

    fn commit(&mut self, group: &Group, verdicts: &mut Vec<Verdict>) -> Result<(), StoreError> {
        self.run(async |link| {
            let mut twice = Twice::default();
            // A key that was given twice is found by writing it; each round finds all there are, so the second is the last.
            for _ in 0..ROUNDS {
                let (found, fence) = found::look(link, group, twice.clone()).await?;
                let mut plan = Plan::of(found);
                group.apply(&fence, verdicts, |row| plan.put(group, row))?;
                match write::write(link, group, &plan).await? {
                    None => return link.commit().await,
                    Some(found) => {
                        link.plain("ROLLBACK").await?;
                        twice.add(found);
                    }
                }
            }
            Err(fault::other(
                "keys that were given twice are found again and again".to_owned(),
            ))
        })
    }

    fn housekeep(
        &mut self,
        codec: &mut Codec,
        keeping: &Keeping,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let mut aging = self.aging.clone();
        let resealing = self.resealing;
        let (aging, more) = self.run(async |link| {
            if resealing {
                aging.reseal = Reseal::begin(link, codec).await?;
            }
            link.plain("BEGIN").await?;
            let mut step = Step {
                link,
                codec,
                keeping,
                now,
            };
            let more = aging.step(&mut step).await?;
            link.commit().await?;
            Ok((aging, more))
        })?;
        self.aging = aging;
        self.resealing = false;
        Ok(more)
    }

    fn reseal(&mut self) {
        self.resealing = true;
    }

    fn upkeep_in(&self) -> Option<Duration> {
        Some(ASK_EVERY.saturating_sub(self.session.borrow().answered()))
    }

    /// An idle gateway also hears that its database is gone.
    fn upkeep(&mut self) -> Result<(), StoreError> {
        match self.upkeep_in() {
            Some(Duration::ZERO) => self.run(async |link| link.plain("SELECT 1").await),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        let owner = self.owner;
        self.run(async |link| nodes::leave(link, owner).await)
    }
}

fn known_key(row: &tokio_postgres::Row) -> Result<KnownKey, StoreError> {
    let fingerprint: &[u8] = row.get(1);
    Ok(KnownKey {
        number: number(Some(row.get(0)))?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| fault::other("a key's fingerprint has not eight octets".to_owned()))?,
        id: row.get(2),
        sealed: row.get(3),
    })
}

/// Of a key or a node.
fn number(number: Option<i32>) -> Result<u16, StoreError> {
    let number = number.and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| fault::other("a number is beyond 65535".to_owned()))
}

const KEYS: &str = "SELECT number, fingerprint, id, sealed FROM keys ORDER BY number";
/// How long a predecessor's lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// The database is asked for an answer after so long without one.
const ASK_EVERY: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(100);
const ROUNDS: usize = 3;
