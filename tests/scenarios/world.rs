//! A small world: a gateway, its carriers and phones, and a caller that hears every report.
//!
//! Everything goes through real sockets, but for the jobs and reports, which go through the gateway's own doors: the
//! broker's side is `tests/broker` and `tests/storm`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringback::{
    challenge::{Challenge, Code, Expect, Fallback, Method, Millis, Origin, ReplyTo, Until},
    clock,
    config::Config,
    core::Unobserved,
    gateway::{Prepared, Publishing, Service},
    intake::{Arrival, Job, Ticket},
    ledger::{OutboxReport, Target},
    number,
};
use serde_json::Value;
use simulators::{record::Record, script::Script, smsc, subscriber::Habits, trunk};
use tokio::sync::watch;

/// Longest that anything in a scenario may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What the caller has heard, by challenge id, in the order in which it came.
#[derive(Clone)]
pub struct Caller {
    heard: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    news: watch::Sender<u64>,
}

impl Caller {
    fn new() -> Caller {
        Caller {
            heard: Arc::default(),
            news: watch::Sender::new(0),
        }
    }

    fn hear(&self, report: &OutboxReport) {
        if !matches!(report.target, Target::ReplyTo { .. }) {
            return;
        }
        let body: Value = serde_json::from_slice(&report.body).expect("a report is JSON");
        let id = body["challenge"]
            .as_str()
            .expect("a report names its challenge")
            .to_owned();
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .or_default()
            .push(body);
        self.news.send_modify(|n| *n += 1);
    }

    pub fn of(&self, id: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(id).cloned().unwrap_or_default()
    }

    pub fn events(&self, id: &str) -> Vec<String> {
        self.of(id)
            .iter()
            .map(|r| r["event"].as_str().unwrap_or("").to_owned())
            .collect()
    }

    /// Waits for the final report.
    pub async fn last(&self, id: &str) -> Value {
        self.until(id, |reports| {
            reports.iter().find(|r| r["final"] == true).cloned()
        })
        .await
    }

    /// Waits until something is found in what was heard.
    pub async fn until(&self, id: &str, found: impl Fn(&[Value]) -> Option<Value>) -> Value {
        let mut news = self.news.subscribe();
        let wait = async {
            loop {
                if let Some(value) = found(&self.of(id)) {
                    return value;
                }
                news.changed()
                    .await
                    .expect("the caller lives as long as the world");
            }
        };
        match tokio::time::timeout(LIMIT, wait).await {
            Ok(value) => value,
            Err(_) => panic!("{id}: not heard in time; heard so far: {:#?}", self.of(id)),
        }
    }
}

