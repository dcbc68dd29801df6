//! After the sample: it stays up and shows every challenge that somebody sends, until it is told to end.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use simulators::{record::Line, subscriber::digits_of};

use super::{
    follow::{Follow, Story},
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

/// How long the account of a call may take after its final report.
const ACCOUNT: Duration = Duration::from_secs(5);

/// Says what can be done now.
pub fn introduce(world: &World, screen: &Screen) {
    let gateway = &world.gateway;
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
    let mut telling = FuturesUnordered::new();
    let mut seen = record.lines().last().map_or(0, |line| line.seq);
    loop {
        for (id, story) in follow.take_ended() {
            telling.push(tell(&ledger, &record, id, story, seen));
        }
        tokio::select! {
            Some(shown) = telling.next(), if !telling.is_empty() => {
                let shown: Shown = shown;
                shown.show(screen);
                if telling.is_empty() {
                    seen = record.lines().last().map_or(seen, |line| line.seq);
                }
            }
            changed = changes.changed() => if changed.is_err() { return },
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

struct Shown {
    to: String,
    method: String,
    story: Story,
    lines: Vec<Line>,
}

/// Finds out what the phone saw.
async fn tell(
    ledger: &Ledger,
    record: &simulators::record::Record,
    id: Arc<str>,
    story: Story,
    seen: u64,
) -> Shown {
    let tenant = story
        .reports
        .first()
        .map_or("default".into(), |told| told.tenant.clone());
    let stored = ledger.find(&tenant, &id).await.ok().flatten();
    let challenge = stored.and_then(|stored| serde_json::from_slice::<Challenge>(&stored.job).ok());
    let number = challenge
        .as_ref()
        .and_then(|ch| ch.to)
        .map(|to| to.e164().to_owned());
    let called = story.last().is_some_and(|last| {
        let voice =
            |method: &str| Method::parse(method).is_some_and(|m| m.channel() == Channel::Voice);
        last.attempts.iter().any(|a| voice(&a.method))
    });
    let mut lines = Vec::new();
    if let Some(number) = &number {
        let digits = digits_of(number);
        let own = |line: &Line| line.seq > seen && digits_of(line.entry.to()) == digits;
        if called {
            let call = |line: &Line| own(line) && line.entry.call().is_some();
            // None: it never got there.
            let _ = record.wait_for(ACCOUNT, call).await;
        }
        lines = record.to(number);
        lines.retain(own);
    }
    Shown {
        to: number.map_or("not a number".to_owned(), |number| mask(&number)),
        method: challenge.map_or(String::new(), |ch| ch.method.name().to_owned()),
        story,
        lines,
    }
}

impl Shown {
    fn show(&self, screen: &Screen) {
        let Some(last) = self.story.last() else {
            return;
        };
        screen.note(&format!(
            "{}  {}  {}",
            self.to,
            self.method,
            ending(&last.event, last.reason.as_deref())
        ));
        let indent = " ".repeat(9);
        screen.say(&format!("{indent}way    {}", screen::way(Some(last))));
        screen.say(&format!("{indent}phone  {}", screen::phone(&self.lines)));
        screen.object(&serde_json::json!({
            "kind": "challenge",
            "id": &*last.challenge,
            "to": self.to,
            "event": last.event,
            "reason": last.reason,
            "way": screen::way(Some(last)),
            "phone": self.lines,
            "reports": self.story.bodies,
        }));
    }
}

fn edited(reloaded: &Reloaded) -> String {
    match reloaded {
        Reloaded::New(_) => "routes read again: the change is in force".to_owned(),
        Reloaded::Unchanged => "routes read again: nothing has changed".to_owned(),
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
