//! One driver per carrier that some route names, and how another set of carriers takes the place of the one before.
//!
//! [`Drivers::prepare`] touches nothing that runs: sockets are opened where an address is new, clients are built, a trunk
//! that holds an address that stays is asked to wait. It may refuse. [`Drivers::commit`] can't fail: who has been made
//! ready begins, who stays becomes what its file says now, with its sessions, sockets and calls.

use std::{collections::HashMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::{
    carrier::{
        self, CallCarrier, CallState, CallToEnd, Carrier, CarrierMessage, Finish, TextCarrier,
        callbacks,
        http::{self, CallbackHandle},
        sip, smpp,
    },
    config::{CarrierConfig, Config, carrier::Transport, watch::Look},
    dispatch::{Update, UpdateLink},
    ledger::UnterminatedCall,
    message::speech::Catalogue,
};

mod trunks;

/// Why a driver can't start.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("prompts: {0}")]
    Prompts(String),
    #[error("carriers/{name}.toml: {reason}")]
    Http { name: Arc<str>, reason: String },
    #[error(
        "carriers/{name}.toml: {}; nothing can be reached without it, so all stays as it is until it can be read",
        .reasons.join(", ")
    )]
    Secrets {
        name: Arc<str>,
        reasons: Vec<String>,
    },
    #[error(transparent)]
    Trunk(#[from] sip::StartError),
    #[error("{error} (carriers/{by}.toml of this gateway has it)")]
    Held {
        error: sip::StartError,
        by: Arc<str>,
    },
    #[error("carriers/{0}.toml: the trunk does not answer, and can't be changed")]
    Silent(Arc<str>),
}

/// Why a set of carriers is refused: all reasons at once.
#[derive(Debug, thiserror::Error)]
pub struct DriverErrors(Vec<DriverError>);

impl fmt::Display for DriverErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

/// The running drivers.
pub struct Drivers {
    running: HashMap<Arc<str>, Driver>,
    /// Drivers that were told to finish.
    leaving: Vec<Driver>,
    /// Calls of an earlier life, for the trunks that had them.
    unterminated: HashMap<Arc<str>, Vec<CallToEnd>>,
    callbacks: callbacks::Table,
    voices: Option<Arc<Catalogue>>,
    /// How the recordings looked when the voices were loaded.
    recordings: Arc<Look>,
    said: mpsc::Sender<CarrierMessage>,
}

/// A driver, and how it can be changed.
#[derive(Clone)]
struct Driver {
    config: Arc<CarrierConfig>,
    secrets: [u8; 32],
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Smpp {
        carrier: TextCarrier,
        changes: Arc<smpp::Changes>,
    },
    Http {
        carrier: TextCarrier,
        changes: Arc<watch::Sender<Option<Arc<http::Setup>>>>,
        callbacks: CallbackHandle,
        /// Its file can be used.
        usable: bool,
    },
    Sip {
        trunk: CallCarrier,
        /// The address as it was asked for; port 0 where any would do.
        bind: SocketAddr,
    },
}

/// A set of carriers that is ready to take over. Dropped, nothing has happened.
pub struct PreparedDrivers {
    next: Vec<(Driver, Option<Update>)>,
    voices: Option<Arc<Catalogue>>,
    recordings: Arc<Look>,
}

/// How long a driver may take to unbind or to end its calls after dispatch has stopped: a trunk's last words and the
/// answers to its BYEs.
const FAREWELL: Duration = Duration::from_secs(8);

impl Drivers {
    pub fn new(said: mpsc::Sender<CarrierMessage>) -> Drivers {
        Drivers {
            running: HashMap::new(),
            leaving: Vec::new(),
            unterminated: HashMap::new(),
            callbacks: Arc::new(ArcSwap::default()),
            voices: None,
            recordings: Arc::default(),
            said,
        }
    }

    pub fn callbacks(&self) -> callbacks::Table {
        self.callbacks.clone()
    }

    /// Calls that an earlier life of this process may have left up: ended by the first driver of their carrier.
    pub fn unterminated(&mut self, calls: &[UnterminatedCall]) {
        for call in calls {
            let of_carrier = self.unterminated.entry(call.carrier.clone()).or_default();
            of_carrier.push(CallToEnd {
                key: call.key,
                state: CallState(call.state.clone()),
            });
        }
    }