pub struct World {
    pub folder: Folder,
    pub caller: Caller,
    pub gateway: Service,
    pub record: Record,
    pub smsc: BTreeMap<&'static str, smsc::SmscHandle>,
    pub trunks: BTreeMap<&'static str, trunk::TrunkHandle>,
}

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ringback-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("routes")).expect("a folder");
        std::fs::create_dir_all(path.join("carriers")).expect("a folder");
        Folder(path)
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("a file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind at worst: a test's folder in the system's own temporary place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a scenario starts with. Two SMPP carriers and one trunk unless it says otherwise.
pub struct Plan {
    pub smsc: Vec<&'static str>,
    pub trunks: Vec<&'static str>,
    /// More keys for a carrier's file.
    pub extra: BTreeMap<&'static str, String>,
    pub routes: BTreeMap<&'static str, String>,
    pub settings: String,
    /// Files that stand beside those of the simulated carriers.
    pub files: BTreeMap<&'static str, String>,
    /// Faults from the first moment.
    pub faults: BTreeMap<&'static str, fn(&mut simulators::script::Faults)>,
    pub ear: bool,
    /// Where the gateway's recordings are.
    pub prompts: PathBuf,
}

impl Default for Plan {
    fn default() -> Plan {
        let us = r#"
[[sms]]
carrier = "northwind"
senders = ["97671", "69829", "51789", "99399"]
[[sms]]
tier = 2
carrier = "litware"
senders = ["97671", "69829"]
[[voice]]
carrier = "fabrikam"
caller_ids = ["+18553308653"]
"#;
        Plan {
            smsc: vec!["northwind", "litware"],
            trunks: vec!["fabrikam"],
            extra: BTreeMap::new(),
            routes: BTreeMap::from([("us", us.to_owned())]),
            settings: String::new(),
            files: BTreeMap::new(),
            faults: BTreeMap::new(),
            ear: false,
            prompts: prompts(),
        }
    }
}

impl Plan {
    pub async fn start(self) -> World {
        let folder = Folder::new();
        let record = Record::new();
        let habits = Habits {
            ring: Duration::from_millis(100),
            key_after: Duration::from_millis(400),
            ..Habits::default()
        };
        let mut smsc = BTreeMap::new();
        for name in &self.smsc {
            let script = self.script(name);
            let config = smsc::SmscConfig {
                name: (*name).to_owned(),
                habits,
                script,
                record: record.clone(),
                ..smsc::SmscConfig::default()
            };
            let handle = smsc::Smsc::start(config).await.expect("a simulated SMSC");
            let extra = self.extra.get(name).map_or("", |e| e);
            folder.write(
                &format!("carriers/{name}.toml"),
                &smpp_file(handle.address(), extra),
            );
            smsc.insert(*name, handle);
        }
        let mut trunks = BTreeMap::new();
        for name in &self.trunks {
            let config = trunk::TrunkConfig {
                name: (*name).to_owned(),
                prompts: Some(prompts()),
                ear: self.ear,
                habits,
                script: self.script(name),
                record: record.clone(),
                ..trunk::TrunkConfig::default()
            };
            let handle = trunk::Trunk::start(config)
                .await
                .expect("a simulated trunk");
            let extra = self.extra.get(name).map_or("", |e| e);
            folder.write(
                &format!("carriers/{name}.toml"),
                &sip_file(handle.address(), extra),
            );
            trunks.insert(*name, handle);
        }
        for (file, text) in &self.files {
            folder.write(file, text);
        }
        for (name, text) in &self.routes {
            folder.write(&format!("routes/{name}.toml"), text);
        }
        folder.write("routes/senders.toml", &senders());
        let settings = format!(
            "[node]\nname = \"test\"\n[paths]\nprompts = {:?}\n{}",
            self.prompts.display().to_string(),
            self.settings
        );
        folder.write("ringback.toml", &settings);
        let caller = Caller::new();
        let gateway = run(&folder, &caller).await;
        World {
            folder,
            caller,
            gateway,
            record,
            smsc,
            trunks,
        }
    }

    fn script(&self, name: &str) -> Script {
        let script = Script::default();
        if let Some(fault) = self.faults.get(name) {
            script.change(fault);
        }
        script
    }
}

/// Starts a gateway on the folder's configuration.
pub async fn run(folder: &Folder, caller: &Caller) -> Service {
    let config = Config::load(&folder.0.join("ringback.toml")).unwrap_or_else(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!("the scenario's configuration:\n{}", lines.join("\n"))
    });
    let prepared = Prepared::open(config, Box::new(Unobserved)).expect("a gateway");
    let (caller, published) = (caller.clone(), prepared.published.clone());
    let publish = Box::new(move |report: OutboxReport| {
        caller.hear(&report);
        // Full: the report stays in the ledger, which hurts no scenario.
        let _ = published.try_send(vec![report.report]);
    });
    prepared
        .start(Some(Publishing { publish }))
        .await
        .expect("a running gateway")
}

impl World {
    pub async fn with(plan: Plan) -> World {
        plan.start().await
    }

