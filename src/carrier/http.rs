//! The HTTP carrier: one request per text, receipts by callback.
//!
//! [`start`] spawns one task that holds the window: at most so many requests are in the air, each in a task of its
//! own ([`client`]). What an answer means ends in [`answer`], what a callback means in [`callback`]. The link is up
//! as long as connections come to be; a cheap probe (a connection, nothing said) finds out when they do again ([`link`],
//! pure).

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::sleep_until,
};

mod answer;
mod body;
mod callback;
mod change;
mod client;
mod code;
mod json;
mod link;
mod oddities;
mod template;

pub use callback::{CallbackHandle, MAX_BODY as MAX_CALLBACK, Refused, stranger};
pub use change::{Setup, is_another_link};
pub use client::RequestError;

use self::{
    change::next,
    client::{Exchange, Requester, Seen},
    link::LinkState,
};
use super::{
    AttemptEvent, CarrierEvent, CarrierMessage, Commit, Link, TextCarrier, TextCommand, TextOrder,
    connect::{self, ConnectError},
};
use crate::{
    cause::Cause,
    challenge::AttemptKey,
    clock,
    config::carrier::{CarrierConfig, Transport},
};

/// How long answers may take while draining, beyond the carrier's own response timeout.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Starts the carrier on the current runtime. It runs until [`TextCommand::Finish`], or until every handle is gone; then
/// the handle's channel closes. Callbacks are taken for as long as their handle is served.
pub fn start(
    config: Arc<CarrierConfig>,
    said: mpsc::Sender<CarrierMessage>,
) -> (TextCarrier, CallbackHandle) {
    let setup = Setup::new(config.clone());
    let Prepared {
        carrier,
        callbacks,
        begin,
        ..
    } = prepare(&config, setup, said);
    begin();
    (carrier, callbacks)
}

/// A carrier that stands ready.
pub struct Prepared {
    pub carrier: TextCarrier,
    pub callbacks: CallbackHandle,
    /// The way to change it while it runs: every further request goes by the new setup.
    pub changes: watch::Sender<Option<Arc<Setup>>>,
    pub begin: Commit,
}

/// A carrier that begins with this setup. Without one (its file can't be used) it says why, and every order fails.
pub fn prepare(
    config: &Arc<CarrierConfig>,
    setup: Result<Setup, RequestError>,
    said: mpsc::Sender<CarrierMessage>,
) -> Prepared {
    let window = setup.as_ref().map_or(1, |setup| setup.window);
    let link = LinkState::new(window, config.probe);
    let (carrier, inbox) = TextCarrier::new(link.slots().clone());
    let callback = match &config.transport {
        Transport::Http(http) => http.callback.clone(),
        Transport::Smpp(_) | Transport::Sip(_) => None,
    };
    let callbacks = CallbackHandle::new(config.clone(), callback, said.clone());
    let (changes, changed) = watch::channel(None);
    let driver = Driver {
        said,
        link,
        probing: None,
        requests: JoinSet::new(),
        keys: HashMap::new(),
        listening: true,
        config: config.clone(),
    };
    let begin = Box::new(move || {
        tokio::spawn(async move {
            match setup {
                Ok(setup) => driver.run(setup.requester, inbox, changed).await,
                Err(error) => driver.refuse_all(error, inbox).await,
            }
        });
    });
    Prepared {
        carrier,
        callbacks,
        changes,
        begin,
    }
}

type Probe = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send>>;

/// Why a probe has found nothing.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Credentials(#[from] RequestError),
    #[error(transparent)]
    Connection(#[from] ConnectError),
}

struct Driver {
    config: Arc<CarrierConfig>,
    said: mpsc::Sender<CarrierMessage>,
    link: LinkState,
    probing: Option<Probe>,
    requests: JoinSet<(AttemptKey, Exchange)>,
    /// Whose request a task carries.
    keys: HashMap<Id, AttemptKey>,
    /// Dispatch still takes what we say.
    listening: bool,
}

impl Driver {
    async fn run(
        mut self,
        mut requester: Arc<Requester>,
        mut inbox: mpsc::Receiver<TextCommand>,
        mut changes: watch::Receiver<Option<Arc<Setup>>>,
    ) {
        let link = self.link.begin(Instant::now());
        self.say_link(link).await;
        while self.listening {
            let room = self.requests.len() < self.link.window() as usize;
            tokio::select! {
                command = inbox.recv(), if room => match command {
                    Some(TextCommand::Submit(order)) => self.submit(&requester, order).await,
                    Some(TextCommand::Finish(_)) | None => break,
                },
                Some(done) = self.requests.join_next_with_id() => self.done(done).await,
                found = poll_probe(&mut self.probing), if self.probing.is_some() => self.probed(found).await,
                () = at(self.link.probe_at()), if self.probing.is_none() => self.probe(&requester),
                () = at(self.link.recover_at()) => {
                    let link = self.link.recover(Instant::now());
                    self.say_link(link).await;
                }
                setup = next(&mut changes) => {
                    requester = setup.requester.clone();
                    self.change(&setup).await;
                }
            }
        }
        self.drain(inbox).await;
    }

