//! Something breaks on purpose: load at a modest rate, one carrier broken for a while, and what the gateway makes
//! of it.
//!
//! It went well if the carrier was taken out of use, its traffic went by others meanwhile, it came back by itself,
//! and no challenge was lost for it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use simulators::script::{Faults, Often, Refusal};

use super::{
    load::{self, Count, Load, Mix},
    people::Place,
    sample::carriers_of,
    screen::Screen,
    world::World,
};
use crate::challenge::Channel;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A carrier of texts refuses connections.
    CarrierOutage,
    /// It says "slow down" to everything.
    Throttling,
    /// It takes everything and answers nothing.
    Silent,
    /// It takes everything, and no receipt ever comes.
    ReceiptsCollapse,
    /// A trunk answers every call with 503.
    BadTrunk,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::CarrierOutage => "carrier-outage",
            Scenario::Throttling => "throttling",
            Scenario::Silent => "silent",
            Scenario::ReceiptsCollapse => "receipts-collapse",
            Scenario::BadTrunk => "bad-trunk",
        }
    }

    fn channel(self) -> Channel {
        match self {
            Scenario::BadTrunk => Channel::Voice,
            _ => Channel::Sms,
        }
    }

    fn breaks(self, faults: &mut Faults) {
        match self {
            Scenario::CarrierOutage => faults.down = true,
            Scenario::Throttling => faults.throttle = Often::ALWAYS,
            Scenario::Silent => faults.silent = true,
            Scenario::ReceiptsCollapse => faults.no_receipts = Often::ALWAYS,
            Scenario::BadTrunk => {
                faults.error = Refusal {
                    often: Often::ALWAYS,
                    code: 503,
                };
            }
        }
    }

    /// Texts a second are many and cheap, calls few and dear.
    fn mix(self) -> Mix {
        let (rate, texts) = match self.channel() {
            Channel::Sms => (40.0, 100),
            Channel::Voice => (2.0, 0),
        };
        Mix {
            rate,
            texts,
            // Where receipts fail, a challenge is over only with its life.
            lifetime: match self {
                Scenario::ReceiptsCollapse => Duration::from_secs(20),
                _ => load::LIFETIME,
            },
            places: &[Place::Us],
        }
    }

    /// Keys for every carrier's file: how soon a missing receipt counts as missing.
    pub fn carriers(self) -> Vec<(&'static str, String)> {
        match self {
            Scenario::ReceiptsCollapse => vec![("receipt_wait", "3s".to_owned())],
            _ => Vec::new(),
        }
    }
}

/// When it breaks, and for how long.
const BREAKS: Duration = Duration::from_secs(5);
const BROKEN: Duration = Duration::from_secs(15);
/// After it is whole again: how long the gateway may take to find out. The longest back-off, and a probe.
const FINDS_OUT: Duration = Duration::from_secs(75);
/// Once it is healthy again: how long the load goes on, so that its traffic is seen to come back.
const AFTERWARDS: Duration = Duration::from_secs(4);
/// So soon the traffic must go by others.
const MOVES_WITHIN: Duration = Duration::from_secs(10);

/// Where the scenario stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Before,
    Broken(Instant),
    /// Whole again, and not yet trusted.
    Whole(Instant),
    /// Healthy again.
    Back(Instant),
}

/// Plays it; true if it went well.
pub async fn run(world: &World, scenario: Scenario, seed: u64, screen: &Screen) -> bool {
    let carriers = carriers_of(&world.config, Place::Us.country(), scenario.channel());
    let victim = carriers
        .iter()
        .find(|name| scenario.channel() == Channel::Voice || is_smpp(world, name));
    let Some((victim, script)) = victim.and_then(|name| Some((name, world.far.faults(name)?)))
    else {
        screen.verdict(
            false,
            "the route of the US has no carrier that this scenario could break",
        );
        return false;
    };
    screen.head(&format!(
        "{}: {victim} breaks after {} s, for {} s",
        scenario.name(),
        BREAKS.as_secs(),
        BROKEN.as_secs()
    ));
    let mut play = Play {
        victim,
        screen,
        load: Load::new(world, scenario.mix(), seed),
        states: BTreeMap::new(),
        last: Count::default(),
        suspended: false,
        moved: None,
    };
    let mut phase = Phase::Before;
    let mut step = tokio::time::interval(load::STEP);
    let (mut looked, mut told) = (Instant::now(), 0);
    loop {
        step.tick().await;
        play.load.send().await;
        if looked.elapsed() < load::LOOK {
            continue;
        }
        looked = Instant::now();
        play.load.look();
        let healthy = play.look(world, phase).await;
        let second = play.load.begun.elapsed().as_secs();
        if second > told {
            told = second;
            play.second();
        }
        phase = match phase {
            Phase::Before if play.load.begun.elapsed() >= BREAKS => {
                script.change(|faults| scenario.breaks(faults));
                screen.note(&screen.paint("31", &format!("{victim} breaks")));
                Phase::Broken(Instant::now())
            }
            Phase::Broken(since) if since.elapsed() >= BROKEN => {
                script.set(Faults::default());
                screen.note(&screen.paint("32", &format!("{victim} is whole again")));
                Phase::Whole(Instant::now())
            }
            Phase::Whole(_) if healthy => Phase::Back(Instant::now()),
            Phase::Whole(since) if since.elapsed() >= FINDS_OUT => break,
            Phase::Back(since) if since.elapsed() >= AFTERWARDS => break,
            other => other,
        };
    }
    play.load.settle(load::SETTLE, screen).await;
    play.verdict(scenario, matches!(phase, Phase::Back(_)))
}

