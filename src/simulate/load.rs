//! Load: many challenges at a steady rate, each followed from the job to the phone and to its final report.
//!
//! [`Load`] sends and counts, whoever calls its steps: `--rate` for its own sake, a scenario while it breaks
//! something. Texts are looked for at the far end's record, so the time to the wire is the simulator's word.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use simulators::{
    record::{CallResult, Entry, Line, TextResult, code_in},
    subscriber::digits_of,
};

use super::{
    people::{People, Place},
    screen::Screen,
    usage::Usage,
    world::World,
};
use crate::challenge::Method;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Challenges a second.
    pub rate: f64,
    /// Percent of them that are texts; the others are calls.
    pub texts: u8,
    /// How long each lives.
    pub lifetime: Duration,
    /// Where the people live, drawn evenly.
    pub places: &'static [Place],
}

/// The usual mix of countries: as often as it stands there.
pub const EVERYWHERE: &[Place] = &[
    Place::Us,
    Place::Us,
    Place::Us,
    Place::Us,
    Place::Canada,
    Place::Sweden,
    Place::Britain,
    Place::Germany,
    Place::France,
];

/// One challenge of the load.
struct JobRequest {
    code: Box<str>,
    method: Method,
    asked: SystemTime,
    /// How often it reached the phone.
    reached: u32,
    over: bool,
}

/// A load under way.
pub struct Load<'a> {
    world: &'a World,
    mix: Mix,
    people: People,
    pub begun: Instant,
    asks: HashMap<Arc<str>, JobRequest>,
    by_number: HashMap<Box<str>, Arc<str>>,
    /// The last line of the record that was looked at.
    seen: u64,
    pub count: Count,
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub struct Count {
    pub asked: u64,
    pub ended: u64,
    pub finals: BTreeMap<String, u64>,
    /// Texts that phones got, by carrier; calls likewise.
    pub carriers: BTreeMap<Arc<str>, u64>,
    /// The same code at the same phone again.
    pub repeated: u64,
    /// Of these: those whose final report tells of an attempt in doubt.
    pub doubted: u64,
    pub wrong_codes: u64,
    pub refused: u64,
    pub broken_rules: u64,
    /// Milliseconds from the job to the carrier (texts), and to the final report.
    pub to_wire: Vec<u32>,
    pub to_final: Vec<u32>,
    /// Went more than one way.
    pub failed_over: u64,
    pub not_taken: u64,
}

/// How long a challenge of a load lives.
pub const LIFETIME: Duration = Duration::from_secs(120);
/// At most so many wait to be counted: a bound on memory, not on the rate.
const MAX_ASKS: usize = 2_000_000;

