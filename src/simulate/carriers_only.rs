//! `ringback simulate --carriers-only`: the simulated carriers that `ringback run` needs, where its configuration looks
//! for them, and nothing else. One command instead of one a carrier.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Signals,
    address::{is_here, place},
    far_end::{FarEnd, Places, SimOptions},
    folder::Folder,
    screen::Screen,
    setup::{SECRET, SetupError},
    shipped::Shipped,
    world::WorldError,
};
use crate::config::{Config, carrier::Secret};

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