fn is_smpp(world: &World, carrier: &str) -> bool {
    let carrier = world.config.carriers.get(carrier);
    carrier.is_some_and(|carrier| carrier.transport.name() == "smpp")
}

struct Play<'a> {
    victim: &'a Arc<str>,
    screen: &'a Screen,
    load: Load<'a>,
    states: BTreeMap<Arc<str>, String>,
    last: Count,
    suspended: bool,
    /// From the break to when another carrier had what the broken one would have had.
    moved: Option<Duration>,
}

impl Play<'_> {
    /// Shows what has changed with the carriers. Is the victim healthy?
    async fn look(&mut self, world: &World, phase: Phase) -> bool {
        let mut healthy = false;
        for view in world.carriers().await {
            let state = match view.reason.is_empty() {
                true => view.state.to_owned(),
                false => format!("{} ({})", view.state, view.reason),
            };
            if view.name == *self.victim {
                healthy = view.is_usable();
                if let (Phase::Broken(since), false) = (phase, healthy) {
                    self.suspended = true;
                    self.moved.get_or_insert(since.elapsed());
                }
            }
            let before = self.states.insert(view.name.clone(), state.clone());
            if before.is_some_and(|before| before != state) {
                self.screen.note(&format!("{} is {state}", view.name));
            }
        }
        healthy
    }

    /// The traffic of the last second.
    fn second(&mut self) {
        let now = &self.load.count;
        let shares: Vec<String> = now
            .carriers
            .iter()
            .map(|(name, n)| (name, n - self.last.carriers.get(name).unwrap_or(&0)))
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        self.screen.note(&format!(
            "{} asked, {} over; at phones by {}; {} not over",
            now.asked - self.last.asked,
            now.ended - self.last.ended,
            if shares.is_empty() {
                "nobody".to_owned()
            } else {
                shares.join(", ")
            },
            self.load.open()
        ));
        self.last = now.clone();
    }

    fn verdict(&self, scenario: Scenario, back: bool) -> bool {
        let count = &self.load.count;
        let mut faults = count.faults();
        if !self.suspended {
            faults.push(format!("{} was never taken out of use", self.victim));
        }
        if self.moved.is_some_and(|moved| moved > MOVES_WITHIN) {
            faults.push(format!("it took more than {} s", MOVES_WITHIN.as_secs()));
        }
        if !back {
            faults.push(format!("{} did not come back", self.victim));
        }
        // A text whose receipt never comes can't be known to have arrived.
        let unknown = match scenario {
            Scenario::ReceiptsCollapse => count
                .finals
                .iter()
                .filter(|(end, _)| end.starts_with("unconfirmed"))
                .map(|(_, n)| n)
                .sum(),
            _ => 0,
        };
        let missed = count.ended - count.good() - unknown;
        if missed > 0 {
            faults.push(format!("{missed} did not arrive: {:?}", count.finals));
        }
        self.screen.head("Verdict");
        if let Some(moved) = self.moved {
            self.screen.say(&format!(
                "  out of use {:.1} s after it broke; {} challenges went more than one way",
                moved.as_secs_f64(),
                count.failed_over
            ));
        }
        for (end, n) in &count.finals {
            self.screen.say(&format!("  {n:>8}  {end}"));
        }
        for fault in &faults {
            self.screen.verdict(false, &format!("  wrong: {fault}"));
        }
        if faults.is_empty() {
            self.screen
                .verdict(true, &format!("  {}", went_well(self.victim, unknown)));
        }
        let mut value = count.json();
        value["kind"] = json!("scenario");
        value["scenario"] = json!(scenario.name());
        value["carrier"] = json!(&**self.victim);
        value["out_of_use_after_s"] = json!(self.moved.map(|moved| moved.as_secs_f64()));
        value["good"] = json!(faults.is_empty());
        value["wrong"] = json!(faults);
        self.screen.object(&value);
        faults.is_empty()
    }
}

/// The good end in words. Texts without a receipt were sent; whether they arrived, nobody can say.
fn went_well(victim: &str, unknown: u64) -> String {
    match unknown {
        0 => format!("{victim} went, {victim} came back, and nobody noticed"),
        texts => format!(
            "{victim} went and came back; {texts} texts were sent without a receipt (unconfirmed), no challenge was lost"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_noticed_is_said_only_where_nobody_did() {
        assert!(went_well("litware", 0).contains("nobody noticed"));
        let beside = went_well("litware", 118);
        assert!(beside.contains("118 texts") && !beside.contains("nobody"));
    }
}