    /// Makes everything ready for another set, or says what stands in its way. What runs is not touched.
    pub async fn prepare(&self, config: &Config) -> Result<PreparedDrivers, DriverErrors> {
        let used = config.used();
        let carriers = used.iter().filter_map(|name| config.carriers.get(name));
        let (mut next, mut errors, mut trunks) = (Vec::new(), Vec::new(), Vec::new());
        for carrier in carriers {
            let read = config.secrets.get(&carrier.name);
            let read = read.cloned().unwrap_or_default();
            let wanted = Wanted {
                config: carrier.clone(),
                secrets: read.digest,
            };
            if !read.unreadable.is_empty() && self.would_lose(&wanted) {
                errors.push(DriverError::Secrets {
                    name: carrier.name.clone(),
                    reasons: read.unreadable,
                });
                continue;
            }
            match &carrier.transport {
                Transport::Smpp(_) => next.push(self.prepare_smpp(wanted)),
                Transport::Http(_) => match self.prepare_http(wanted) {
                    Ok(ready) => next.push(ready),
                    Err(error) => errors.push(error),
                },
                Transport::Sip(_) => trunks.push(wanted),
            }
        }
        let known = self.voices.as_ref();
        let known = known.filter(|_| self.recordings == config.recordings);
        let voices = match (known, trunks.is_empty()) {
            (Some(voices), _) => Some(voices.clone()),
            (None, true) => None,
            (None, false) => match load_voices(config) {
                Ok(voices) => Some(voices),
                Err(error) => return Err(DriverErrors(vec![error])),
            },
        };
        if let Some(voices) = &voices {
            let ready = self.prepare_trunks(trunks, voices).await;
            ready.into_iter().for_each(|trunk| match trunk {
                Ok(ready) => next.push(ready),
                Err(error) => errors.push(error),
            });
        }
        match errors.is_empty() {
            true => Ok(PreparedDrivers {
                next,
                voices,
                recordings: config.recordings.clone(),
            }),
            false => Err(DriverErrors(errors)),
        }
    }

    /// The prepared set takes over, once dispatch has taken the updates up.
    pub fn commit(&mut self, prepared: PreparedDrivers) -> Vec<Update> {
        self.voices = prepared.voices;
        self.recordings = prepared.recordings;
        let mut updates = Vec::new();
        let before = std::mem::take(&mut self.running);
        for (driver, update) in prepared.next {
            if matches!(driver.kind, Kind::Sip { .. }) {
                self.unterminated.remove(&driver.config.name);
            }
            self.running.insert(driver.config.name.clone(), driver);
            updates.extend(update);
        }
        self.leaving.extend(before.into_values());
        let running = &self.running;
        self.leaving.retain(|left| {
            let goes_on = running.values().any(|driver| driver.is(left));
            !goes_on && !left.carrier().has_ended()
        });
        // Receipts come for those that are left as well; who has the name now goes before them.
        let all = self.leaving.iter().chain(self.running.values());
        let desks = all.filter_map(|driver| {
            let Kind::Http { callbacks, .. } = &driver.kind else {
                return None;
            };
            Some((driver.config.name.clone(), callbacks.clone()))
        });
        self.callbacks.store(Arc::new(desks.collect()));
        updates
    }

    /// A carrier whose secrets can't be read: would it be worse off than it is? A gateway starts with what it has, and
    /// one that has lacked the very same secrets all along may change in all else.
    fn would_lose(&self, wanted: &Wanted) -> bool {
        let lacks_them = |driver: &Driver| {
            driver.secrets == wanted.secrets && driver.config.secrets() == wanted.config.secrets()
        };
        let running = self.running.get(&wanted.config.name);
        !self.running.is_empty() && !running.is_some_and(lacks_them)
    }

    fn prepare_smpp(&self, wanted: Wanted) -> (Driver, Option<Update>) {
        if let Some(driver) = self.running.get(&wanted.config.name)
            && driver.secrets == wanted.secrets
            && let Kind::Smpp { changes, .. } = &driver.kind
        {
            if driver.config == wanted.config {
                return (driver.clone(), None);
            }
            if smpp::Changes::can_become(&driver.config, &wanted.config) {
                let (changes, config) = (changes.clone(), wanted.config.clone());
                let commit = Box::new(move || changes.change(config));
                return driver.become_with(wanted, UpdateLink::Stays, commit);
            }
        }
        let (carrier, changes, begin) = smpp::prepare(wanted.config.clone(), self.said.clone());
        let changes = Arc::new(changes);
        Driver::begin(wanted, Kind::Smpp { carrier, changes }, begin)
    }

