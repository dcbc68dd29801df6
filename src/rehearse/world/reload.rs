//! Reloads: the files say something else, and the gateway goes on with it. As `gateway::drivers` does it, who is taken out of
//! all routes has its driver told to finish once nothing waits for it, and who is put back gets a driver of its own, or, a trunk
//! whose address is still held, the one that is leaving.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::World;
use crate::{
    carrier::DriverId,
    challenge::Channel,
    config::{
        CarrierConfig, Config,
        carrier::{Pace, Transport},
    },
    core::{CarrierUpdate, Core, Input, UpdateLink},
    rehearse::{
        callers::Told,
        carriers::CarrierKind,
        event::{Event, Trouble},
    },
    routing::{EntryTerms, RouteEntry, Table},
};

/// What the files say, where it is not what they said at first.
#[derive(Default)]
pub(super) struct Files {
    /// Carriers that no route names.
    out: BTreeSet<usize>,
    /// Terms of lines, by their names.
    terms: BTreeMap<Arc<str>, EntryTerms>,
}

/// A carrier is out of use for so long, in milliseconds.
const OUT: (u64, u64) = (500, 90_000);
/// A text that was given to its carrier so lately still waits for its answer or its receipt.
const LATELY: Duration = Duration::from_secs(4);

impl World<'_, '_> {
    pub(super) fn reload(&mut self, core: &mut Core) {
        let place = self.dice.below(self.carriers.len() as u64) as usize;
        match self.dice.below(4) {
            0 if self.is_replaceable(place) => self.take_out(place, core),
            1 if !self.files.out.contains(&place) => self.change_file(place, core),
            2 => self.change_routes(core),
            _ => self.write_again(core),
        }
    }

    /// The same carriers by files that have been written again: their links stay.
    fn write_again(&mut self, core: &mut Core) {
        self.trace.fault("reload");
        let used = (0..).zip(&self.carriers);
        let used = used.filter(|(place, _)| !self.files.out.contains(place));
        let updates = used.map(|(_, carrier)| carrier.update(UpdateLink::Stays));
        let updates = updates.collect();
        self.in_force(updates, core);
    }

    /// Another carries the same.
    fn is_replaceable(&self, place: usize) -> bool {
        let is_voice = |place: usize| matches!(self.carriers[place].kind, CarrierKind::Calls(_));
        let others = (0..self.carriers.len()).filter(|other| {
            *other != place
                && is_voice(*other) == is_voice(place)
                && !self.files.out.contains(other)
        });
        !self.files.out.contains(&place) && others.count() > 0
    }

    fn take_out(&mut self, place: usize, core: &mut Core) {
        self.trace.fault("reload without a carrier");
        let (name, at) = (self.carriers[place].config.name.clone(), self.now);
        self.trace
            .event(at.since_start(), format_args!("{name} is taken out"));
        self.files.out.insert(place);
        self.in_force(Vec::new(), core);
        let back = self.dice.between(OUT.0, OUT.1);
        self.later(back, Event::Fault(Trouble::PutBack(place)));
    }

    /// Unless the process, or a life after it, has done so when it began.
    pub(super) fn put_back(&mut self, place: usize, core: &mut Core) {
        if self.stop.is_some() || !self.files.out.remove(&place) {
            return;
        }
        self.trace.fault("reload with a carrier again");
        let mut link = UpdateLink::Fresh;
        let next = DriverId(self.last_driver + 1);
        self.with_carrier(place, |carrier, stage| {
            if !carrier.is_taken_up_again(stage) {
                link = UpdateLink::New;
                carrier.begin(next, stage);
            }
        });
        match link {
            UpdateLink::New => self.last_driver += 1,
            UpdateLink::Fresh | UpdateLink::Stays => {
                self.trace
                    .reached("a trunk that was leaving is taken up again");
            }
        }
        let update = self.carriers[place].update(link);
        self.in_force(vec![update], core);
    }

    fn change_file(&mut self, place: usize, core: &mut Core) {
        self.trace.fault("reload with another pace or window");
        let config = self.other_file(place);
        let mut link = UpdateLink::Stays;
        self.with_carrier(place, |carrier, stage| link = carrier.change(config, stage));
        if link == UpdateLink::Fresh {
            self.trace
                .reached("a carrier's link is another by its file");
        }
        let update = self.carriers[place].update(link);
        self.in_force(vec![update], core);
    }

