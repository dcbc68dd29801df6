//! The far end of a run: one simulator for each carrier of the configuration, all with one record of what the
//! phones saw and heard, and one control address.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use simulators::{
    control::{self, Control},
    http_carrier::{Callback, HttpCarrier, HttpConfig as SimulatedHttp, HttpHandle},
    record::Record,
    script::Script,
    smsc::{Smsc, SmscConfig, SmscHandle},
    subscriber::Habits,
    trunk::{Trunk, TrunkConfig, TrunkHandle},
};

use super::{
    address::{is_here, password, place},
    setup::{SECRET, USER},
};
use crate::config::{
    CarrierConfig, Config,
    carrier::{HttpAuth, HttpConfig, SipConfig, SmppConfig, Transport},
};

/// Everything that is simulated.
pub struct FarEnd {
    pub record: Record,
    carriers: BTreeMap<Arc<str>, Carrier>,
    control: Control,
}

/// How a run wants its far end.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    pub seed: u64,
    /// Lines of the record that are kept.
    pub lines: usize,
    /// Do the phones listen to what they hear? It costs some CPU a call.
    pub ear: bool,
    /// The port to which HTTP carriers send their receipts.
    pub callbacks: u16,
    pub places: Places,
}

/// Where the simulators listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// On free ports: the gateway's configuration is written to match.
    Free,
    /// Where the configuration says, with its passwords; carriers elsewhere than on this machine are left out.
    Configured,
}

/// The usual port of the control address, for simulators that stand where the configuration says.
pub const CONTROL: u16 = 2790;

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
    /// Starts them all.
    pub async fn start(config: &Config, wish: SimOptions) -> io::Result<FarEnd> {
        let record = Record::with_limit(wish.lines);
        let prompts = &config.settings.paths.prompts;
        let mut carriers = BTreeMap::new();
        let here = |c: &&Arc<CarrierConfig>| wish.places == Places::Free || is_here(c);
        for (n, carrier) in (1..).zip(config.carriers.values().filter(here)) {
            let seed = wish.seed.wrapping_add(n);
            let at = Start {
                name: &carrier.name,
                listen: wish.places.listen(carrier)?,
                seed,
                wish,
                record: &record,
                prompts,
            };
            let started = match &carrier.transport {
                Transport::Smpp(smpp) => Carrier::Smsc(Arc::new(at.smsc(smpp).await?)),
                Transport::Http(http) => Carrier::Http(Arc::new(at.http(http).await?)),
                Transport::Sip(sip) => Carrier::Trunk(at.trunk(sip).await?),
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
        let control =
            Control::start(loopback(wish.places.control()), steered, record.clone()).await?;
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

impl Places {
    fn listen(self, carrier: &CarrierConfig) -> io::Result<SocketAddr> {
        let Some((host, port)) = place(carrier).filter(|_| self == Places::Configured) else {
            return Ok(loopback(0));
        };
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        Ok(SocketAddr::new(
            literal.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            port,
        ))
    }

    fn control(self) -> u16 {
        match self {
            Places::Configured if is_free(CONTROL) => CONTROL,
            Places::Configured | Places::Free => 0,
        }
    }
}

struct Start<'a> {
    name: &'a str,
    listen: SocketAddr,
    seed: u64,
    wish: SimOptions,
    record: &'a Record,
    prompts: &'a Path,
}

/// Says which carrier could not listen, and where.
fn cannot(name: &str, listen: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{name} can't listen on {listen}: {error}"),
    )
}

impl Start<'_> {
    async fn smsc(&self, smpp: &SmppConfig) -> io::Result<SmscHandle> {
        Smsc::start(SmscConfig {
            name: self.name.to_owned(),
            listen: self.listen,
            credentials: Some(match self.wish.places {
                Places::Free => (USER.to_owned(), SECRET.to_owned()),
                Places::Configured => {
                    (smpp.system_id.to_string(), password(smpp.password.as_ref()))
                }
            }),
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..SmscConfig::default()
        })
        .await
        .map_err(|error| cannot(self.name, self.listen, &error))
    }

    async fn http(&self, http: &HttpConfig) -> io::Result<HttpHandle> {
        let (token, key) = match self.wish.places {
            Places::Free => (Some(SECRET.to_owned()), SECRET.to_owned()),
            Places::Configured => {
                let token = match &http.request.auth {
                    Some(HttpAuth::Bearer(secret)) => Some(password(Some(secret))),
                    // The simulator knows bearer tokens only: it lets the others in.
                    Some(HttpAuth::Basic { .. } | HttpAuth::Header { .. }) | None => None,
                };
                let keys = http.callback.as_ref().and_then(|c| c.keys.first());
                (token, password(keys))
            }
        };
        let callback = Callback {
            url: format!(
                "http://{}/callbacks/{}",
                loopback(self.wish.callbacks),
                self.name
            ),
            key,
        };
        HttpCarrier::start(SimulatedHttp {
            name: self.name.to_owned(),
            listen: self.listen,
            token,
            callback: Some(callback),
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..SimulatedHttp::default()
        })
        .await
        .map_err(|error| cannot(self.name, self.listen, &error))
    }

    async fn trunk(&self, sip: &SipConfig) -> io::Result<TrunkHandle> {
        Trunk::start(TrunkConfig {
            name: self.name.to_owned(),
            listen: self.listen,
            credentials: match self.wish.places {
                Places::Free => Some((USER.to_owned(), SECRET.to_owned())),
                Places::Configured => sip
                    .username
                    .as_ref()
                    .map(|user| (user.to_string(), password(sip.password.as_ref()))),
            },
            prompts: self.wish.ear.then(|| self.prompts.to_path_buf()),
            ear: self.wish.ear,
            habits: HABITS,
            seed: self.seed,
            record: self.record.clone(),
            ..TrunkConfig::default()
        })
        .await
        .map_err(|error| cannot(self.name, self.listen, &error))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
