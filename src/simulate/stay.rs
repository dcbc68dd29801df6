//! After the sample: it stays up and shows every challenge that somebody sends, until it is told to end.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use simulators::record::{CallResult, Entry, Line, Record, code_in};

use super::{
    follow::{Follow, Story, Try},
    load::moment,
    screen::{self, Screen},
    verdict::ending,
    world::World,
};
use crate::{
    challenge::{Challenge, Channel, Method},
    ledger::Ledger,
    number::mask,
    operate::Reloaded,
};

/// How long the phone's account of a call may take after the final report: a code is read twice, with a goodbye after it,
/// and then understood by ear.
const ACCOUNT: Duration = Duration::from_secs(120);

/// Says what can be done now.
pub fn introduce(world: &World, screen: &Screen) {
    let gateway = &world.gateway;
    screen.object(&serde_json::json!({
        "kind": "ready",
        "page": format!("http://{}/", gateway.admin),
        "jobs": format!("http://{}/v1/challenges", gateway.http),
        "phones": format!("http://{}/record", world.far.control()),
    }));
    screen.head("It stays up: Ctrl-C ends it");
    screen.say(&format!("  page       http://{}/", gateway.admin));
    screen.say(&format!("  metrics    http://{}/metrics", gateway.admin));
    screen.say(&format!(
        "  jobs       http://{}/v1/challenges",
        gateway.http
    ));
    if let Some(door) = &world.door {
        screen.say(&format!(
            "             and, not shown here, by the broker: --amqp URL --exchange {}",
            door.amqp().exchange
        ));
    }
    screen.say(&format!(
        "  phones     http://{}/record",
        world.far.control()
    ));
    screen.say("\nTry, in another terminal:");
    screen.say(&format!(
        "  ringback send +12025550123 --method sms_code --http http://{}",
        gateway.http
    ));
    screen.say(&format!(
        "  curl -d '{{\"id\":\"mine-1\",\"to\":\"+46701234567\",\"method\":\"voice_code\",\"locale\":\"sv-SE\"}}' http://{}/v1/challenges",
        gateway.http
    ));
    screen.say(
        "Numbers that end in 9020 are busy, 9022 decline, 9001 have their phone off, and so on.",
    );
    if world.shipped.here {
        screen.say("Edit a file of routes/ and send again: the change is in force at once.");
    }
    screen.say("");
}

/// Shows what comes, for ever.
pub async fn watch(world: &mut World, screen: &Screen) {
    let (follow, ledger, record) = (
        world.follow.clone(),
        world.gateway.control.ledger.clone(),
        world.far.record.clone(),
    );
    let mut changes = follow.changes();
    let mut recorded = record.watch();
    let mut asked = FuturesUnordered::new();
    let mut pending: Vec<Ended> = Vec::new();
    // Calls that are written down already: some end before their final report is read.
    let mut calls = KnownCalls::default();
    loop {
        for (_, story) in follow.take_ended() {
            asked.push(ask(&ledger, story));
        }
        calls.read(&record);
        show_complete(&mut pending, &calls, &record, screen);
        let soonest = pending.iter().map(|ended| ended.until).min();
        let soonest = soonest.unwrap_or_else(|| Instant::now() + ACCOUNT);
        tokio::select! {
            Some(ended) = asked.next(), if !asked.is_empty() => pending.push(ended),
            changed = changes.changed() => if changed.is_err() { return },
            changed = recorded.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(soonest.into()) => {}
            Some(_) = world.edited() => {
                let reloaded = world.reload().await;
                screen.note(&edited(&reloaded));
            }
        }
    }
}

/// Everything that was told so far belongs to the sample and is forgotten.
pub fn forget(follow: &Follow) {
    drop(follow.take_ended());
}

/// A challenge that has ended, until its phone's account is whole.
struct Ended {
    challenge: Option<Challenge>,
    story: Story,
    until: Instant,
}

/// Call-IDs of the calls that stand in the record, the last so many.
#[derive(Default)]
struct KnownCalls {
    seen: u64,
    ids: HashSet<String>,
    in_order: VecDeque<String>,
}

/// A trunk writes a call down a moment after its refusal.
const CLOCKS: Duration = Duration::from_secs(1);
/// Calls that are remembered: more than can end between two looks.
const CALLS: usize = 10_000;

