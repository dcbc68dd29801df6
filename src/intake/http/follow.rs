//! Following a challenge's reports as server-sent events: id = `seq`, event = the report's, data = its JSON.
//!
//! The ledger is what is read; a word from dispatch only says when to look. So nothing is lost between two looks, and a
//! client that comes back with `Last-Event-ID` goes on where it was.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{come_again, unreadable};
use crate::{
    challenge::ChallengeKey,
    intake::IntakeHandle,
    ledger::{Ledger, OutboxReport, Stored},
};

/// Clients that may follow at the same time.
const FOLLOWERS: usize = 4_096;
/// Challenges share this many bells: a wake-up looks at few followers besides the one it is for.
const BELLS: usize = 4_096;
/// Without any word, a follower looks by itself so often.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// A comment is sent so often, so that nobody on the way takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Wakes those who follow.
#[derive(Clone)]
pub(super) struct ReportNotifier {
    notifies: Arc<[Notify]>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

const FOLLOWED: &str =
    "as many challenges are followed as this gateway serves; come again, or go to another one";

impl ReportNotifier {
    /// Hands dispatch's words on until `stop`.
    pub fn start(intake: &IntakeHandle, stop: CancellationToken) -> ReportNotifier {
        let notifier = ReportNotifier {
            notifies: std::iter::repeat_with(Notify::new).take(BELLS).collect(),
            places: Arc::new(Semaphore::new(FOLLOWERS)),
            stop,
        };
        let (waker, mut words) = (notifier.clone(), intake.reports.subscribe());
        tokio::spawn(async move {
            loop {
                let word = tokio::select! {
                    () = waker.stop.cancelled() => return,
                    word = words.recv() => word,
                };
                match word {
                    Ok(key) => waker.notify(key).notify_waiters(),
                    // Some words were lost: all look.
                    Err(RecvError::Lagged(_)) => {
                        waker.notifies.iter().for_each(Notify::notify_waiters);
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        notifier
    }

    fn notify(&self, key: ChallengeKey) -> &Notify {
        // The remainder is below the length.
        &self.notifies[key.0.rem_euclid(BELLS as i64) as usize]
    }

    /// The stream of its reports after `after`; 204 where there will be none (an `EventSource` stops then).
    pub async fn follow(&self, ledger: &Ledger, stored: &Stored, after: u32) -> Response {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return come_again(StatusCode::SERVICE_UNAVAILABLE, FOLLOWED);
        };
        let first = match ledger.reports_of(stored.key, after).await {
            Ok(first) => first,
            Err(e) => return unreadable(&e),
        };
        if first.is_empty() && stored.ended.is_some() {
            return StatusCode::NO_CONTENT.into_response();
        }
        let follower = Follower {
            notifier: self.clone(),
            ledger: ledger.clone(),
            key: stored.key,
            after,
            found: first.into(),
            over: false,
            _place: place,
        };
        let events = stream::unfold(follower, async |mut follower| {
            let report = follower.next().await?;
            Some((Ok::<_, Infallible>(event(&report)), follower))
        });
        Sse::new(events)
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response()
    }
}

/// One client.
struct Follower {
    notifier: ReportNotifier,
    ledger: Ledger,
    key: ChallengeKey,
    after: u32,
    found: VecDeque<OutboxReport>,
    over: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next report; None after the final, or when the listener stops.
    async fn next(&mut self) -> Option<OutboxReport> {
        loop {
            if let Some(report) = self.found.pop_front() {
                self.after = report.seq;
                self.over = report.is_final;
                return Some(report);
            }
            if self.over {
                return None;
            }
            let woken = self.notifier.notify(self.key).notified();
            tokio::pin!(woken);
            // From here on a word is heard, so that none falls between the look and the wait.
            woken.as_mut().enable();
            match self.ledger.reports_of(self.key, self.after).await {
                Ok(found) => self.found = found.into(),
                Err(e) => {
                    tracing::error!(error = %e, "reports can't be read; the client may come again");
                    return None;
                }
            }
            if self.found.is_empty() {
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = self.notifier.stop.cancelled() => return None,
                }
            }
        }
    }
}

/// A report's body is one line of JSON, which names its event.
fn event(report: &OutboxReport) -> Event {
    let name = serde_json::from_slice::<Value>(&report.body)
        .ok()
        .and_then(|body| body["event"].as_str().map(str::to_owned));
    Event::default()
        .id(report.seq.to_string())
        .event(name.unwrap_or_else(|| "report".to_owned()))
        .data(String::from_utf8_lossy(&report.body))
}
