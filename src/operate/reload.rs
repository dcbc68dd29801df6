//! Reload: another configuration, whole or not at all, while everything runs.
//!
//! What a new set changes is in the log key by key, and in the answer. A set that is refused is tried again by itself:
//! what stood in its way (a port, a file that could not be read) may be gone. Until then the log has said so once, and
//! `/readyz` says it as a detail: the old set serves, so the gateway stays ready.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Control, log};
use crate::config::{
    Change, Config, Diff, Fault, ReloadOutcome,
    reach::{Losses, Named},
    reload::{Gone, New},
};

/// How often a refused set is tried again.
pub const RETRY: Duration = Duration::from_secs(2);
/// Changes that are logged one by one; of the others the log says how many there are.
const CHANGES_LOGGED: usize = 50;

/// What runs, as a reload changes it.
pub trait Reconfigure: Send + Sync {
    /// Makes everything ready for another configuration and lets it take over, or says what stands in its way: then
    /// nothing has happened. Given up once `leaves` is cancelled, as long as nothing has been taken over.
    fn change(
        &self,
        config: Config,
        leaves: CancellationToken,
    ) -> BoxFuture<'_, Result<(), NotChanged>>;
}

/// Why another configuration did not take over.
#[derive(Debug)]
pub enum NotChanged {
    Refused(String),
    Draining,
}

/// What a reload came to.
#[derive(Debug)]
pub enum Reloaded {
    New(Box<Taken>),
    /// The files say what is in force, as far as it can be without a restart.
    Unchanged {
        restart_needed: Vec<&'static str>,
    },
    /// The old set stays.
    Faulty(Vec<Fault>),
    /// The files are good, but a driver would not start.
    Refused(String),
    /// The gateway is on its way out.
    Draining,
}

/// What has changed.
#[derive(Debug)]
pub struct Taken {
    pub diff: Diff,
    pub changes: Vec<Change>,
    pub restart_needed: Vec<&'static str>,
    /// What the broker is sent with its next connection.
    pub at_next_connection: Vec<&'static str>,
    pub gone: Vec<Gone>,
    pub losses: Losses,
    /// What the files say that will perhaps not do what its author thinks.
    pub warnings: Vec<Fault>,
}

/// How reloading stands: what the operator is told until it is over.
#[derive(Debug, Default)]
pub(super) struct ReloadStatus(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    refused: Option<Refused>,
    restart_needed: Vec<&'static str>,
}

#[derive(Debug)]
struct Refused {
    since: Instant,
    reasons: Vec<String>,
    /// As whoever asked for it has allowed.
    allow_empty: bool,
}

impl Control {
    /// Reads all files again, whole or not at all, and the listeners' tokens. What it came to is in the log.
    /// `allow_empty`: files that have been emptied, and a set without routes, are meant so.
    pub async fn reload(self: &Arc<Self>, allow_empty: bool) -> Reloaded {
        let allow_empty = allow_empty || self.allows_empty();
        let reloaded = self.read_and_take(allow_empty).await;
        let refused = match &reloaded {
            Reloaded::New(_) => self.standing.accepted("is in force now"),
            Reloaded::Unchanged { .. } => self
                .standing
                .accepted("is gone: the files say what is in force"),
            Reloaded::Faulty(faults) => {
                let reasons = faults.iter().map(ToString::to_string).collect();
                self.standing.refused(reasons, allow_empty)
            }
            Reloaded::Refused(reason) => self.standing.refused(vec![reason.clone()], allow_empty),
            Reloaded::Draining => false,
        };
        if refused {
            self.try_again();
        }
        reloaded
    }

    async fn read_and_take(&self, allow_empty: bool) -> Reloaded {
        let _one = self.reloading.lock().await;
        if self.draining() {
            return Reloaded::Draining;
        }
        let reloader = self.reloader.clone();
        let read = move || lock(&reloader).read(allow_empty);
        // None only while the runtime is ending.
        let read = tokio::select! {
            biased;
            () = self.leaves.cancelled() => return Reloaded::Draining,
            read = tokio::task::spawn_blocking(read) => read,
        };
        let Ok(outcome) = read else {
            return Reloaded::Draining;
        };
        match outcome {
            ReloadOutcome::Unchanged { restart_needed } => {
                // A token that could not be read when it was taken may be readable now.
                for guard in &self.guards {
                    guard.refresh();
                }
                self.standing.needs_restart(&restart_needed);
                Reloaded::Unchanged { restart_needed }
            }
            ReloadOutcome::Faulty { faults, again } => {
                if !again {
                    for fault in &faults {
                        tracing::error!("not reloaded: {fault}");
                    }
                }
                Reloaded::Faulty(faults)
            }
            ReloadOutcome::New(new) => self.take(*new).await,
        }
    }

