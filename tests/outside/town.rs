//! Two SMPP carriers, one HTTP carrier, two trunks, and the folder that tells a gateway of them. They live in the
//! test's own process, so that they outlive the gateway.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use simulators::{
    http_carrier::{Callback, HttpCarrier, HttpConfig, HttpHandle},
    record::Record,
    smsc::{Smsc, SmscConfig, SmscHandle},
    subscriber::Habits,
    trunk::{Trunk, TrunkConfig, TrunkHandle},
};

pub const CALLER_ID: &str = "+18553308653";
const KEY: &str = "a-key-for-callbacks";

pub struct Town {
    pub folder: PathBuf,
    /// Names of queues and exchanges begin with it.
    pub name: String,
    pub record: Record,
    pub texts: [SmscHandle; 2],
    pub web: HttpHandle,
    pub trunks: [TrunkHandle; 2],
    pub http: SocketAddr,
    pub callbacks: SocketAddr,
    pub admin: SocketAddr,
    /// The gateway's own signalling address of the first trunk.
    pub sip: SocketAddr,
}

/// One gateway of several.
pub struct Node {
    pub folder: PathBuf,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

/// The gateway's media ports of the first trunk.
pub const RTP: std::ops::RangeInclusive<u16> = 20_000..=21_999;

impl Town {
    pub async fn build(name: &str) -> Town {
        let name = format!("{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(format!("ringback-{name}"));
        // Left by a run that was cut off under the same process id.
        let _ = std::fs::remove_dir_all(&folder);
        for inner in ["routes", "carriers"] {
            std::fs::create_dir_all(folder.join(inner)).expect("a folder");
        }
        let record = Record::with_limit(400_000);
        let [http, callbacks, admin, sip] = free_ports(0);
        let texts = [
            smsc("northwind", &record).await,
            smsc("litware", &record).await,
        ];
        let web = web(&record, callbacks).await;
        let trunks = [
            trunk("fabrikam", &record, false).await,
            trunk("contoso", &record, true).await,
        ];
        let town = Town {
            folder,
            name,
            record,
            texts,
            web,
            trunks,
            http,
            callbacks,
            admin,
            sip,
        };
        town.write();
        town
    }

    fn write(&self) {
        self.write_into(&self.folder, self.settings(), [self.sip.port(), 0], 20_000);
    }

    /// One of several gateways of this town: its name, and its own doors, ports and folder. `more` is appended to its settings.
    pub fn node(&self, n: u16, more: &str) -> Node {
        let folder = self.folder.join(format!("node-{n}"));
        for inner in ["routes", "carriers"] {
            std::fs::create_dir_all(folder.join(inner)).expect("a folder");
        }
        let doors = match n {
            // Where the carrier by HTTP brings its callbacks.
            1 => [self.http, self.callbacks, self.admin],
            _ => {
                let [http, callbacks, admin, _] = free_ports(usize::from(n));
                [http, callbacks, admin]
            }
        };
        let [http, _, admin] = doors;
        let settings = self.settings_of(&format!("{}-{n}", self.name), doors);
        let first = 20_000 + 3_000 * (n - 1);
        self.write_into(&folder, format!("{settings}{more}"), [0, 0], first);
        Node {
            folder,
            http,
            admin,
        }
    }

    /// The files of a gateway whose trunks have these ports of their own, and media ports from the first on.
    fn write_into(&self, folder: &Path, settings: String, sip: [u16; 2], first: u16) {
        let put = |file: &str, text: String| {
            std::fs::write(folder.join(file), text).expect("a file");
        };
        put("ringback.toml", settings);
        put("routes/senders.toml", SENDERS.into());
        put("routes/us.toml", US.into());
        put("routes/default.toml", ELSEWHERE.into());
        for smsc in &self.texts {
            let file = format!(
                "transport = \"smpp\"\nendpoints = [\"{}\"]\nsystem_id = \"mfa\"\nbinds = 2\nwindow = 100\n\
                 response_timeout = \"2s\"\n",
                smsc.address()
            );
            put(&format!("carriers/{}.toml", smsc.name()), file);
        }
        put(
            "carriers/tailspin.toml",
            TAILSPIN.replace("{address}", &self.web.address().to_string()),
        );
        let binds = sip.map(|port| format!("127.0.0.1:{port}"));
        let ports = [
            format!("{first}-{}", first + 1_999),
            format!("{}-{}", first + 2_000, first + 2_999),
        ];
        for ((name, trunk), (bind, ports)) in ["fabrikam", "contoso"]
            .iter()
            .zip(&self.trunks)
            .zip(binds.iter().zip(ports))
        {
            let file = format!(
                "transport = \"sip\"\nendpoints = [\"udp:{}\"]\nbind = \"{bind}\"\n\
                 rtp = {{ address = \"127.0.0.1\", ports = \"{ports}\" }}\nring = \"3s\"\nkey_wait = \"1s\"\n\
                 response_timeout = \"2s\"\n",
                trunk.address()
            );
            put(&format!("carriers/{name}.toml"), file);
        }
    }

    fn settings(&self) -> String {
        self.settings_of(&self.name, [self.http, self.callbacks, self.admin])
    }

    fn settings_of(&self, node: &str, [http, callbacks, admin]: [SocketAddr; 3]) -> String {
        let prompts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("prompts");
        let name = &self.name;
        format!(
            "[node]\nname = \"{node}\"\ndrain = \"10s\"\n[paths]\nprompts = {prompts:?}\n\
             [jobs.amqp]\nurl = {{ env = \"RINGBACK_AMQP_URL\" }}\nexchange = \"{name}\"\nqueue = \"{name}.jobs\"\n\
             control = \"{name}.control\"\ndead = \"{name}.dead\"\nreports = \"{name}.reports\"\n\
             [http]\nlisten = \"{http}\"\n[callbacks]\nlisten = \"{callbacks}\"\n[admin]\nlisten = \"{admin}\"\n"
        )
    }

    /// Calls that ring or are up, on both trunks.
    pub fn live_calls(&self) -> u64 {
        self.trunks.iter().map(TrunkHandle::live_calls).sum()
    }

    /// Calls that the record doesn't hold yet: up, or not listened to.
    pub fn unwritten_calls(&self) -> u64 {
        self.trunks.iter().map(TrunkHandle::unwritten_calls).sum()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // A failed run leaves its logs for whoever looks into it.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            eprintln!("the gateway's log: {}", self.folder.join("log").display());
        }
    }
}

/// Quick people on quick networks.
fn habits() -> Habits {
    Habits {
        receipt_delay: Duration::from_millis(100),
        late_receipt: Duration::from_secs(3),
        ring: Duration::from_millis(100),
        key_after: Duration::from_millis(400),
    }
}

async fn smsc(name: &str, record: &Record) -> SmscHandle {
    let config = SmscConfig {
        name: name.to_owned(),
        habits: habits(),
        record: record.clone(),
        ..SmscConfig::default()
    };
    // An answer takes its time, so that there is always something in the air.
    config.script.change(|f| f.response_delay_ms = 20);
    Smsc::start(config).await.expect("a simulated SMSC")
}

async fn web(record: &Record, callbacks: SocketAddr) -> HttpHandle {
    let config = HttpConfig {
        name: "tailspin".to_owned(),
        token: Some("a-token".to_owned()),
        callback: Some(Callback {
            url: format!("http://{callbacks}/callbacks/tailspin"),
            key: KEY.to_owned(),
        }),
        habits: habits(),
        record: record.clone(),
        ..HttpConfig::default()
    };
    config.script.change(|f| f.response_delay_ms = 20);
    HttpCarrier::start(config)
        .await
        .expect("a simulated HTTP carrier")
}

async fn trunk(name: &str, record: &Record, ear: bool) -> TrunkHandle {
    let config = TrunkConfig {
        name: name.to_owned(),
        prompts: ear.then(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("prompts")),
        ear,
        habits: habits(),
        record: record.clone(),
        ..TrunkConfig::default()
    };
    Trunk::start(config).await.expect("a simulated trunk")
}

/// Four ports below those that the system gives away, free for TCP and UDP; others for each `turn`, also where those of another
/// turn are not yet in use.
fn free_ports(turn: usize) -> [SocketAddr; 4] {
    let start = 10_000 + u16::try_from(std::process::id() % 8_000).expect("below 8000");
    let mut free = (start..19_900)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .skip(turn * 100)
        .filter(|at| TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok());
    [(); 4].map(|()| free.next().expect("a free port"))
}

/// What the gateway reads its secrets from.
pub fn secrets() -> [(&'static str, &'static str); 2] {
    [
        ("TAILSPIN_TOKEN", "a-token"),
        ("TAILSPIN_CALLBACK_KEY", KEY),
    ]
}

const SENDERS: &str = r#"
[[sender]]
id = "97671"
kind = "short_code"
countries = ["US"]
two_way = true
programme = "mfa"
[[sender]]
id = "69829"
kind = "short_code"
countries = ["US"]
two_way = true
programme = "mfa"
[[sender]]
id = "+18553308653"
kind = "toll_free"
countries = "all"
voice = true
programme = "mfa"
"#;

const US: &str = r#"
[[sms]]
carrier = "northwind"
senders = ["97671", "69829"]
weight = 70
[[sms]]
carrier = "tailspin"
senders = ["97671"]
weight = 30
[[sms]]
tier = 2
carrier = "litware"
senders = ["+18553308653"]
[[voice]]
carrier = "fabrikam"
caller_ids = ["+18553308653"]
[[voice]]
tier = 2
carrier = "contoso"
caller_ids = ["+18553308653"]
"#;

/// Canada's calls go to the trunk that listens.
const ELSEWHERE: &str = r#"
[[sms]]
carrier = "litware"
senders = ["+18553308653"]
[[voice]]
carrier = "contoso"
caller_ids = ["+18553308653"]
"#;

const TAILSPIN: &str = r#"
transport = "http"
window = 100
response_timeout = "2s"
[request]
method = "POST"
url = "http://{address}/v1/messages"
headers = { "Content-Type" = "application/json" }
auth = { bearer = { env = "TAILSPIN_TOKEN" } }
body = '{"to":{to},"from":{sender},"text":{text},"ref":{ref}}'
[response]
accepted = [200, 201, 202]
reference = "/id"
code = "/error/code"
[callback]
keys = [{ env = "TAILSPIN_CALLBACK_KEY" }]
reference = "/id"
state = "/status"
delivered = ["delivered"]
undelivered = ["failed"]
code = "/code"
from = "/from"
to = "/to"
text = "/text"
[status]
429 = "throttled"
"#;