impl<'a> Load<'a> {
    pub fn new(world: &'a World, mix: Mix, seed: u64) -> Load<'a> {
        Load {
            world,
            mix,
            people: People::new(seed),
            begun: Instant::now(),
            asks: HashMap::new(),
            by_number: HashMap::new(),
            seen: 0,
            count: Count::default(),
        }
    }

    /// Sends what is due by now.
    pub async fn send(&mut self) {
        let due = (self.begun.elapsed().as_secs_f64() * self.mix.rate) as u64;
        while self.count.asked < due && self.asks.len() < MAX_ASKS {
            self.send_one().await;
        }
    }

    async fn send_one(&mut self) {
        let place = self.mix.places[self.people.below(self.mix.places.len())];
        let text = self.people.below(100) < usize::from(self.mix.texts);
        let method = match (text, self.people.below(2)) {
            (true, _) => Method::SmsCode,
            (false, 0) => Method::VoiceConfirm,
            (false, _) => Method::VoiceCode,
        };
        let (to, code) = (self.people.anybody(place), self.people.code());
        let id: Arc<str> = format!("load-{}", self.count.asked).into();
        self.count.asked += 1;
        let job = json!({
            "id": &*id, "to": to, "method": method.name(), "code": code,
            "locale": place.locale(), "lifetime_s": self.mix.lifetime.as_secs(),
        });
        let ask = JobRequest {
            code: code.into(),
            method,
            asked: SystemTime::now(),
            reached: 0,
            over: false,
        };
        self.by_number.insert(digits_of(&to).into(), id.clone());
        self.asks.insert(id, ask);
        if self.world.ask(&job).await.is_err() {
            self.count.not_taken += 1;
        }
    }

    /// Looks at what phones got and what was reported since the last look.
    pub fn look(&mut self) {
        for line in self.world.far.record.since(self.seen) {
            self.seen = line.seq;
            self.line(&line);
        }
        for (id, story) in self.world.follow.take_ended() {
            let Some((ask, last)) = self.asks.get_mut(&id).zip(story.last()) else {
                continue;
            };
            ask.over = true;
            self.count.ended += 1;
            self.count.failed_over += u64::from(last.attempts.len() > 1);
            if ask.reached > 1 && last.attempts.iter().any(|a| a.in_doubt) {
                self.count.doubted += u64::from(ask.reached - 1);
            }
            let end = super::verdict::ending(&last.event, last.reason.as_deref());
            *self.count.finals.entry(end).or_default() += 1;
            if let Some(at) = moment(&last.at) {
                self.count.to_final.push(millis(ask.asked, at));
            }
        }
    }

    fn line(&mut self, line: &Line) {
        let count = &mut self.count;
        let id = self.by_number.get(digits_of(line.entry.to()).as_str());
        let ask = id.and_then(|id| self.asks.get_mut(id));
        match (&line.entry, ask) {
            (Entry::ProtocolError(_), _) => count.broken_rules += 1,
            (Entry::Text(text), Some(ask)) => {
                if text.result == TextResult::Refused {
                    count.refused += 1;
                    return;
                }
                *count.carriers.entry(line.carrier.clone()).or_default() += 1;
                count.wrong_codes += u64::from(code_in(&text.text) != Some(&ask.code));
                count.repeated += u64::from(ask.reached > 0);
                if ask.reached == 0 {
                    count.to_wire.push(millis(ask.asked, line.at));
                }
                ask.reached += 1;
            }
            (Entry::Call(call), Some(ask)) => {
                if call.result != CallResult::Answered {
                    count.refused += 1;
                    return;
                }
                *count.carriers.entry(line.carrier.clone()).or_default() += 1;
                let heard = &call.digits_heard;
                let wrong = ask.method == Method::VoiceCode
                    && !heard.is_empty()
                    && !heard.replace(&*ask.code, "").is_empty();
                count.wrong_codes += u64::from(wrong);
                count.repeated += u64::from(ask.reached > 0);
                ask.reached += 1;
            }
            // Somebody else's, by HTTP.
            (Entry::Text(_) | Entry::Call(_), None) => {}
        }
    }

    /// Asked and not over.
    pub fn open(&self) -> u64 {
        self.count.asked - self.count.ended
    }

    /// Waits until all is over, and for the phones' account of it; looks meanwhile.
    pub async fn settle(&mut self, limit: Duration, screen: &Screen) {
        let begun = Instant::now();
        let (mut told, live) = (0, || self.world.far.unwritten_calls());
        while begun.elapsed() < limit && (self.open() > 0 || live() > 0) {
            tokio::time::sleep(LOOK).await;
            self.look();
            let second = begun.elapsed().as_secs();
            if second > told {
                told = second;
                screen.note(&format!(
                    "all asked; {} not over, {} calls not over at the phones",
                    self.open(),
                    live()
                ));
            }
        }
        self.look();
    }
}

/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(100);
/// Between two sendings.
pub const STEP: Duration = Duration::from_millis(10);
/// After the last challenge: how long the others may take. A call may last its minute and a half.
pub const SETTLE: Duration = Duration::from_secs(100);

impl Count {
    /// None lost, none twice without doubt, every code the right one, no rule broken.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut wrong = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        wrong(self.asked - self.ended, "without a final report");
        wrong(
            self.repeated.saturating_sub(self.doubted),
            "at the phone again without doubt",
        );
        wrong(self.wrong_codes, "with a wrong code");
        wrong(self.broken_rules, "broken rules of a protocol");
        wrong(self.not_taken, "not taken by the gateway");
        faults
    }

    /// Finals that are good.
    pub fn good(&self) -> u64 {
        let good = ["delivered", "confirmed"];
        good.iter()
            .filter_map(|event| self.finals.get(*event))
            .sum()
    }

    pub fn json(&self) -> Value {
        json!({
            "asked": self.asked, "ended": self.ended, "finals": self.finals, "by_carrier": self.carriers,
            "lost": self.asked - self.ended, "repeated": self.repeated, "in_doubt": self.doubted,
            "wrong_codes": self.wrong_codes, "refused": self.refused, "failed_over": self.failed_over,
            "broken_rules": self.broken_rules,
            "to_wire_ms": { "p50": percentile(&self.to_wire, 50), "p99": percentile(&self.to_wire, 99) },
            "to_final_ms": { "p50": percentile(&self.to_final, 50), "p99": percentile(&self.to_final, 99) },
        })
    }
}

