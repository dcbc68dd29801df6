//! A gateway with its listeners, as `ringback run` has them, two simulated carriers, and an HTTP client.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ringback::{config::Config, gateway::Gateway};
use serde_json::{Value, json};
use simulators::{http_carrier, record::Record, smsc};

/// Longest that anything here may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a configuration; goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringback-http-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for folder in ["routes", "carriers"] {
            std::fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        Folder(path)
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("a file");
    }

    pub fn config(&self) -> Config {
        Config::load(&self.0.join("ringback.toml")).unwrap_or_else(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("the configuration:\n{}", lines.join("\n"))
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind at worst: a test's folder in the system's own temporary place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An answer, read whole.
pub struct Answer {
    pub status: u16,
    pub head: hyper::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Server-sent events: id, event, data.
    pub fn events(&self) -> Vec<(u64, String, Value)> {
        let field = |block: &str, name: &str| {
            let line = block.lines().find_map(|l| l.strip_prefix(name));
            line.map(|l| l.trim().to_owned())
        };
        let text = self.text();
        let blocks = text.split("\n\n").filter(|b| b.contains("data:"));
        blocks
            .map(|b| {
                let data = field(b, "data:").expect("data");
                (
                    field(b, "id:").and_then(|id| id.parse().ok()).expect("id"),
                    field(b, "event:").expect("event"),
                    serde_json::from_str(&data).expect("JSON"),
                )
            })
            .collect()
    }
}

pub async fn ask(method: &str, at: SocketAddr, path: &str, body: &str) -> Answer {
    ask_with(method, at, path, body, &[]).await
}

pub async fn ask_with(
    method: &str,
    at: SocketAddr,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned())));
    let asked = async {
        let answer = client.request(request.expect("a request")).await;
        let answer = answer.expect("an answer");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: head.status.as_u16(),
            head: head.headers,
            body,
        }
    };
    let answered = tokio::time::timeout(LIMIT, asked).await;
    answered.unwrap_or_else(|_| panic!("{method} {path}: no whole answer in time"))
}

/// The gateway and its far end: `northwind` over SMPP for US, `tailspin` over HTTP for SE.
pub struct World {
    pub folder: Folder,
    pub running: Gateway,
    pub record: Record,
    pub smsc: smsc::SmscHandle,
    pub tailspin: http_carrier::HttpHandle,
}

impl World {
    /// `settings` stand below `[http]`.
    pub async fn new(settings: &str) -> World {
        World::new_with(settings, |_| {}).await
    }

    pub async fn new_with(settings: &str, prepare: impl Fn(&Folder)) -> World {
        let (folder, record) = (Folder::new(), Record::new());
        let config = smsc::SmscConfig {
            name: "northwind".to_owned(),
            record: record.clone(),
            ..smsc::SmscConfig::default()
        };
        let smsc = smsc::Smsc::start(config).await.expect("a simulated SMSC");
        let callbacks = free_port();
        let config = http_carrier::HttpConfig {
            name: "tailspin".to_owned(),
            record: record.clone(),
            callback: Some(http_carrier::Callback {
                url: format!("http://{callbacks}/callbacks/tailspin"),
                key: "the callback key".to_owned(),
            }),
            ..http_carrier::HttpConfig::default()
        };
        let tailspin = http_carrier::HttpCarrier::start(config).await;
        let tailspin = tailspin.expect("a simulated HTTP carrier");
        prepare(&folder);
        folder.write("callback.key", "the callback key");
        folder.write("carriers/northwind.toml", &smpp_file(smsc.address()));
        folder.write("carriers/tailspin.toml", &http_file(tailspin.address()));
        folder.write("routes/senders.toml", SENDERS);
        folder.write(
            "routes/us.toml",
            "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n",
        );
        folder.write(
            "routes/se.toml",
            "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n",
        );
        folder.write("ringback.toml", &settings_file(callbacks, settings));
        let running = Gateway::start(folder.config()).await;
        let running = running.unwrap_or_else(|e| panic!("{e}"));
        let world = World {
            folder,
            running,
            record,
            smsc,
            tailspin,
        };
        world.ready().await;
        world
    }

    pub async fn post(&self, job: &Value) -> Answer {
        ask(
            "POST",
            self.running.http,
            "/v1/challenges",
            &job.to_string(),
        )
        .await
    }

    /// Follows to the end; the last is the final report.
    pub async fn reports(&self, id: &str) -> Vec<(u64, String, Value)> {
        let path = format!("/v1/challenges/{id}/reports");
        let answer = ask("GET", self.running.http, &path, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.head["content-type"], "text/event-stream");
        answer.events()
    }

    pub async fn names(&self, id: &str) -> Vec<String> {
        self.reports(id)
            .await
            .into_iter()
            .map(|(_, name, _)| name)
            .collect()
    }

    pub async fn admin(&self, path: &str) -> Answer {
        ask("GET", self.running.admin, path, "").await
    }

    async fn ready(&self) {
        until("ready", async || {
            (self.admin("/admin/carriers").await.json().as_array())
                .is_some_and(|all| all.iter().all(|c| c["state"] != "suspended"))
        })
        .await;
    }
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(LIMIT, looking).await;
    found.unwrap_or_else(|_| panic!("never {what}"));
}

pub fn text(id: &str, to: &str) -> Value {
    json!({ "v": 1, "id": id, "to": to, "method": "sms_code" })
}

/// Below those that the system gives away, and never the same twice: nobody is given it before its use.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 19_000 + u16::try_from(std::process::id() % 40).expect("below 40") * 20;
    let mut ports = std::iter::repeat_with(|| start + NEXT.fetch_add(1, Ordering::Relaxed));
    let free = ports.find_map(|port| {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        std::net::TcpListener::bind(at).is_ok().then_some(at)
    });
    free.expect("a free port")
}

pub fn settings_file(callbacks: SocketAddr, more: &str) -> String {
    let any = "listen = \"127.0.0.1:0\"";
    format!(
        "[node]\nname = \"test\"\n[callbacks]\nlisten = \"{callbacks}\"\n[http]\n{any}\n{more}\n[admin]\n{any}\n"
    )
}

pub fn smpp_file(at: SocketAddr) -> String {
    format!("transport = \"smpp\"\nendpoints = [\"{at}\"]\nsystem_id = \"mfa\"\nbinds = 2\n")
}

pub fn http_file(at: SocketAddr) -> String {
    format!(
        r#"transport = "http"
[request]
method = "POST"
url = "http://{at}/v1/messages"
headers = {{ "Content-Type" = "application/json" }}
body = '{{"to":{{to}},"from":{{sender}},"text":{{text}},"ref":{{ref}}}}'
[response]
accepted = [201]
reference = "/id"
code = "/error/code"
[callback]
keys = [{{ file = "../callback.key" }}]
reference = "/id"
state = "/status"
delivered = ["delivered"]
undelivered = ["failed"]
"#
    )
}

pub const SENDERS: &str = r#"
[[sender]]
id = "97671"
kind = "short_code"
countries = ["US"]
[[sender]]
id = "69829"
kind = "short_code"
countries = ["US"]
[[sender]]
id = "Ringback"
kind = "alphanumeric"
countries = ["SE"]
"#;