    /// The carrier's file can't be used: that is the link's reason, and every order fails.
    async fn refuse_all(mut self, error: RequestError, mut inbox: mpsc::Receiver<TextCommand>) {
        let link = self.link.down(error.to_string(), Instant::now());
        self.say_link(link).await;
        while let Some(command) = inbox.recv().await {
            match command {
                TextCommand::Submit(order) => self.refuse(order.key).await,
                TextCommand::Finish(_) => break,
            }
        }
        self.drain(inbox).await;
    }

    async fn submit(&mut self, requester: &Arc<Requester>, order: Box<TextOrder>) {
        let key = order.key;
        if self.link.is_down() {
            return self.refuse(key).await;
        }
        let requester = requester.clone();
        let task = self
            .requests
            .spawn(async move { (key, requester.send(&order, clock::now()).await) });
        self.keys.insert(task.id(), key);
    }

    async fn done(&mut self, done: Result<(Id, (AttemptKey, Exchange)), JoinError>) {
        let (key, exchange) = match done {
            Ok((id, (key, exchange))) => {
                self.keys.remove(&id);
                (key, exchange)
            }
            // A task that broke may have sent its text.
            Err(error) => match self.keys.remove(&error.id()) {
                Some(key) => (
                    key,
                    Exchange {
                        event: AttemptEvent::InDoubt {
                            cause: Cause::InDoubt,
                        },
                        link: Seen::Nothing,
                    },
                ),
                None => return,
            },
        };
        let now = Instant::now();
        let link = match exchange.link {
            Seen::Answered => self.link.up(now),
            Seen::Unreachable(reason) => self.link.unreachable(reason, now),
            Seen::Nothing => None,
        };
        self.say_link(link).await;
        if let AttemptEvent::Failed(failure) = &exchange.event
            && failure.cause == Cause::Throttled
        {
            self.link.throttled(failure.retry_after, now);
        }
        self.say(CarrierEvent::Attempt(key, exchange.event)).await;
    }

    fn probe(&mut self, requester: &Arc<Requester>) {
        let requester = requester.clone();
        let config = self.config.clone();
        self.probing = Some(Box::pin(async move {
            requester.credentials()?;
            connect::connect(requester.endpoint(), &config.tls, config.response_timeout).await?;
            Ok(())
        }));
    }

    async fn probed(&mut self, found: Result<(), ProbeError>) {
        self.probing = None;
        for link in self.link.probed(found, Instant::now()) {
            self.say_link(link).await;
        }
    }

    async fn say_link(&mut self, link: Option<Link>) {
        if let Some(link) = link {
            self.say(CarrierEvent::Link(link)).await;
        }
    }

    async fn refuse(&mut self, key: AttemptKey) {
        self.say(CarrierEvent::Attempt(
            key,
            AttemptEvent::Failed(Cause::CarrierFault.failure(None)),
        ))
        .await;
    }

    async fn say(&mut self, what: CarrierEvent) {
        let said = CarrierMessage {
            carrier: self.config.name.clone(),
            what,
        };
        self.listening &= self.said.send(said).await.is_ok();
    }

    /// What is in the air is waited for, within bounds; what was not begun fails.
    async fn drain(mut self, mut inbox: mpsc::Receiver<TextCommand>) {
        self.link.drain();
        let until = Instant::now() + self.config.response_timeout + DRAIN_GRACE;
        while self.listening {
            tokio::select! {
                done = self.requests.join_next_with_id() => match done {
                    Some(done) => self.done(done).await,
                    None => break,
                },
                () = sleep_until(until.into()) => break,
            }
        }
        self.requests.shutdown().await;
        for key in std::mem::take(&mut self.keys).into_values() {
            self.say(CarrierEvent::Attempt(
                key,
                AttemptEvent::InDoubt {
                    cause: Cause::InDoubt,
                },
            ))
            .await;
        }
        self.link.slots().set(0);
        inbox.close();
        while let Ok(command) = inbox.try_recv() {
            if let TextCommand::Submit(order) = command {
                self.refuse(order.key).await;
            }
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn poll_probe(probing: &mut Option<Probe>) -> Result<(), ProbeError> {
    match probing {
        Some(probe) => probe.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