impl KnownCalls {
    fn read(&mut self, record: &Record) {
        for line in record.since(self.seen) {
            self.seen = line.seq;
            if let Some(call) = line.entry.call() {
                self.in_order.push_back(call.call_id.clone());
                self.ids.insert(call.call_id.clone());
            }
        }
        while self.in_order.len() > CALLS {
            if let Some(oldest) = self.in_order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }
}

/// What the job was: the ledger knows.
async fn ask(ledger: &Ledger, story: Story) -> Ended {
    let first = story.reports.first();
    let tenant = first.map_or("default".into(), |told| told.tenant.clone());
    let id = first.map_or("".into(), |told| told.challenge.clone());
    let stored = ledger.find(&tenant, &id).await.ok().flatten();
    Ended {
        challenge: stored.and_then(|stored| serde_json::from_slice::<Challenge>(&stored.job).ok()),
        story,
        until: Instant::now() + ACCOUNT,
    }
}

/// Shows every challenge whose calls are written down, or that has waited long enough.
fn show_complete(pending: &mut Vec<Ended>, calls: &KnownCalls, record: &Record, screen: &Screen) {
    let now = Instant::now();
    let (complete, waiting): (Vec<Ended>, Vec<Ended>) = std::mem::take(pending)
        .into_iter()
        .partition(|ended| ended.until <= now || ended.calls().all(|id| calls.ids.contains(id)));
    *pending = waiting;
    for ended in complete {
        ended.show(record, screen);
    }
}

impl Ended {
    fn tries(&self) -> &[Try] {
        self.story.last().map_or(&[], |last| &last.attempts)
    }

    /// Call-IDs of the calls that reached a phone.
    fn calls(&self) -> impl Iterator<Item = &str> {
        let voice =
            |a: &&Try| Method::parse(&a.method).is_some_and(|m| m.channel() == Channel::Voice);
        self.tries()
            .iter()
            .filter(voice)
            .filter_map(|a| a.reference.as_deref())
    }

    fn show(&self, record: &Record, screen: &Screen) {
        let Some(last) = self.story.last() else {
            return;
        };
        let number = self.challenge.as_ref().and_then(|ch| ch.to);
        let lines: Vec<Line> = number.map_or(Vec::new(), |number| {
            let mut lines = record.to(number.e164());
            lines.retain(|line| self.own(line));
            lines
        });
        let to = number.map_or("not a number".to_owned(), |number| mask(number.e164()));
        let method = self.challenge.as_ref().map_or("", |ch| ch.method.name());
        screen.note(&format!(
            "{to}  {method}  {}",
            ending(&last.event, last.reason.as_deref())
        ));
        let indent = " ".repeat(9);
        screen.say(&format!("{indent}way    {}", screen::way(Some(last))));
        screen.say(&format!("{indent}phone  {}", screen::phone(&lines)));
        screen.object(&serde_json::json!({
            "kind": "challenge",
            "id": &*last.challenge,
            "to": to,
            "event": last.event,
            "reason": last.reason,
            "way": screen::way(Some(last)),
            "phone": lines,
            "reports": self.story.bodies,
        }));
    }

    /// Is this line of the same number about this challenge? The carrier's reference says so; a text that was refused or
    /// never answered has none for us, and is told by its carrier and its code.
    fn own(&self, line: &Line) -> bool {
        let by = |a: &&Try| a.carrier == *line.carrier;
        let referred = |reference: &str| {
            self.tries().iter().filter(by).any(|a| {
                a.references.iter().any(|r| r == reference)
                    || a.reference.as_deref() == Some(reference)
            })
        };
        match &line.entry {
            Entry::Text(text) if referred(&text.reference) => true,
            Entry::Text(text) => {
                let code = self.challenge.as_ref().and_then(|ch| ch.code.as_ref());
                let unanswered = |a: &Try| a.references.is_empty();
                self.tries().iter().filter(by).any(unanswered)
                    && code_in(&text.text) == code.map(|code| code.reveal())
            }
            Entry::Call(call) if referred(&call.call_id) => true,
            // A call that was refused at once has no reference: it is the one that came while this attempt was under way.
            Entry::Call(call) => {
                let during = |a: &Try| {
                    let (from, to) = (moment(&a.started), a.ended.as_deref().and_then(moment));
                    let from = from.is_some_and(|from| from <= line.at + CLOCKS);
                    from && to.is_none_or(|to| line.at <= to + CLOCKS)
                };
                call.result != CallResult::Answered
                    && self
                        .tries()
                        .iter()
                        .filter(by)
                        .any(|a| a.references.is_empty() && during(a))
            }
            Entry::ProtocolError(_) => false,
        }
    }
}

fn edited(reloaded: &Reloaded) -> String {
    match reloaded {
        Reloaded::New(_) => "routes read again: the change is in force".to_owned(),
        Reloaded::Unchanged { .. } => "routes read again: nothing has changed".to_owned(),
        Reloaded::Faulty(faults) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
            format!(
                "routes have faults; what was in force stays:{}",
                lines.concat()
            )
        }
        Reloaded::Refused(reason) => format!("routes not taken: {reason}"),
        Reloaded::Draining => "too late: it ends".to_owned(),
    }
}
