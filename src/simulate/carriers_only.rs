//! `ringback simulate --carriers-only`: the simulated carriers that `ringback run` needs, where its configuration looks
//! for them, and nothing else. One command instead of one a carrier.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::json;

use super::{
    Signals,
    far_end::{FarEnd, Places, SimOptions},
    folder::Folder,
    screen::Screen,
    setup::{SECRET, SetupError},
    shipped::Shipped,
    world::WorldError,
};
use crate::config::{CarrierConfig, Config, carrier::Secret};

/// Lines of the record that are kept.
const LINES: usize = 20_000;

/// Runs until it is told to end.
pub async fn run(seed: u64, screen: &Screen) -> Result<bool, WorldError> {
    let mut end = Signals::listen()?;
    let folder = Folder::make(None)?;
    let shipped = Shipped::find(folder.path())?;
    let config = Config::load(&shipped.root.join("ringback.toml")).map_err(SetupError::Faulty)?;
    let wish = SimOptions {
        seed,
        lines: LINES,
        ear: true,
        callbacks: config.settings.callbacks.listen.port(),
        places: Places::Configured,
    };
    let far = FarEnd::start(&config, wish).await?;
    introduce(&far, &config, &shipped, screen);
    end.end().await;
    far.stop().await;
    Ok(true)
}

fn introduce(far: &FarEnd, config: &Config, shipped: &Shipped, screen: &Screen) {
    screen.say("Simulated carriers and phones, where the configuration looks for them:");
    for (kind, name) in far.named() {
        if let Some(address) = far.address(name) {
            screen.say(&format!("  {name:<10} {kind} carrier on {address}"));
        }
    }
    for carrier in config.carriers.values().filter(|c| !is_here(c)) {
        let place = place(carrier).map_or(String::new(), |(host, port)| format!("{host}:{port}"));
        screen.say(&format!(
            "  {:<10} not simulated: {place} is not on this machine",
            carrier.name
        ));
    }
    screen.say(&format!(
        "  phones     http://{}/record, and /faults to break something",
        far.control()
    ));
    let unset = unset_variables(config);
    screen.say("\nNow, in another terminal:");
    if !shipped.here {
        screen.say(&format!("  cd {}", shipped.root.display()));
    }
    if !unset.is_empty() {
        let all: Vec<String> = unset
            .iter()
            .map(|name| format!("{name}={SECRET}"))
            .collect();
        screen.say(&format!("  export {}", all.join(" ")));
    }
    screen.say("  ringback run");
    screen.object(&json!({
        "kind": "ready",
        "phones": format!("http://{}/record", far.control()),
        "carriers": far.named().map(|(_, name)| name).collect::<Vec<_>>(),
        "unset": unset,
    }));
}

/// Variables that the carriers' files name and nobody has set: the simulators take [`SECRET`] for them.
fn unset_variables(config: &Config) -> BTreeSet<&str> {
    let unset = |secret: &&Secret| secret.read().is_err();
    config
        .carriers
        .values()
        .flat_map(|carrier| carrier.secrets())
        .filter(unset)
        .filter_map(|secret| match secret {
            Secret::Env(name) => Some(&**name),
            Secret::File(_) => None,
        })
        .collect()
}

/// Host and port where the gateway will look for this carrier.
pub fn place(carrier: &CarrierConfig) -> Option<(String, u16)> {
    use crate::config::carrier::Transport;
    match &carrier.transport {
        Transport::Http(http) => {
            let url: axum::http::Uri = http.request.url.parse().ok()?;
            let usual = if url.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            Some((url.host()?.to_owned(), url.port_u16().unwrap_or(usual)))
        }
        Transport::Smpp(_) | Transport::Sip(_) => {
            let first = carrier.endpoints.first()?;
            Some((first.host.to_string(), first.port))
        }
    }
}

/// Only what stands on this machine's loopback is simulated.
pub fn is_here(carrier: &CarrierConfig) -> bool {
    place(carrier).is_some_and(|(host, _)| {
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
    })
}

/// The secret that the gateway will show, or the one that all simulators know.
pub fn password(secret: Option<&Secret>) -> String {
    secret
        .and_then(|secret| secret.read().ok())
        .unwrap_or_else(|| SECRET.to_owned())
}