    fn other_file(&mut self, place: usize) -> CarrierConfig {
        let mut config = CarrierConfig::clone(&self.carriers[place].config);
        let has_pace = self.dice.chance(500);
        config.pace = has_pace.then(|| Pace {
            count: 2 + self.dice.below(40) as u32,
            per: Duration::from_secs(1),
        });
        match &mut config.transport {
            Transport::Smpp(smpp) => smpp.window = 1 + self.dice.below(5) as u32,
            Transport::Http(http) => {
                http.window = 1 + self.dice.below(12) as u32;
                if self.dice.chance(300) {
                    let account = format!("a{}", self.dice.below(3)).into();
                    http.request.headers.insert("X-Account".into(), account);
                }
            }
            Transport::Sip(sip) => sip.max_calls = 2 + self.dice.below(12) as u32,
        }
        config
    }

    fn change_routes(&mut self, core: &mut Core) {
        self.trace.fault("reload with other routes");
        for line in self.rehearsal.config.table.lines() {
            let terms = EntryTerms {
                weight: 1 + self.dice.below(100) as u32,
                tier: 1 + self.dice.below(2) as u8,
                ..line.terms.clone()
            };
            self.files.terms.insert(line.name.clone(), terms);
        }
        self.in_force(Vec::new(), core);
    }

    fn in_force(&mut self, updates: Vec<CarrierUpdate>, core: &mut Core) {
        let config = self.as_files_say();
        core.configure(config, updates);
        for carrier in &mut self.carriers {
            if let CarrierKind::Http(http) = &mut carrier.kind {
                http.set_changed();
            }
        }
    }

    /// A process reads its files when it begins. By then every carrier is in use again.
    pub(super) fn read_files(&mut self) -> Arc<Config> {
        self.files.out.clear();
        self.as_files_say()
    }

    fn as_files_say(&self) -> Arc<Config> {
        let mut config = Config::clone(&self.rehearsal.config);
        let carriers = self.carriers.iter().map(|carrier| &carrier.config);
        let carriers = carriers.map(|config| (config.name.clone(), config.clone()));
        let mut all = BTreeMap::clone(&config.carriers);
        all.extend(carriers);
        config.carriers = Arc::new(all);
        config.table = Arc::new(self.routes());
        Arc::new(config)
    }

    fn routes(&self) -> Table {
        let base = &self.rehearsal.config.table;
        let mut table = Table::new(base.carriers().to_vec(), base.senders().to_vec());
        let out = self.files.out.iter();
        let out: Vec<&str> = out
            .map(|place| &*self.carriers[*place].config.name)
            .collect();
        for (channel, route) in [
            (Channel::Sms, "default.sms"),
            (Channel::Voice, "default.voice"),
        ] {
            let lines = base.lines().iter().filter(|line| {
                line.name.starts_with(route) && !out.contains(&base.carrier_name(line.carrier))
            });
            let lines = lines.map(|line| RouteEntry {
                terms: self
                    .files
                    .terms
                    .get(&line.name)
                    .unwrap_or(&line.terms)
                    .clone(),
                ..line.clone()
            });
            table.put(None, channel, lines.collect());
        }
        table
    }

    /// Whoever had it has nothing more to say.
    pub(super) fn driver_ended(&mut self, driver: DriverId, core: &mut Core) {
        for carrier in &mut self.carriers {
            carrier.drivers.retain(|known| *known != driver);
        }
        core.handle(self.time(), Input::DriverEnded(driver));
    }

    /// The driver of a carrier of texts that is out of use is told to finish: by then nothing waits for it.
    pub(super) fn check_let_go(&mut self, place: usize) {
        if !self.files.out.contains(&place) || self.stop.is_some() {
            return;
        }
        let (now, wall, life) = (self.now, self.time().wall, self.life);
        let mut waiting = None;
        for job in &self.jobs {
            let goes_on = job.alone && !job.worded && job.final_at.is_none() && wall < job.deadline;
            let waits = job.attempts.iter().find(|(_, truth)| {
                !truth.voice
                    && (truth.place, truth.life) == (place, life)
                    && matches!(truth.told, Told::Nothing | Told::Taken)
                    && !truth.has_receipt
                    && now < truth.since + LATELY
            });
            if let (Some((attempt, _)), true) = (waits, goes_on) {
                let name = &self.carriers[place].config.name;
                waiting = Some(format!(
                    "{name} is told to finish, and attempt {attempt} of {} waits for it",
                    job.id
                ));
            }
        }
        if let Some(waiting) = waiting {
            self.violate(waiting);
        }
    }
}
