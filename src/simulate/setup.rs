//! The shipped configuration with other endpoints: every carrier's file is written anew so that it leads to its
//! simulator, and so that the sample is soon over.
//!
//! Routes and recordings stay where they are, so that an edited route is in force at once. What is written here is an
//! ordinary configuration: `ringback check --config`, `explain --config` and `run --config` take it.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use toml::{Table, Value, toml};

use crate::config::{CarrierConfig, Config, Fault, carrier::Transport, settings::Amqp};

/// The one account that all simulated carriers know.
pub const USER: &str = "mfa";
/// Its password, token and key: nothing but these simulators knows it. SMPP allows eight octets.
pub const SECRET: &str = "example";
/// Ringing is over sooner than anywhere else: a sample is watched by somebody.
const RING: &str = "4s";
const FILE: &str = "ringback.toml";
const LEDGER: &str = "sqlite:ledger/ringback.db";

/// What can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}", path = path.display())]
    Form { path: PathBuf, reason: String },
    /// The configuration's own faults, one a line.
    #[error("{}", lines(.0))]
    Faulty(Vec<Fault>),
}

/// Ports of the gateway's own listeners; 0: a free one.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub callbacks: u16,
    pub admin: u16,
}

/// What a run has besides.
#[derive(Clone, Copy, Debug)]
pub struct Besides<'a> {
    /// Keys for every carrier's file.
    pub carriers: &'a [(&'static str, String)],
    /// None: no broker.
    pub amqp: Option<&'a Amqp>,
}

/// Where a carrier's simulator listens.
pub type Endpoints<'a> = &'a dyn Fn(&str) -> Option<SocketAddr>;

/// Writes the configuration of a run into `folder` and reads it back.
pub fn write(
    folder: &Path,
    shipped: &Config,
    ports: Ports,
    besides: Besides<'_>,
    endpoints: Endpoints<'_>,
) -> Result<Config, SetupError> {
    let carriers = folder.join("carriers");
    let secret = folder.join("secret");
    make(&carriers)?;
    make(&folder.join("ledger"))?;
    put(&secret, SECRET.as_bytes())?;
    for carrier in shipped.carriers.values() {
        let name = format!("{}.toml", carrier.name);
        let mut table = read(&shipped.settings.paths.carriers.join(&name))?;
        if let Some(endpoint) = endpoints(&carrier.name) {
            lead(&mut table, carrier, endpoint, &secret);
        }
        for (key, value) in besides.carriers {
            table.insert((*key).to_owned(), value.as_str().into());
        }
        put(&carriers.join(name), table.to_string().as_bytes())?;
    }
    let file = folder.join(FILE);
    let mut table = settings(shipped, &carriers, ports)?;
    if let Some(amqp) = besides.amqp {
        let address = folder.join("broker");
        hide(&address, amqp)?;
        set(&mut table, "jobs", "amqp", through(amqp, &address).into());
    }
    put(&file, table.to_string().as_bytes())?;
    Config::load(&file).map_err(SetupError::Faulty)
}

/// Leads a carrier to its simulator.
fn lead(table: &mut Table, carrier: &CarrierConfig, endpoint: SocketAddr, secret: &Path) {
    table.remove("tls");
    let named = named(secret);
    match &carrier.transport {
        Transport::Smpp(_) => {
            table.insert("endpoints".into(), texts(&[&endpoint.to_string()]));
            table.insert("system_id".into(), USER.into());
            table.insert("password".into(), named);
        }
        Transport::Http(_) => speak_http(table, endpoint, named),
        Transport::Sip(_) => {
            table.insert("endpoints".into(), texts(&[&format!("udp:{endpoint}")]));
            table.insert("bind".into(), "127.0.0.1:0".into());
            table.remove("advertised");
            if let Some(Value::Table(rtp)) = table.get_mut("rtp") {
                rtp.insert("address".into(), "127.0.0.1".into());
            }
            table.insert("username".into(), USER.into());
            table.insert("password".into(), named);
            table.insert("ring".into(), RING.into());
        }
    }
}