    /// The file must be usable, but for the first set: a gateway starts with what it has.
    fn prepare_http(&self, wanted: Wanted) -> Result<(Driver, Option<Update>), DriverError> {
        let config = &wanted.config;
        let running = self.running.get(&config.name);
        if let Some(driver) = running
            && driver.secrets == wanted.secrets
            && driver.config == *config
        {
            return Ok((driver.clone(), None));
        }
        let setup = http::Setup::new(config.clone());
        if let (Err(reason), false) = (&setup, self.running.is_empty()) {
            return Err(DriverError::Http {
                name: config.name.clone(),
                reason: reason.to_string(),
            });
        }
        if let (Some(driver), Ok(setup)) = (running, &setup)
            && let Kind::Http {
                carrier,
                changes,
                callbacks,
                usable: true,
            } = &driver.kind
        {
            let fresh =
                driver.secrets != wanted.secrets || http::is_another_link(&driver.config, config);
            let (to_change, setup) = (changes.clone(), Arc::new(setup.clone().fresh(fresh)));
            let commit = Box::new(move || {
                to_change.send_replace(Some(setup));
            });
            let kind = Kind::Http {
                carrier: carrier.clone(),
                changes: changes.clone(),
                callbacks: callbacks.changed(config.clone()),
                usable: true,
            };
            let driver = Driver {
                kind,
                ..driver.clone()
            };
            return Ok(driver.become_with(wanted, UpdateLink::of(fresh), commit));
        }
        let usable = setup.is_ok();
        let ready = http::prepare(config, setup, self.said.clone());
        let kind = Kind::Http {
            carrier: ready.carrier,
            changes: Arc::new(ready.changes),
            callbacks: ready.callbacks,
            usable,
        };
        Ok(Driver::begin(wanted, kind, ready.begin))
    }

    /// Waits until the drivers, told to end, have let go of their links, each for a bounded time.
    pub async fn finished(self) {
        let left = self.leaving.iter().map(Driver::carrier);
        let told = left.map(|carrier| async move { carrier.finish(Finish::End).await });
        let told = futures_util::future::join_all(told);
        let _ = tokio::time::timeout(FAREWELL, told).await;
        let all = self.running.into_values().chain(self.leaving);
        let waits = all.map(|driver| async move {
            let _ = tokio::time::timeout(FAREWELL, driver.carrier().ended()).await;
        });
        futures_util::future::join_all(waits).await;
    }
}

/// What a carrier's file says now.
struct Wanted {
    config: Arc<CarrierConfig>,
    secrets: [u8; 32],
}

impl Driver {
    /// The very same task?
    fn is(&self, other: &Driver) -> bool {
        self.carrier().id() == other.carrier().id()
    }

    fn carrier(&self) -> Carrier {
        match &self.kind {
            Kind::Smpp { carrier, .. } | Kind::Http { carrier, .. } => {
                Carrier::Text(carrier.clone())
            }
            Kind::Sip { trunk, .. } => Carrier::Call(trunk.clone()),
        }
    }

    /// A driver that begins with the commit.
    fn begin(wanted: Wanted, kind: Kind, commit: carrier::Commit) -> (Driver, Option<Update>) {
        let driver = Driver {
            config: wanted.config,
            secrets: wanted.secrets,
            kind,
        };
        driver.with_update(UpdateLink::New, commit)
    }

    /// The same driver by another file.
    fn become_with(
        &self,
        wanted: Wanted,
        link: UpdateLink,
        commit: carrier::Commit,
    ) -> (Driver, Option<Update>) {
        let driver = Driver {
            config: wanted.config,
            secrets: wanted.secrets,
            kind: self.kind.clone(),
        };
        driver.with_update(link, commit)
    }

    fn with_update(self, link: UpdateLink, commit: carrier::Commit) -> (Driver, Option<Update>) {
        let update = Update {
            config: self.config.clone(),
            carrier: self.carrier(),
            link,
            commit,
        };
        (self, Some(update))
    }
}

fn load_voices(config: &Config) -> Result<Arc<Catalogue>, DriverError> {
    match Catalogue::load(&config.settings.paths.prompts) {
        Ok(voices) => Ok(Arc::new(voices)),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(DriverError::Prompts(faults.join("; ")))
        }
    }
}
