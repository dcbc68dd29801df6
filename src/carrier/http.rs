//! The HTTP carrier: one request per text, receipts by callback.
//!
//! [`machine`] decides, purely: at most a window of requests is in the air, and the link is up as long as connections come
//! to be; a cheap probe (a connection, nothing said) finds out when they do again ([`link`]). [`start`] spawns the task that
//! carries it out, each request in a task of its own ([`client`]). How a request is written stands in [`request`], what it
//! comes to in [`exchange`] and [`answer`], what a callback means in [`callback`].

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::sleep_until,
};

pub mod answer;
pub mod body;
pub mod callback;
mod change;
mod client;
mod code;
pub mod exchange;
mod json;
mod link;
pub mod machine;
mod oddities;
pub mod request;
mod template;

pub use callback::{CallbackHandle, MAX_BODY as MAX_CALLBACK, Refused, stranger};
pub use change::{Setup, is_another_link};
pub use request::RequestError;

use self::{change::next, client::Requester, exchange::Exchange, machine::HttpMachine};
use super::{
    CarrierMessage, Commit, TextCarrier, TextCommand, TextOrder,
    connect::{self, ConnectError},
};
use crate::{
    challenge::AttemptKey,
    clock,
    config::carrier::{CarrierConfig, Transport},
};

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
    let seed = RandomState::new().hash_one(0);
    let machine = HttpMachine::new(config.clone(), window, seed);
    let (carrier, inbox) = TextCarrier::new(machine.slots().clone());
    let callback = match &config.transport {
        Transport::Http(http) => http.callback.clone(),
        Transport::Smpp(_) | Transport::Sip(_) => None,
    };
    let callbacks = CallbackHandle::new(config.clone(), callback, said.clone());
    let (changes, changed) = watch::channel(None);
    let driver = Driver {
        said,
        machine,
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
    machine: HttpMachine,
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
        self.machine.begin(Instant::now());
        self.say().await;
        while self.listening && !self.machine.is_over(Instant::now()) {
            let is_open = !self.machine.is_draining();
            tokio::select! {
                command = inbox.recv(), if self.machine.has_room() => match command {
                    Some(TextCommand::Submit(order)) => self.submit(&requester, order),
                    Some(TextCommand::Finish(_)) | None => self.machine.drain(Instant::now()),
                },
                Some(done) = self.requests.join_next_with_id() => self.done(done),
                found = poll_probe(&mut self.probing), if is_open && self.probing.is_some() => {
                    self.probing = None;
                    self.machine.probed(found, Instant::now());
                }
                () = at(self.machine.deadline()) => self.wake(&requester),
                setup = next(&mut changes), if is_open => {
                    requester = setup.requester.clone();
                    self.change(&setup);
                }
            }
            self.say().await;
        }
        self.end(inbox).await;
    }

    /// The carrier's file can't be used: every order fails.
    async fn refuse_all(mut self, error: RequestError, mut inbox: mpsc::Receiver<TextCommand>) {
        self.machine.unusable(error.to_string(), Instant::now());
        self.say().await;
        while let Some(TextCommand::Submit(order)) = inbox.recv().await {
            self.machine.refuse(order.key);
            self.say().await;
        }
        self.end(inbox).await;
    }

    fn submit(&mut self, requester: &Arc<Requester>, order: Box<TextOrder>) {
        let key = order.key;
        if !self.machine.submit(key) {
            return;
        }
        let requester = requester.clone();
        let task = self
            .requests
            .spawn(async move { (key, requester.send(&order, clock::now()).await) });
        self.keys.insert(task.id(), key);
    }

    fn done(&mut self, done: Result<(Id, (AttemptKey, Exchange)), JoinError>) {
        let now = Instant::now();
        match done {
            Ok((id, (key, exchange))) => {
                self.keys.remove(&id);
                self.machine.ended(key, exchange, now);
            }
            Err(error) => {
                if let Some(key) = self.keys.remove(&error.id()) {
                    self.machine.broke(key, now);
                }
            }
        }
    }

    fn wake(&mut self, requester: &Arc<Requester>) {
        let now = Instant::now();
        self.machine.timeout(now);
        if self.machine.probes(now) {
            let (requester, config) = (requester.clone(), self.config.clone());
            self.probing = Some(Box::pin(async move {
                requester.credentials()?;
                connect::connect(requester.endpoint(), &config.tls, config.response_timeout)
                    .await?;
                Ok(())
            }));
        }
    }

    fn change(&mut self, setup: &Setup) {
        self.config = setup.config.clone();
        if setup.fresh {
            self.probing = None;
        }
        let (config, now) = (setup.config.clone(), Instant::now());
        self.machine.change(config, setup.window, setup.fresh, now);
    }

    async fn say(&mut self) {
        while let Some(what) = self.machine.poll_event() {
            let said = CarrierMessage {
                carrier: self.config.name.clone(),
                what,
            };
            self.listening &= self.said.send(said).await.is_ok();
        }
    }

    /// What is still in the air is given up; what was not begun fails.
    async fn end(mut self, mut inbox: mpsc::Receiver<TextCommand>) {
        self.requests.shutdown().await;
        self.machine.end();
        inbox.close();
        while let Ok(command) = inbox.try_recv() {
            if let TextCommand::Submit(order) = command {
                self.machine.refuse(order.key);
            }
        }
        self.say().await;
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
