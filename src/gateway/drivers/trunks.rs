//! Trunks in another set. A trunk's task goes with the address that it is bound to: whoever has the address in the new
//! set gets the task, its sockets and the calls that talk, also under another name, and also where it had been taken
//! out and only waits for its last call.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use super::{Driver, DriverError, Drivers, Kind, Update, Wanted};
use crate::{
    carrier::{
        CallToEnd,
        sip::{self, Local, StartError, TrunkChange},
    },
    config::{CarrierConfig, carrier::Transport},
    dispatch::UpdateLink,
    message::speech::Catalogue,
};

/// How long a trunk may take to say that it waits for a change.
const ANSWER: Duration = Duration::from_secs(2);
/// A trunk of ours that has just ended may hold its address for a moment longer.
const LET_GO: Duration = Duration::from_millis(50);
const LET_GO_TRIES: u32 = 10;

type Ready = Result<(Driver, Option<Update>), DriverError>;

impl Drivers {
    pub(super) async fn prepare_trunks(
        &self,
        wanted: Vec<Wanted>,
        voices: &Arc<Catalogue>,
    ) -> Vec<Ready> {
        let mut addresses = Vec::new();
        for trunk in &wanted {
            addresses.push(sip::own_address(trunk.config.clone()));
        }
        let addresses = futures_util::future::join_all(addresses).await;
        let mut placed = Vec::new();
        let mut ready = Vec::new();
        for (wanted, own) in wanted.into_iter().zip(addresses) {
            match own {
                Ok(own) => placed.push((wanted, own)),
                Err(error) => ready.push(Err(error.into())),
            }
        }
        // First those that keep their own address, so that nobody else is given it.
        let mut given: Vec<Driver> = Vec::new();
        let mut homeless = Vec::new();
        for (wanted, own) in placed {
            match self.by_name(&wanted.config.name, own.bind) {
                Some(driver) => {
                    given.push(driver.clone());
                    ready.push(self.hand_over(driver, wanted, own, voices).await);
                }
                None => homeless.push((wanted, own)),
            }
        }
        for (wanted, own) in homeless {
            match self.by_address(own.bind, &given) {
                Some(driver) => {
                    given.push(driver.clone());
                    ready.push(self.hand_over(driver, wanted, own, voices).await);
                }
                None => ready.push(self.open(wanted, own, voices).await),
            }
        }
        ready
    }

    /// The trunk of this name, if it has this address.
    fn by_name(&self, name: &Arc<str>, bind: SocketAddr) -> Option<&Driver> {
        let mut named = self.everyone().filter(|d| d.config.name == *name);
        named.find(|driver| driver.has(bind))
    }

    /// Whoever else has this very address.
    fn by_address(&self, bind: SocketAddr, given: &[Driver]) -> Option<&Driver> {
        let free = |driver: &&Driver| !given.iter().any(|taken| taken.is(driver));
        let mut free = self.everyone().filter(free);
        free.find(|driver| bind.port() != 0 && driver.has(bind))
    }

    /// Those that run, and those that only wait for their last call.
    fn everyone(&self) -> impl Iterator<Item = &Driver> {
        let all = self.running.values().chain(&self.leaving);
        all.filter(|driver| !driver.carrier().has_ended())
    }

    /// The trunk stays, and becomes what is wanted.
    async fn hand_over(
        &self,
        driver: &Driver,
        wanted: Wanted,
        own: Local,
        voices: &Arc<Catalogue>,
    ) -> Ready {
        let running = self.running.get(&wanted.config.name);
        let runs = running.is_some_and(|running| running.is(driver));
        let known = self.voices.as_ref();
        let same_voices = known.is_some_and(|known| Arc::ptr_eq(known, voices));
        let same = driver.config == wanted.config && driver.secrets == wanted.secrets;
        if runs && same && same_voices {
            return Ok((driver.clone(), None));
        }
        let held = async {
            match &driver.kind {
                Kind::Sip { trunk, .. } => sip::hold(trunk).await,
                Kind::Smpp { .. } | Kind::Http { .. } => None,
            }
        };
        let Ok(Some(held)) = tokio::time::timeout(ANSWER, held).await else {
            return Err(DriverError::Silent(driver.config.name.clone()));
        };
        let fresh = !runs
            || driver.secrets != wanted.secrets
            || sip::is_another_link(&driver.config, &wanted.config);
        let change = TrunkChange {
            config: wanted.config.clone(),
            voices: voices.clone(),
            own,
            fresh,
        };
        let commit = Box::new(move || {
            // Refused only by a trunk that has ended by a fault of ours.
            let _ = held.send(change);
        });
        Ok(driver.become_with(wanted, UpdateLink::of(fresh), commit))
    }

    async fn open(&self, wanted: Wanted, own: Local, voices: &Arc<Catalogue>) -> Ready {
        let config = &wanted.config;
        let unterminated = self
            .unterminated
            .get(&config.name)
            .cloned()
            .unwrap_or_default();
        let former = on_former_port(config, own, &unterminated);
        let mut tries = LET_GO_TRIES;
        let mut at = former.unwrap_or(own);
        let opened = loop {
            let (config, voices) = (config.clone(), voices.clone());
            let opened = sip::open(config, voices, self.said.clone(), &unterminated, at).await;
            tries -= 1;
            match opened {
                // The port of an earlier life is somebody else's now.
                Err(_) if at != own => at = own,
                Err(error) if tries > 0 && is_taken(&error) => tokio::time::sleep(LET_GO).await,
                opened => break opened,
            }
        };
        let opened = opened.map_err(|error| self.named(error))?;
        let kind = Kind::Sip {
            trunk: opened.trunk,
            bind: own.bind,
        };
        let task = opened.task;
        let begin = Box::new(move || {
            tokio::spawn(task);
        });
        Ok(Driver::begin(wanted, kind, begin))
    }

    /// If it is one of ours that has the address, the operator is told which.
    fn named(&self, error: StartError) -> DriverError {
        let StartError::Bind { bind, .. } = &error else {
            return error.into();
        };
        let overlaps = |other: SocketAddr| {
            let any = other.ip().is_unspecified() || bind.ip().is_unspecified();
            other.port() == bind.port() && (any || other.ip() == bind.ip())
        };
        let holder = self
            .everyone()
            .find(|driver| matches!(driver.kind, Kind::Sip { bind, .. } if overlaps(bind)));
        match holder.map(|driver| driver.config.name.clone()) {
            Some(by) => DriverError::Held { error, by },
            None => error.into(),
        }
    }
}

impl Driver {
    fn has(&self, address: SocketAddr) -> bool {
        matches!(self.kind, Kind::Sip { bind, .. } if bind == address)
    }
}

/// An address that somebody has, and may be about to let go.
fn is_taken(error: &StartError) -> bool {
    let StartError::Bind { bind, error, .. } = error else {
        return false;
    };
    error.kind() == io::ErrorKind::AddrInUse && bind.port() != 0
}

/// Where the far ends of calls that were left up look for us: taken again by carriers that may choose their port.
fn on_former_port(config: &CarrierConfig, own: Local, unterminated: &[CallToEnd]) -> Option<Local> {
    let port = unterminated
        .iter()
        .find_map(|call| sip::port_of(&call.state))?;
    match &config.transport {
        Transport::Sip(sip) if sip.bind.port == 0 => Some(Local {
            bind: SocketAddr::new(own.bind.ip(), port),
            ..own
        }),
        Transport::Sip(_) | Transport::Smpp(_) | Transport::Http(_) => None,
    }
}