    /// The files are good: now the drivers are asked.
    async fn take(&self, new: New) -> Reloaded {
        let New {
            config,
            diff,
            changes,
            restart_needed,
            at_next_connection,
            gone,
            losses,
        } = new;
        let before = lock(&self.reloader).config().clone();
        match self
            .service
            .change(config.clone(), self.leaves.clone())
            .await
        {
            Ok(()) => {}
            Err(NotChanged::Draining) => return Reloaded::Draining,
            Err(NotChanged::Refused(reason)) => {
                if self.standing.is_news(&reason) {
                    tracing::error!("not reloaded: {reason}");
                }
                return Reloaded::Refused(reason);
            }
        }
        lock(&self.reloader).in_force(&config);
        let settings = &config.settings;
        let listeners = [&settings.http, &settings.callbacks, &settings.admin];
        for (guard, listener) in self.guards.iter().zip(listeners) {
            guard.change(listener);
        }
        if settings.log != before.settings.log {
            log::form(settings.log);
        }
        if let Some(follow) = &self.follow {
            follow.follow(&config);
        }
        let known = |warning: &&Fault| !before.warnings.contains(warning);
        for warning in config.warnings.iter().filter(known) {
            tracing::warn!("{warning}");
        }
        tell(&diff, &changes);
        tell_losses(&gone, &losses);
        if !at_next_connection.is_empty() {
            tracing::info!(
                keys = %at_next_connection.join(", "),
                "the broker is asked with the new secret or certificate from the next connection on; the connections that stand stay"
            );
        }
        self.standing.needs_restart(&restart_needed);
        Reloaded::New(Box::new(Taken {
            diff,
            changes,
            restart_needed,
            at_next_connection,
            gone,
            losses,
            warnings: config.warnings,
        }))
    }

    /// Until it is taken, or the files say something else. Whatever moves in the files is for whoever watches them: they
    /// may be half written.
    fn try_again(self: &Arc<Self>) {
        let control = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RETRY).await;
                let Some(control) = control.upgrade() else {
                    return;
                };
                let Some(allow_empty) = control.standing.allows_empty() else {
                    return;
                };
                if control.draining() {
                    return;
                }
                let reloader = control.reloader.clone();
                let unmoved = move || lock(&reloader).unmoved();
                if tokio::task::spawn_blocking(unmoved).await.unwrap_or(false) {
                    control.reload(allow_empty).await;
                }
            }
        });
    }
}

/// What has changed, in the log.
fn tell(diff: &Diff, changes: &[Change]) {
    for change in changes.iter().take(CHANGES_LOGGED) {
        tracing::info!(
            file = %change.file.display(),
            key = %change.key,
            from = change.from.as_deref().unwrap_or(NOTHING),
            to = change.to.as_deref().unwrap_or(NOTHING),
            "configuration changed"
        );
    }
    if changes.len() > CHANGES_LOGGED {
        tracing::info!(
            more = changes.len() - CHANGES_LOGGED,
            "configuration changed in further places"
        );
    }
    tracing::info!(
        changed = %names(&diff.changed),
        added = %names(&diff.added),
        removed = %names(&diff.removed),
        "reloaded"
    );
}

/// What people are not reached by any more, by name.
fn tell_losses(gone: &[Gone], losses: &Losses) {
    for Gone { route, by_default } in gone {
        match by_default {
            true => {
                tracing::warn!(%route, "this route is gone: the default route serves its challenges now")
            }
            false => {
                tracing::warn!(%route, "this route is gone: its challenges will be rejected with no_route")
            }
        }
    }
    for (channel, countries) in &losses.countries {
        tracing::warn!(
            channel = channel.name(),
            countries = %Named(countries),
            "no sender is left for these countries: their route has none on an enabled line that may be shown there, and their challenges will fail"
        );
    }
    for language in &losses.languages {
        tracing::warn!(%language, "the recordings of this language are gone: its calls are spoken in another");
    }
}

/// A key that does not stand in the file: its default holds.
const NOTHING: &str = "nothing";

fn names(carriers: &BTreeSet<Arc<str>>) -> String {
    let names: Vec<&str> = carriers.iter().map(|name| &**name).collect();
    names.join(", ")
}

impl ReloadStatus {
    /// What `/readyz` shows beside its reasons.
    pub fn detail(&self) -> Vec<String> {
        let inner = self.lock();
        let mut detail = Vec::new();
        if let Some(refused) = &inner.refused {
            detail.push(format!(
                "a new configuration is refused since {} s, and the one before stays in force: {}",
                refused.since.elapsed().as_secs(),
                refused.reasons.join("; ")
            ));
        }
        if !inner.restart_needed.is_empty() {
            let keys = inner.restart_needed.join(", ");
            detail.push(format!("a restart is needed for a new value of {keys}"));
        }
        detail
    }

    /// True if it begins with this.
    fn refused(&self, reasons: Vec<String>, allow_empty: bool) -> bool {
        let mut inner = self.lock();
        if let Some(refused) = &mut inner.refused {
            refused.reasons = reasons;
            refused.allow_empty = allow_empty;
            return false;
        }
        inner.refused = Some(Refused {
            since: Instant::now(),
            reasons,
            allow_empty,
        });
        tracing::warn!(
            retry_s = RETRY.as_secs(),
            "the new configuration is refused and the one before stays in force; it is tried again by itself"
        );
        true
    }

    /// What was refused is no longer: always false, as nothing is refused.
    fn accepted(&self, how: &str) -> bool {
        if let Some(refused) = self.lock().refused.take() {
            let after_s = refused.since.elapsed().as_secs();
            tracing::info!(after_s, "the configuration that was refused {how}");
        }
        false
    }

    fn is_news(&self, reason: &str) -> bool {
        let inner = self.lock();
        let known = inner.refused.as_ref();
        known.is_none_or(|refused| refused.reasons != [reason])
    }

    /// None: nothing is refused.
    fn allows_empty(&self) -> Option<bool> {
        self.lock().refused.as_ref().map(|r| r.allow_empty)
    }

    fn needs_restart(&self, keys: &[&'static str]) {
        let mut inner = self.lock();
        if inner.restart_needed == keys {
            return;
        }
        inner.restart_needed = keys.to_vec();
        match keys {
            [] => tracing::info!("no restart is needed any more: the files say what is in force"),
            keys => tracing::warn!(
                keys = %keys.join(", "),
                "these settings have another value in the file, and need a restart for it"
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

/// Nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