    /// Hands a challenge to the gateway, as a door does.
    pub async fn send(&self, ch: Challenge) {
        let arrival = Arrival {
            job: Job::Challenge(Box::new(ch)),
            ticket: Ticket::None,
        };
        self.gateway
            .intake
            .jobs
            .send(arrival)
            .await
            .expect("the gateway takes jobs");
    }

    /// Sends it and waits for its final.
    pub async fn ask(&self, ch: Challenge) -> Value {
        let id = ch.id.to_string();
        self.send(ch).await;
        self.caller.last(&id).await
    }

    /// The one text that this number got.
    pub fn text_to(&self, number: &str) -> simulators::record::Text {
        let texts: Vec<_> = self
            .record
            .texts_to(number)
            .into_iter()
            .filter(|t| !t.reference.is_empty())
            .collect();
        assert_eq!(texts.len(), 1, "texts to {number}: {texts:?}");
        texts.into_iter().next().expect("one")
    }

    /// Nothing that the gateway sent broke a protocol.
    pub fn no_protocol_errors(&self) {
        let summary = self.record.summary();
        assert_eq!(summary.protocol_errors, 0, "{:?}", self.record.lines());
    }
}

/// A challenge with the fields that a scenario cares about.
pub fn challenge(id: &str, to: &str, method: Method) -> Challenge {
    let now = clock::now();
    let analysis = number::analyse(to, None);
    Challenge {
        id: id.into(),
        tenant: "default".into(),
        user: None,
        to: analysis.number,
        country: analysis.country,
        refused: analysis.refused,
        extension: None,
        method,
        fallback: Vec::new(),
        until: Until::Delivered,
        expect: Expect::Code,
        code: method.needs_code().then(|| Code::new("482913")),
        code_made: false,
        pin: None,
        text: None,
        locale: "en-US".into(),
        issued: now,
        deadline: now + Duration::from_secs(180),
        arrived: now,
        caller_id: None,
        meta: Default::default(),
        reply_to: Some(ReplyTo {
            queue: "caller".into(),
            correlation_id: Some(id.into()),
        }),
        door: Origin::Amqp,
        content: [id.len() as u8; 32],
    }
}

/// So much of its life is left.
pub fn life(mut ch: Challenge, left: Duration) -> Challenge {
    ch.deadline = Millis(ch.issued.0) + left;
    ch
}

pub fn then(mut ch: Challenge, method: Method, after: Duration) -> Challenge {
    ch.code = ch
        .code
        .or_else(|| method.needs_code().then(|| Code::new("482913")));
    ch.fallback.push(Fallback { method, after });
    ch
}

pub fn prompts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("prompts")
}

fn smpp_file(at: SocketAddr, extra: &str) -> String {
    format!(
        "transport = \"smpp\"\nendpoints = [\"{at}\"]\nsystem_id = \"mfa\"\nbinds = 2\n{extra}\n"
    )
}

fn sip_file(at: SocketAddr, extra: &str) -> String {
    let rtp = "rtp = { address = \"127.0.0.1\", ports = \"30000-39999\" }";
    let rtp = if extra.contains("rtp =") { "" } else { rtp };
    format!(
        "transport = \"sip\"\nendpoints = [\"udp:{at}\"]\nbind = \"127.0.0.1:0\"\n\
         {rtp}\nkey_wait = \"1s\"\nring = \"3s\"\n{extra}\n"
    )
}

fn senders() -> String {
    let short = ["97671", "69829", "51789", "99399"].map(|id| {
        format!("[[sender]]\nid = \"{id}\"\nkind = \"short_code\"\ncountries = [\"US\"]\ntwo_way = true\nprogramme = \"mfa\"\n")
    });
    let long = "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\nprogramme = \"mfa\"\n\
                [[sender]]\nid = \"Ringback\"\nkind = \"alphanumeric\"\ncountries = \"all\"\nprogramme = \"mfa\"\n";
    format!("{}{long}", short.concat())
}
