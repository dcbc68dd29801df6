//! The HTTP carrier: one request per text, receipts by callback.
//!
//! [`start`] spawns one task that holds the window: at most so many requests are in the air, each in a task of its
//! own ([`client`]). What an answer means ends in [`answer`], what a callback means in [`callback`]. The link is up
//! as long as connections come to be; a cheap probe (a connection, nothing said) finds out when they do again.

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
mod oddities;
mod template;

pub use callback::{CallbackHandle, MAX_BODY as MAX_CALLBACK, Refused, stranger};
pub use change::{Setup, is_another_link};

use self::{
    change::next,
    client::{Exchange, Requester, Seen},
};
use super::{
    AttemptEvent, CarrierEvent, CarrierMessage, Commit, Link, Slots, TextCarrier, TextCommand,
    TextOrder, connect, throttle::ThrottleLimiter,
};
use crate::{
    cause::Cause,
    challenge::AttemptKey,
    clock,
    config::carrier::{CarrierConfig, Transport},
    retry::Waits,
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
    setup: Result<Setup, String>,
    said: mpsc::Sender<CarrierMessage>,
) -> Prepared {
    let slots = Slots::default();
    let (carrier, inbox) = TextCarrier::new(slots.clone());
    let callback = match &config.transport {
        Transport::Http(http) => http.callback.clone(),
        Transport::Smpp(_) | Transport::Sip(_) => None,
    };
    let callbacks = CallbackHandle::new(config.clone(), callback, said.clone());
    let (changes, changed) = watch::channel(None);
    let driver = Driver {
        window: setup.as_ref().map_or(1, |setup| setup.window),
        said,
        slots,
        link: State::Unknown,
        throttle: ThrottleLimiter::default(),
        waits: Waits::default(),
        next_probe: None,
        probing: None,
        requests: JoinSet::new(),
        keys: HashMap::new(),
        listening: true,
        draining: false,
        config: config.clone(),
    };
    let begin = Box::new(move || {
        tokio::spawn(async move {
            match setup {
                Ok(setup) => driver.run(setup.requester, inbox, changed).await,
                Err(reason) => driver.refuse_all(reason, inbox).await,
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

type Probe = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

#[derive(PartialEq, Eq)]
enum State {
    Unknown,
    Up,
    Down(String),
}

struct Driver {
    config: Arc<CarrierConfig>,
    window: u32,
    said: mpsc::Sender<CarrierMessage>,
    slots: Slots,
    link: State,
    throttle: ThrottleLimiter,
    waits: Waits,
    next_probe: Option<Instant>,
    probing: Option<Probe>,
    requests: JoinSet<(AttemptKey, Exchange)>,
    /// Whose request a task carries.
    keys: HashMap<Id, AttemptKey>,
    /// Dispatch still takes what we say.
    listening: bool,
    /// Nothing more is said of the link: after a reload the name is another driver's.
    draining: bool,
}

impl Driver {
    async fn run(
        mut self,
        mut requester: Arc<Requester>,
        mut inbox: mpsc::Receiver<TextCommand>,
        mut changes: watch::Receiver<Option<Arc<Setup>>>,
    ) {
        match self.config.probe {
            Some(_) => self.next_probe = Some(Instant::now()),
            None => self.up().await, // never probed: taken for up until dispatch learns better
        }
        while self.listening {
            let ease = self.throttle.next_deadline();
            let room = self.requests.len() < self.window as usize;
            tokio::select! {
                command = inbox.recv(), if room => match command {
                    Some(TextCommand::Submit(order)) => self.submit(&requester, order).await,
                    Some(TextCommand::Finish(_)) | None => break,
                },
                Some(done) = self.requests.join_next_with_id() => self.done(done).await,
                found = poll_probe(&mut self.probing), if self.probing.is_some() => self.probed(found).await,
                () = at(self.next_probe), if self.probing.is_none() => self.probe(&requester),
                () = at(ease) => self.ease().await,
                setup = next(&mut changes) => {
                    requester = setup.requester.clone();
                    self.change(&setup).await;
                }
            }
        }
        self.drain(inbox).await;
    }

    /// The carrier's file can't be used: that is the link's reason, and every order fails.
    async fn refuse_all(mut self, reason: String, mut inbox: mpsc::Receiver<TextCommand>) {
        self.down(reason).await;
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
        if matches!(self.link, State::Down(_)) {
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
        match exchange.link {
            Seen::Answered => self.up().await,
            Seen::Unreachable(reason) if self.config.probe.is_some() => self.down(reason).await,
            Seen::Unreachable(_) | Seen::Nothing => {}
        }
        if let AttemptEvent::Failed(failure) = &exchange.event
            && failure.cause == Cause::Throttled
        {
            self.throttle
                .throttled(self.window, failure.retry_after, Instant::now());
            self.count_slots();
        }
        self.say(CarrierEvent::Attempt(key, exchange.event)).await;
    }

    fn probe(&mut self, requester: &Arc<Requester>) {
        let requester = requester.clone();
        let config = self.config.clone();
        self.probing = Some(Box::pin(async move {
            requester.credentials()?;
            connect::connect(requester.endpoint(), &config.tls, config.response_timeout)
                .await
                .map(drop)
        }));
    }

    async fn probed(&mut self, found: Result<(), String>) {
        self.probing = None;
        let ok = found.is_ok();
        match found {
            Ok(()) => {
                self.next_probe = self.config.probe.map(|probe| Instant::now() + probe);
                self.up().await;
            }
            Err(reason) => self.down(reason).await,
        }
        // After the link's own word: so the answer counts for the state that it has brought about.
        self.say(CarrierEvent::Link(Link::Probe { ok })).await;
    }

    async fn up(&mut self) {
        if self.link != State::Up && !self.draining {
            self.link = State::Up;
            self.waits.succeeded();
            self.next_probe = self.config.probe.map(|probe| Instant::now() + probe);
            self.count_slots();
            self.say(CarrierEvent::Link(Link::Up)).await;
        }
    }

    /// The next probe comes soon; it is said once for each reason.
    async fn down(&mut self, reason: String) {
        if self.draining {
            return;
        }
        self.next_probe = Some(Instant::now() + self.waits.next_wait());
        if !matches!(&self.link, State::Down(known) if *known == reason) {
            let said: Arc<str> = reason.as_str().into();
            self.link = State::Down(reason);
            self.count_slots();
            self.say(CarrierEvent::Link(Link::Down { reason: said }))
                .await;
        }
    }

    async fn ease(&mut self) {
        if self.throttle.recover(self.window, Instant::now()) {
            self.count_slots();
            if self.link == State::Up {
                self.say(CarrierEvent::Link(Link::Room)).await;
            }
        }
    }

    fn count_slots(&self) {
        let all = if self.link == State::Up {
            self.window
        } else {
            0
        };
        self.slots.set(self.throttle.slots(all));
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
        self.draining = true;
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
        self.slots.set(0);
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

async fn poll_probe(probing: &mut Option<Probe>) -> Result<(), String> {
    match probing {
        Some(probe) => probe.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
