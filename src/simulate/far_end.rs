//! The far end of a run: one simulator for each carrier of the configuration, all with one record of what the
//! phones saw and heard, and one control address.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use simulators::{
    control::{self, Control},
    http_carrier::{Callback, HttpCarrier, HttpConfig, HttpHandle},
    record::Record,
    script::Script,
    smsc::{Smsc, SmscConfig, SmscHandle},
    subscriber::Habits,
    trunk::{Trunk, TrunkConfig, TrunkHandle},
};

use super::setup::{SECRET, USER};
use crate::config::{Config, carrier::Transport};

/// Everything that is simulated.
pub struct FarEnd {
    pub record: Record,
    carriers: BTreeMap<Arc<str>, Carrier>,
    control: Control,
}

/// How a run wants its far end.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub seed: u64,
    /// Lines of the record that are kept.
    pub lines: usize,
    /// Do the phones listen to what they hear? It costs some CPU a call.
    pub ear: bool,
    /// The port to which HTTP carriers send their receipts.
    pub callbacks: u16,
}

/// One simulated carrier.
enum Carrier {
    Smsc(Arc<SmscHandle>),
    Http(Arc<HttpHandle>),
    Trunk(TrunkHandle),
}

/// People answer after this long, and read texts so quickly.
const HABITS: Habits = Habits {
    receipt_delay: Duration::from_millis(100),
    late_receipt: Duration::from_secs(30),
    ring: Duration::from_millis(300),
    key_after: Duration::from_millis(1500),
};

impl FarEnd {
    /// Starts them all, each on a free port of this machine.
    pub async fn start(config: &Config, wish: Wish) -> io::Result<FarEnd> {
        let record = Record::with_limit(wish.lines);
        let prompts = &config.settings.paths.prompts;
        let mut carriers = BTreeMap::new();
        for (n, carrier) in (1..).zip(config.carriers.values()) {
            let seed = wish.seed.wrapping_add(n);
            let at = Start {
                name: &carrier.name,
                seed,
                wish,
                record: &record,
                prompts,
            };
            let started = match &carrier.transport {
                Transport::Smpp(_) => Carrier::Smsc(Arc::new(at.smsc().await?)),
                Transport::Http(_) => Carrier::Http(Arc::new(at.http().await?)),
                Transport::Sip(_) => Carrier::Trunk(at.trunk().await?),
            };
            carriers.insert(carrier.name.clone(), started);
        }
        let steered = carriers
            .iter()
            .map(|(name, carrier)| match carrier {
                Carrier::Smsc(smsc) => control::Carrier::smsc(smsc),
                Carrier::Http(http) => control::Carrier::http(http),
                Carrier::Trunk(trunk) => control::Carrier::new(name, trunk.faults().clone()),
            })
            .collect();
        let control = Control::start(loopback(0), steered, record.clone()).await?;
        Ok(FarEnd {
            record,
            carriers,
            control,
        })
    }

    /// Where a carrier's simulator listens.
    pub fn address(&self, carrier: &str) -> Option<SocketAddr> {
        self.carriers.get(carrier).map(|carrier| match carrier {
            Carrier::Smsc(smsc) => smsc.address(),
            Carrier::Http(http) => http.address(),
            Carrier::Trunk(trunk) => trunk.address(),
        })
    }

    /// What goes wrong at a carrier.
    pub fn faults(&self, carrier: &str) -> Option<&Script> {
        self.carriers.get(carrier).map(|carrier| match carrier {
            Carrier::Smsc(smsc) => smsc.faults(),
            Carrier::Http(http) => http.faults(),
            Carrier::Trunk(trunk) => trunk.faults(),
        })
    }

    /// What they speak, and their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.carriers.iter().map(|(name, carrier)| {
            let kind = match carrier {
                Carrier::Smsc(_) => "SMPP",
                Carrier::Http(_) => "HTTP",
                Carrier::Trunk(_) => "SIP",
            };
            (kind, &**name)
        })
    }

    /// Where the simulators are watched and steered.
    pub fn control(&self) -> SocketAddr {
        self.control.address()
    }

    /// Calls that ring or are up.
    pub fn live_calls(&self) -> u64 {
        self.trunks().map(TrunkHandle::live_calls).sum()
    }

    /// Calls that the record doesn't hold yet.
    pub fn unwritten_calls(&self) -> u64 {
        self.trunks().map(TrunkHandle::unwritten_calls).sum()
    }

    fn trunks(&self) -> impl Iterator<Item = &TrunkHandle> {
        self.carriers.values().filter_map(|carrier| match carrier {
            Carrier::Trunk(trunk) => Some(trunk),
            Carrier::Smsc(_) | Carrier::Http(_) => None,
        })
    }

    pub async fn stop(self) {
        self.control.stop().await;
        for carrier in self.carriers.into_values() {
            match carrier {
                // The control address is gone: these are the last holders.
                Carrier::Smsc(smsc) => {
                    if let Some(smsc) = Arc::into_inner(smsc) {
                        smsc.stop().await;
                    }
                }
                Carrier::Http(http) => {
                    if let Some(http) = Arc::into_inner(http) {
                        http.stop().await;
                    }
                }
                Carrier::Trunk(trunk) => trunk.stop().await,
            }
        }
    }
}

/// A port of this machine that is free now. Somebody may take it before we do; then starting fails and says so.
pub fn free_port() -> io::Result<u16> {
    // Below those that the system gives away: between now and its use nobody is given it. Two simulations at a time
    // begin at different places.
    let places = FIXED_PORTS.end - FIXED_PORTS.start;
    let first = u16::try_from(std::process::id() % u32::from(places)).unwrap_or(0);
    let mut ports = (0..places).map(|n| FIXED_PORTS.start + (first + n) % places);
    match ports.find(|port| is_free(*port)) {
        Some(port) => Ok(port),
        None => Ok(TcpListener::bind(loopback(0))?.local_addr()?.port()),
    }
}

/// Could it be listened on now?
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

/// Ports that neither the system gives away nor our audio uses.
const FIXED_PORTS: std::ops::Range<u16> = 12_000..19_000;

struct Start<'a> {
    name: &'a str,
    seed: u64,
    wish: Wish,
    record: &'a Record,
    prompts: &'a Path,
}

impl Start<'_> {
    async fn smsc(&self) -> io::Result<SmscHandle> {
        Smsc::start(SmscConfig {
            name: self.name.to_owned(),
            credentials: Some((USER.to_owned(), SECRET.to_owned())),
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..SmscConfig::default()
        })
        .await
    }

    async fn http(&self) -> io::Result<HttpHandle> {
        let callback = Callback {
            url: format!(
                "http://{}/callbacks/{}",
                loopback(self.wish.callbacks),
                self.name
            ),
            key: SECRET.to_owned(),
        };
        HttpCarrier::start(HttpConfig {
            name: self.name.to_owned(),
            token: Some(SECRET.to_owned()),
            callback: Some(callback),
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..HttpConfig::default()
        })
        .await
    }

    async fn trunk(&self) -> io::Result<TrunkHandle> {
        Trunk::start(TrunkConfig {
            name: self.name.to_owned(),
            credentials: Some((USER.to_owned(), SECRET.to_owned())),
            prompts: self.wish.ear.then(|| self.prompts.to_path_buf()),
            ear: self.wish.ear,
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..TrunkConfig::default()
        })
        .await
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
