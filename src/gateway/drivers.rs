//! One driver per carrier that some route names.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::{
    carrier::{self, CallState, Command, Handle, Said, callbacks, http::CallbackHandle},
    clock::Now,
    config::{CarrierConfig, Config, carrier::Transport},
    dispatch::Running,
    ledger::LeftUp,
    message::speech::Catalogue,
};

/// Why a driver can't start.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("prompts: {0}")]
    Prompts(String),
    #[error(transparent)]
    Trunk(#[from] carrier::sip::StartError),
}

/// The running drivers.
pub struct Drivers {
    handles: HashMap<Arc<str>, Handle>,
    /// Calls of an earlier life, for the trunks that had them.
    left_up: HashMap<Arc<str>, Vec<CallState>>,
    /// Drivers that were told to finish.
    leaving: Vec<Handle>,
    callbacks: callbacks::Table,
    desks: BTreeMap<Arc<str>, CallbackHandle>,
    voices: Option<Arc<Catalogue>>,
    said: mpsc::Sender<Said>,
}

/// How long a changed trunk waits for its calls to end before its successor takes the port: the trunk hangs up what
/// is left well within it.
const TRUNK_FAREWELL: Duration = Duration::from_secs(18);
/// How long a driver may take to unbind or to end its calls after dispatch has stopped: a trunk's last words and the
/// answers to its BYEs.
const FAREWELL: Duration = Duration::from_secs(8);

impl Drivers {
    /// Loads the recordings, if some carrier makes calls.
    pub fn new(config: &Config, said: mpsc::Sender<Said>) -> Result<Drivers, DriverError> {
        let calls = config
            .carriers
            .values()
            .any(|c| matches!(c.transport, Transport::Sip(_)));
        let voices = if calls {
            Some(load_voices(config)?)
        } else {
            None
        };
        Ok(Drivers {
            handles: HashMap::new(),
            left_up: HashMap::new(),
            leaving: Vec::new(),
            callbacks: Arc::new(ArcSwap::default()),
            desks: BTreeMap::new(),
            voices,
            said,
        })
    }

    pub fn callbacks(&self) -> callbacks::Table {
        self.callbacks.clone()
    }

    pub fn runs(&self, name: &Arc<str>) -> bool {
        self.handles.contains_key(name)
    }

    /// Starts drivers for these carriers.
    pub async fn start(
        &mut self,
        config: &Config,
        names: &BTreeSet<Arc<str>>,
    ) -> Result<Vec<Running>, DriverError> {
        let desks = self.desks.clone();
        let mut started: Vec<Running> = Vec::new();
        for carrier in names.iter().filter_map(|name| config.carriers.get(name)) {
            match self.start_one(carrier, config).await {
                Ok(handle) => {
                    started.push(Running::new(carrier.clone(), handle, Now::read().mono));
                }
                Err(error) => {
                    // The whole set or nothing: dispatch never hears of those that did start.
                    for running in &started {
                        running.command(Command::Drain);
                    }
                    self.desks = desks;
                    return Err(error);
                }
            }
        }
        for running in &started {
            let handle = running.handle.clone();
            if let Some(before) = self.handles.insert(handle.name.clone(), handle) {
                self.leaving.push(before);
            }
        }
        self.leaving.retain(|before| !before.commands.is_closed());
        self.publish_desks();
        Ok(started)
    }

    async fn start_one(
        &mut self,
        carrier: &Arc<CarrierConfig>,
        config: &Config,
    ) -> Result<Handle, DriverError> {
        let said = self.said.clone();
        self.desks.remove(&carrier.name);
        Ok(match &carrier.transport {
            Transport::Smpp(_) => carrier::smpp::start(carrier.clone(), said),
            Transport::Http(_) => {
                let (handle, desk) = carrier::http::start(carrier.clone(), said);
                self.desks.insert(carrier.name.clone(), desk);
                handle
            }
            Transport::Sip(_) => {
                let voices = match &self.voices {
                    Some(voices) => voices.clone(),
                    None => self.voices.insert(load_voices(config)?).clone(),
                };
                if let Some(before) = self.handles.get(&carrier.name) {
                    // The trunk's port is free only when the driver before has let go of it.
                    let _ = before.commands.try_send(Command::Drain);
                    let _ = tokio::time::timeout(TRUNK_FAREWELL, before.commands.closed()).await;
                }
                let left_up = self.left_up.remove(&carrier.name).unwrap_or_default();
                if let Some(former) = on_former_port(carrier, &left_up)
                    && let Ok((handle, _)) =
                        carrier::sip::start(former, voices.clone(), said.clone(), &left_up).await
                {
                    return Ok(handle);
                }
                carrier::sip::start(carrier.clone(), voices, said, &left_up)
                    .await?
                    .0
            }
        })
    }

    /// Calls that an earlier life of this process may have left up: ended by the first driver of their carrier.
    pub fn left_up(&mut self, calls: &[LeftUp]) {
        for call in calls {
            let of_carrier = self.left_up.entry(call.carrier.clone()).or_default();
            of_carrier.push(CallState(call.state.clone()));
        }
    }

    /// Those that no route names any more are forgotten; dispatch tells them to finish.
    pub fn keep(&mut self, names: &BTreeSet<Arc<str>>) {
        let gone: Vec<Arc<str>> = self
            .handles
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.leaving.extend(self.handles.remove(&name));
            self.desks.remove(&name);
        }
        self.publish_desks();
    }

    fn publish_desks(&self) {
        self.callbacks
            .store(Arc::new(self.desks.clone().into_iter().collect()));
    }

    /// Waits until the drivers, told to drain, have let go of their links, each for a bounded time.
    pub async fn finished(self) {
        let all = self.handles.into_values().chain(self.leaving);
        let waits = all.map(|handle| async move {
            let _ = tokio::time::timeout(FAREWELL, handle.commands.closed()).await;
        });
        futures_util::future::join_all(waits).await;
    }
}

/// Where the far ends of calls that were left up look for us: taken again by carriers that may choose their port.
fn on_former_port(carrier: &CarrierConfig, left_up: &[CallState]) -> Option<Arc<CarrierConfig>> {
    let port = left_up.iter().find_map(carrier::sip::port_of)?;
    let mut former = carrier.clone();
    match &mut former.transport {
        Transport::Sip(sip) if sip.bind.port == 0 => sip.bind.port = port,
        Transport::Sip(_) | Transport::Smpp(_) | Transport::Http(_) => return None,
    }
    Some(Arc::new(former))
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
