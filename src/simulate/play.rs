//! Plays the sample: sends it in its order, breaks carriers where a case wants it, and holds every challenge against
//! its expectation as soon as it is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use simulators::{
    record::{Entry, Line, code_in},
    script::{Often, Script},
    subscriber::{Behaviour, TextBehaviour, VoiceBehaviour, digits_of},
};

use super::{
    case::Case,
    sample::{Broken, Sample},
    screen::{Screen, ShownEnd},
    verdict,
    world::World,
};

/// The longest that a challenge of the sample is waited for.
const PATIENCE: Duration = Duration::from_secs(45);
/// After the final report: how long the phone's own account of it may take (a call is understood after its end).
const ACCOUNT: Duration = Duration::from_secs(12);

/// Plays all of it; the outcomes in the order in which they came.
pub async fn sample(world: &World, sample: &Sample, screen: &Screen) -> Vec<ShownEnd> {
    let play = Play {
        world,
        screen,
        numbers: sample.cases().fold(HashMap::new(), |mut numbers, case| {
            *numbers.entry(digits_of(&case.to)).or_default() += 1;
            numbers
        }),
        total: sample.len(),
    };
    let mut outcomes = Vec::with_capacity(play.total);
    play.refuse_at(&sample.refused);
    let mut waiting = FuturesUnordered::new();
    let crowd = sample
        .crowd
        .iter()
        .chain([&sample.refused.case, &sample.cancelled]);
    for case in crowd {
        play.send(case).await;
        waiting.push(play.outcome(case));
    }
    let mut cancel = std::pin::pin!(play.cancel(&sample.cancelled));
    let mut afterwards = std::pin::pin!(play.afterwards(sample));
    let (mut cancelled, mut broken) = (false, false);
    while !waiting.is_empty() || !broken {
        tokio::select! {
            Some(outcome) = waiting.next() => {
                screen.outcome(&outcome);
                outcomes.push(outcome);
            }
            () = &mut cancel, if !cancelled => cancelled = true,
            both = &mut afterwards, if !broken => {
                outcomes.extend(both);
                broken = true;
            }
        }
        screen.progress(&format!(
            "{} of {} challenges over, {} calls up",
            outcomes.len(),
            play.total,
            world.far.live_calls()
        ));
    }
    outcomes
}

struct Play<'a> {
    world: &'a World,
    screen: &'a Screen,
    /// How many cases share a number, by its digits.
    numbers: HashMap<String, usize>,
    total: usize,
}