/// The simulated HTTP carrier knows one form of requests and callbacks, whatever the file said.
fn speak_http(table: &mut Table, endpoint: SocketAddr, secret: Value) {
    let mut form = toml! {
        [request]
        method = "POST"
        headers = { "Content-Type" = "application/json" }
        body = "{\"to\":{to},\"from\":{sender},\"text\":{text},\"ref\":{ref}}"
        [response]
        accepted = [200, 201, 202]
        reference = "/id"
        code = "/error/code"
        [callback]
        reference = "/id"
        state = "/status"
        delivered = ["delivered"]
        undelivered = ["failed"]
        code = "/code"
        from = "/from"
        to = "/to"
        text = "/text"
    };
    if let Some(Value::Table(request)) = form.get_mut("request") {
        let url = format!("http://{endpoint}/v1/messages");
        request.insert("url".into(), url.into());
        let bearer = Table::from_iter([("bearer".to_owned(), secret.clone())]);
        request.insert("auth".into(), bearer.into());
    }
    if let Some(Value::Table(callback)) = form.get_mut("callback") {
        callback.insert("keys".into(), Value::Array(vec![secret]));
    }
    table.extend(form);
}

/// The gateway's own file: as shipped, without a broker, on free ports, with a ledger of its own.
fn settings(shipped: &Config, carriers: &Path, ports: Ports) -> Result<Table, SetupError> {
    let mut table = read(&shipped.file)?;
    let paths = &shipped.settings.paths;
    let full = |path: &Path| -> Result<Value, SetupError> {
        let full = std::path::absolute(path).map_err(|source| SetupError::File {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(full.display().to_string().into())
    };
    let places = [
        ("routes", full(&paths.routes)?),
        ("carriers", full(carriers)?),
        ("prompts", full(&paths.prompts)?),
    ];
    for (key, place) in places {
        set(&mut table, "paths", key, place);
    }
    set(&mut table, "node", "name", "simulate".into());
    set(&mut table, "ledger", "url", LEDGER.into());
    if let Some(Value::Table(jobs)) = table.get_mut("jobs") {
        jobs.remove("amqp");
    }
    if let Some(Value::Table(ledger)) = table.get_mut("ledger") {
        ledger.remove("keys");
    }
    let listeners = [
        ("http", ports.http),
        ("callbacks", ports.callbacks),
        ("admin", ports.admin),
    ];
    for (section, port) in listeners {
        set(
            &mut table,
            section,
            "listen",
            format!("127.0.0.1:{port}").into(),
        );
        if let Some(Value::Table(listener)) = table.get_mut(section) {
            listener.remove("token");
        }
    }
    Ok(table)
}

/// Jobs and reports through a broker, under the names of this run; all that is told is published.
fn through(amqp: &Amqp, address: &Path) -> Table {
    let mut table = Table::from_iter([
        ("url".to_owned(), named(address)),
        ("events".to_owned(), "all".into()),
        ("prefetch".to_owned(), i64::from(amqp.prefetch).into()),
    ]);
    let names = [
        ("exchange", &amqp.exchange),
        ("queue", &amqp.queue),
        ("control", &amqp.control),
        ("dead", &amqp.dead),
        ("reports", &amqp.reports),
    ];
    for (key, name) in names {
        table.insert(key.to_owned(), (&**name).into());
    }
    table
}

/// The broker's address may hold a password: a file for its owner alone.
fn hide(path: &Path, amqp: &Amqp) -> Result<(), SetupError> {
    let form = |reason| SetupError::Form {
        path: path.to_path_buf(),
        reason,
    };
    let address = amqp.url.read().map_err(|fault| form(fault.to_string()))?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    let written = file
        .open(path)
        .and_then(|mut file| file.write_all(address.as_bytes()));
    written.map_err(|source| SetupError::File {
        path: path.to_path_buf(),
        source,
    })
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    let section = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

fn named(secret: &Path) -> Value {
    Table::from_iter([("file".to_owned(), secret.display().to_string().into())]).into()
}

fn texts(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| (*text).into()).collect())
}

fn read(path: &Path) -> Result<Table, SetupError> {
    let text = crate::regular::read_text(path).map_err(|source| SetupError::File {
        path: path.to_path_buf(),
        source,
    })?;
    text.parse().map_err(|e: toml::de::Error| SetupError::Form {
        path: path.to_path_buf(),
        reason: e.message().to_owned(),
    })
}

fn make(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(|source| SetupError::File {
        path: path.to_path_buf(),
        source,
    })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    fs::write(path, bytes).map_err(|source| SetupError::File {
        path: path.to_path_buf(),
        source,
    })
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