/// Load for its own sake: a line each second, the totals at the end; true if nothing was lost.
pub async fn run(world: &World, mix: Mix, seed: u64, duration: Duration, screen: &Screen) -> bool {
    screen.head(&format!(
        "{} challenges a second for {} s: {} % texts",
        mix.rate,
        duration.as_secs(),
        mix.texts
    ));
    let before = Usage::read();
    let mut load = Load::new(world, mix, seed);
    let mut step = tokio::time::interval(STEP);
    let (mut looked, mut told) = (Instant::now(), 0);
    let mut last = load.count.clone();
    while load.begun.elapsed() < duration {
        step.tick().await;
        load.send().await;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            load.look();
        }
        let second = load.begun.elapsed().as_secs();
        if second > told {
            told = second;
            let now = &load.count;
            screen.note(&format!(
                "{} asked, {} over this second; {} not over, {} calls up",
                now.asked - last.asked,
                now.ended - last.ended,
                load.open(),
                world.far.live_calls()
            ));
            last = load.count.clone();
        }
    }
    let sending = load.begun.elapsed();
    load.settle(SETTLE, screen).await;
    totals(&load.count, sending, before, screen)
}

/// Throughput, latencies, losses, and what it took.
fn totals(count: &Count, sending: Duration, before: Option<Usage>, screen: &Screen) -> bool {
    let faults = count.faults();
    screen.head("Totals");
    screen.say(&format!(
        "  {} challenges in {:.1} s: {:.0} a second; {} ended",
        count.asked,
        sending.as_secs_f64(),
        count.asked as f64 / sending.as_secs_f64(),
        count.ended
    ));
    for (end, n) in &count.finals {
        screen.say(&format!("  {n:>8}  {end}"));
    }
    for (what, times) in [
        ("job to carrier", &count.to_wire),
        ("job to final report", &count.to_final),
    ] {
        let of = |percent| percentile(times, percent);
        screen.say(&match (of(50), of(99)) {
            (Some(half), Some(nearly)) => format!("  {what:<20} p50 {half} ms, p99 {nearly} ms"),
            _ => format!("  {what:<20} not measured: there was none"),
        });
    }
    let used = Usage::read().zip(before);
    if let Some((now, before)) = used {
        let cpu = now.cpu.saturating_sub(before.cpu).as_secs_f64();
        screen.say(&format!(
            "  CPU {cpu:.1} s ({:.2} cores, far end and phones included), memory at most {} MB",
            cpu / sending.as_secs_f64(),
            now.memory / 1_000_000
        ));
    }
    for fault in &faults {
        screen.verdict(false, &format!("  wrong: {fault}"));
    }
    if faults.is_empty() {
        screen.verdict(
            true,
            "  none lost, none twice without doubt, every code the right one",
        );
    }
    let mut value = count.json();
    value["kind"] = json!("load");
    value["seconds"] = json!(sending.as_secs_f64());
    value["good"] = json!(faults.is_empty());
    value["wrong"] = json!(faults);
    if let Some((now, before)) = used {
        value["cpu_seconds"] = json!(now.cpu.saturating_sub(before.cpu).as_secs_f64());
        value["memory_bytes"] = json!(now.memory);
    }
    screen.object(&value);
    faults.is_empty()
}

/// So many percent are not above it; None where nothing was measured.
pub fn percentile(times: &[u32], percent: usize) -> Option<u32> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied()
}

fn millis(from: SystemTime, to: SystemTime) -> u32 {
    let span = to.duration_since(from).unwrap_or_default();
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// A time as reports write it.
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    let at =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    let nanos = u64::try_from(at.unix_timestamp_nanos()).ok()?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_there_is() {
        let times: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&times, 50), Some(50));
        assert_eq!(percentile(&times, 99), Some(99));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 50), None, "nothing was measured");
    }

    #[test]
    fn losses_and_repeats_are_faults() {
        let good = Count {
            asked: 3,
            ended: 3,
            repeated: 1,
            doubted: 1,
            ..Count::default()
        };
        assert!(good.faults().is_empty());
        let bad = Count {
            ended: 2,
            doubted: 0,
            wrong_codes: 1,
            ..good
        };
        assert_eq!(bad.faults().len(), 3);
    }
}