impl Play<'_> {
    async fn send(&self, case: &Case) {
        if let Err(reason) = self.world.ask(&case.job()).await {
            self.screen
                .note(&format!("{}: not taken: {reason}", case.title));
        }
    }

    /// When the other texts are over: whoever breaks a link takes along what is under way on it.
    async fn afterwards(&self, sample: &Sample) -> [ShownEnd; 2] {
        let texts = sample.crowd.iter().filter(|case| case.method == "sms_code");
        for case in texts {
            self.world
                .follow
                .until(&case.id, PATIENCE, |story| {
                    story.has("sent") || story.ended()
                })
                .await;
        }
        [
            self.doubt(&sample.doubt).await,
            self.outage(&sample.outage).await,
        ]
    }

    /// One whose carrier is down while it is asked.
    async fn outage(&self, broken: &Broken) -> ShownEnd {
        let script = self.break_at(broken, |script| script.change(|faults| faults.down = true));
        self.send(&broken.case).await;
        let outcome = self.outcome(&broken.case).await;
        if let Some(script) = script {
            script.change(|faults| faults.down = false);
        }
        self.screen.outcome(&outcome);
        outcome
    }

    /// The first trunk does not take this one call.
    fn refuse_at(&self, broken: &Broken) {
        let to = broken.case.to.clone();
        let behaviour = Behaviour {
            voice: VoiceBehaviour::ServiceUnavailable,
            ..Behaviour::default()
        };
        self.break_at(broken, |script| {
            script.change(|faults| _ = faults.people.insert(to, behaviour));
        });
    }

    /// One whose carrier takes the text and drops the session instead of an answer.
    async fn doubt(&self, broken: &Broken) -> ShownEnd {
        let to = broken.case.to.clone();
        let behaviour = Behaviour {
            text: TextBehaviour::DroppedUnanswered,
            ..Behaviour::default()
        };
        let script = self.break_at(broken, |script| {
            script.change(|faults| {
                faults.people.insert(to, behaviour);
                // A receipt would say that it has arrived, and nothing would be asked of another carrier.
                faults.no_receipts = Often::ALWAYS;
            });
        });
        self.send(&broken.case).await;
        let outcome = self.outcome(&broken.case).await;
        if let Some(script) = script {
            script.change(|faults| faults.no_receipts = Often::default());
        }
        self.screen.outcome(&outcome);
        outcome
    }

    async fn cancel(&self, case: &Case) {
        let rings = |story: &super::follow::Story| story.has("ringing") || story.ended();
        self.world.follow.until(&case.id, PATIENCE, rings).await;
        if let Err(reason) = self.world.cancel(&case.id).await {
            self.screen.note(&format!("{}: {reason}", case.title));
        }
    }

    fn break_at(&self, broken: &Broken, how: impl FnOnce(&Script)) -> Option<Script> {
        let script = broken
            .carrier
            .as_ref()
            .and_then(|carrier| self.world.far.faults(carrier))?;
        how(script);
        Some(script.clone())
    }

    /// Waits for the final report, then for the phone's account of it.
    async fn outcome(&self, case: &Case) -> ShownEnd {
        let follow = &self.world.follow;
        follow
            .until(&case.id, PATIENCE, |story| story.ended())
            .await;
        let mut changed = self.world.far.record.watch();
        let deadline = tokio::time::Instant::now() + ACCOUNT;
        loop {
            changed.mark_unchanged();
            let story = follow.story(&case.id);
            let lines = self.lines(case);
            let faults = verdict::faults(case, &story, &lines, &self.world.config.table);
            let account = tokio::time::timeout_at(deadline, changed.changed());
            // What is wrong now may be right when the phone has told all of it.
            if faults.is_empty() || !matches!(account.await, Ok(Ok(()))) {
                return ShownEnd {
                    case: case.clone(),
                    story,
                    lines,
                    faults,
                };
            }
        }
    }

    /// What happened at the phone of this case; where several share it, what carries this case's code.
    fn lines(&self, case: &Case) -> Vec<Line> {
        let mut lines = self.world.far.record.to(&case.to);
        let shared = self
            .numbers
            .get(&digits_of(&case.to))
            .is_some_and(|n| *n > 1);
        if shared {
            lines.retain(|line| {
                let text = line.entry.text().and_then(|text| code_in(&text.text));
                text.is_none() || text == case.code.as_deref()
            });
        }
        lines
    }
}

/// What the far end saw that belongs to nobody: broken rules, and texts with codes that were never sent.
pub fn strays(world: &World, outcomes: &[ShownEnd]) -> Vec<String> {
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    let known = |line: &Line| {
        let text = line.entry.text();
        text.is_none_or(|text| {
            outcomes.iter().any(|outcome| {
                digits_of(&outcome.case.to) == digits_of(&text.to)
                    && outcome.lines.iter().any(|own| own.seq == line.seq)
            })
        })
    };
    for line in world.far.record.lines() {
        let carrier: &Arc<str> = &line.carrier;
        let fault = match &line.entry {
            Entry::ProtocolError(error) => {
                format!("{carrier}: {} broken: {}", error.protocol, error.reason)
            }
            Entry::Text(_) if !known(&line) => format!("{carrier}: a text that nobody asked for"),
            Entry::Text(_) | Entry::Call(_) => continue,
        };
        *faults.entry(fault).or_default() += 1;
    }
    let once = |(fault, times): (String, usize)| match times {
        1 => fault,
        times => format!("{fault} ({times} times)"),
    };
    faults.into_iter().map(once).collect()
}
