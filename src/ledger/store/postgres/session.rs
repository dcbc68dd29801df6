//! A connection to the database: made when it is needed, and made anew after it broke.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_postgres::{Client, Row, Statement, types::ToSql};

use super::{
    fault::{fault, other, words},
    target::{PATIENCE, Target},
};
use crate::ledger::{StoreError, StoreErrorKind};

/// What a statement is given.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// The thread that drives all connections of a store.
pub(super) struct Driver(Option<Runtime>);

impl Driver {
    pub fn start() -> Result<Driver, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-database")
            .enable_all()
            .build();
        let runtime = runtime
            .map_err(|error| other(format!("no thread for the database's connections: {error}")))?;
        Ok(Driver(Some(runtime)))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may be dropped where nothing may block.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One connection, in the hands of one thread at a time.
pub(super) struct Session {
    target: Arc<Target>,
    driver: Arc<Driver>,
    /// Prepared with each connection.
    statements: Vec<&'static str>,
    /// Says whether this connection has the ledger for itself.
    hold: Option<String>,
    link: Option<Link>,
    /// When the last answer came.
    answered: Instant,
    /// No connection is tried before: whoever asks meanwhile hears what went wrong.
    broken: Option<(Instant, StoreError)>,
}

/// A connection that stands, with its prepared statements.
pub(super) struct Link {
    client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl Session {
    pub fn new(
        target: &Arc<Target>,
        driver: &Arc<Driver>,
        statements: impl IntoIterator<Item = &'static str>,
    ) -> Session {
        Session {
            target: target.clone(),
            driver: driver.clone(),
            statements: statements.into_iter().collect(),
            hold: None,
            link: None,
            answered: Instant::now(),
            broken: None,
        }
    }

    /// So long ago.
    pub fn answered(&self) -> Duration {
        self.answered.elapsed()
    }

    /// Each connection takes this lock first, or is none.
    pub fn holds(&mut self, lock: String) {
        self.hold = Some(lock);
    }

    /// Runs what is missing of these, between two statements that lock and unlock.
    pub fn migrate(
        &mut self,
        lock: &str,
        unlock: &str,
        runner: refinery::Runner,
    ) -> Result<(), StoreError> {
        self.stand()?;
        let Some(mut link) = self.link.take() else {
            return Ok(());
        };
        // The connection ends with it, and the lock with the connection, whatever happens.
        self.wait(async {
            link.plain("SET statement_timeout = 0; SET lock_timeout = 0")
                .await?;
            link.plain(lock).await?;
            let ran = runner.run_async(&mut link.client).await;
            ran.map_err(|error| other(words(&error)))?;
            link.plain(unlock).await
        })?
    }

    /// Does this over the connection, within [`PATIENCE`]. After an error nothing is left of a transaction that it began.
    pub fn run<T>(
        &mut self,
        what: impl AsyncFnOnce(&Link) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.stand()?;
        let Some(link) = &self.link else {
            return Err(other("no connection to the database".to_owned()));
        };
        let result = self.wait(async {
            match timeout(PATIENCE, what(link)).await {
                Ok(Err(error)) if !link.client.is_closed() => {
                    // Where there is no transaction this says so, and does nothing.
                    let rolled_back = timeout(PATIENCE, link.client.batch_execute("ROLLBACK"));
                    (Err(error), matches!(rolled_back.await, Ok(Ok(()))))
                }
                Ok(result) => (result, true),
                Err(_) => (Err(silent()), false),
            }
        })?;
        let (result, is_usable) = result;
        if is_usable {
            self.answered = Instant::now();
        }
        if !is_usable || self.link.as_ref().is_some_and(|l| l.client.is_closed()) {
            self.link = None;
        }
        result
    }

    /// A connection is there, or is made.
    pub fn stand(&mut self) -> Result<(), StoreError> {
        if self.link.as_ref().is_some_and(|l| !l.client.is_closed()) {
            return Ok(());
        }
        self.link = None;
        if let Some((at, error)) = &self.broken
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let connected = self.wait(async {
            match timeout(PATIENCE, self.connect()).await {
                Ok(connected) => connected,
                Err(_) => Err(silent()),
            }
        })?;
        match connected {
            Ok(link) => {
                (self.link, self.broken) = (Some(link), None);
                Ok(())
            }
            Err(error) => {
                self.broken = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Blocks this thread, whatever it is, until it is done; the driver's thread moves the octets meanwhile.
    fn wait<F: Future>(&self, what: F) -> Result<F::Output, StoreError> {
        let Some(runtime) = &self.driver.0 else {
            return Err(other("the ledger is closed".to_owned()));
        };
        let _clock = runtime.enter();
        Ok(futures_lite::future::block_on(what))
    }

    async fn connect(&self) -> Result<Link, StoreError> {
        let client = self.target.connect().await?;
        client.batch_execute(SETTINGS).await.map_err(fault)?;
        if let Some(hold) = &self.hold {
            let row = client.query_one(hold.as_str(), &[]).await.map_err(fault)?;
            if !row.get::<_, bool>(0) {
                return Err(StoreError {
                    reason: "another gateway has this node's name in this ledger".to_owned(),
                    kind: StoreErrorKind::Busy,
                });
            }
        }
        let mut prepared = HashMap::new();
        for sql in &self.statements {
            prepared.insert(*sql, client.prepare(sql).await.map_err(fault)?);
        }
        Ok(Link { client, prepared })
    }
}

impl Link {
    /// Rows of one of the statements that the session prepares. It is sent when first polled, so what is polled together goes
    /// in one packet.
    pub async fn rows(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.statement(sql)?;
        self.client.query(statement, params).await.map_err(fault)
    }

    /// How many rows it has touched.
    pub async fn put(&self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let statement = self.statement(sql)?;
        self.client.execute(statement, params).await.map_err(fault)
    }

    /// A statement that is seldom needed, or made of parts.
    pub async fn seldom(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.client.query(sql, params).await.map_err(fault)
    }

    /// Statements without parameters or rows.
    pub async fn plain(&self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).await.map_err(fault)
    }

    /// Ends the transaction. Where its answer is lost, it may have taken effect.
    pub async fn commit(&self) -> Result<(), StoreError> {
        self.plain("COMMIT")
            .await
            .map_err(|error| match error.kind {
                StoreErrorKind::Unavailable if self.client.is_closed() => StoreError {
                    kind: StoreErrorKind::InDoubt,
                    ..error
                },
                _ => error,
            })
    }

    fn statement(&self, sql: &'static str) -> Result<&Statement, StoreError> {
        let prepared = self.prepared.get(sql);
        prepared.ok_or_else(|| other(format!("a statement was not prepared: {sql}")))
    }
}

fn silent() -> StoreError {
    StoreError {
        reason: format!("no answer from the database for {} s", PATIENCE.as_secs()),
        // A commit may be among what was not answered.
        kind: StoreErrorKind::InDoubt,
    }
}

/// A transaction is durable when it is answered; and no statement, lock or idle transaction outlives whoever waits for it.
const SETTINGS: &str = "
SET synchronous_commit = on;
SET statement_timeout = '4s';
SET lock_timeout = '2s';
SET idle_in_transaction_session_timeout = '4s';
SET default_transaction_isolation = 'read committed';
SET client_min_messages = warning;
SET jit = off";

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);
