//! Holds what was reported, and what the phones saw and heard, against the table of finals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use simulators::record::{Call, CallResult, Entry, Text, TextResult, code_in};

use crate::{
    caller::{Caller, Story},
    jobs::Job,
    town::Town,
};

/// How strict the law is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Nothing went wrong but what the table says.
    Strict,
    /// A call that was up at the end of a drain was hung up.
    Drained,
    /// The gateway was killed: what was in the air may be in doubt, if it says so.
    Killed,
    /// The same of one of several, which comes back at other ports or not at all: whoever was called by it speaks to nobody.
    Lost,
}

impl Law {
    fn is_of_a_death(self) -> bool {
        matches!(self, Law::Killed | Law::Lost)
    }
}

/// What reached each number.
#[derive(Default)]
struct Reached {
    texts: Vec<Text>,
    calls: Vec<Call>,
}

/// Every fault that can be found, as sentences; empty: all is well.
pub fn faults(town: &Town, caller: &Caller, jobs: &[Job], law: Law) -> Vec<String> {
    let mut reached: HashMap<String, Reached> = HashMap::new();
    let mut faults = Vec::new();
    for line in town.record.lines() {
        let digits = simulators::subscriber::digits_of(line.entry.to());
        let at = reached.entry(digits).or_default();
        match line.entry {
            Entry::Text(text) => at.texts.push(text),
            Entry::Call(call) => at.calls.push(call),
            // A process that was killed between a refusal and its ACK can't send it, and the next one knows nothing of it.
            Entry::ProtocolError(e)
                if law.is_of_a_death() && e.reason.contains("was never ACKed") => {}
            Entry::ProtocolError(e)
                if matches!(law, Law::Lost)
                    && e.reason.contains("no answer to a request of ours") => {}
            Entry::ProtocolError(e) => {
                faults.push(format!("{}: {}: {}", line.carrier, e.protocol, e.reason));
            }
        }
    }
    let nobody = Reached::default();
    for job in jobs {
        let story = caller.story(&job.id);
        let at = reached.get(&job.number).unwrap_or(&nobody);
        let mut wrong = Vec::new();
        if let Some(end) = one_final(&story, &mut wrong) {
            as_the_table_says(job, end, law, &mut wrong);
            as_the_phone_says(job, &story, end, at, &mut wrong);
        }
        for what in wrong {
            faults.push(format!("{} ({}): {what}", job.id, job.row.name));
        }
    }
    faults
}

/// Exactly one, on both sides the same, however often it was told.
fn one_final<'a>(story: &'a Story, wrong: &mut Vec<String>) -> Option<&'a Value> {
    let ids = |reports: &[Value]| -> BTreeSet<String> {
        reports.iter().map(|r| r["report_id"].to_string()).collect()
    };
    let (own, copy) = (ids(&story.finals), ids(&story.copies));
    if own.len() != 1 {
        wrong.push(format!("{} finals at the asker: {own:?}", own.len()));
    }
    if copy != own {
        wrong.push(format!(
            "finals on the exchange: {copy:?}, at the asker {own:?}"
        ));
    }
    if story.strays > 0 {
        wrong.push(format!(
            "{} reports with another correlation id",
            story.strays
        ));
    }
    if !story.errors.is_empty() {
        wrong.push(format!("errors: {:?}", story.errors));
    }
    let end = story.finals.first()?;
    // Given one after the other, and none after the final but `late`, which is told on the exchange alone.
    let last = end["seq"].as_u64().unwrap_or(0);
    let expected: Vec<u64> = (1..=last).collect();
    let seen: Vec<u64> = story
        .events
        .keys()
        .copied()
        .filter(|n| *n <= last)
        .collect();
    if seen != expected {
        wrong.push(format!("seq {seen:?} before the final's {last}"));
    }
    let after = story.events.range(last + 1..);
    for (seq, event) in after.filter(|(_, event)| *event != "late") {
        wrong.push(format!("{event} ({seq}) after the final ({last})"));
    }
    Some(end)
}

fn as_the_table_says(job: &Job, end: &Value, law: Law, wrong: &mut Vec<String>) {
    let word = |key: &str| end[key].as_str().unwrap_or("-").to_owned();
    let said = format!("{}/{}", word("event"), word("reason"));
    let by = format!("{said} by {}", word("carrier"));
    if job.row.finals.iter().any(|f| *f == said || *f == by) {
        return;
    }
    let doubtful = attempts(end).any(|a| a["in_doubt"] == true);
    let called = attempts(end).any(|a| a["channel"] == "voice");
    // Where a session is dropped, all that it had in the air is in doubt with what it was dropped for.
    let excused = doubtful && said == "unconfirmed/in_doubt"
        || match law {
            Law::Strict => false,
            Law::Drained => called && said == "undelivered/cancelled",
            // A submit in doubt has no reference that a receipt could name; a call dies with the gateway; a carrier by
            // HTTP gives a receipt up after a few tries.
            Law::Killed | Law::Lost => {
                (doubtful && !said.starts_with("rejected"))
                    || (called && said.starts_with("undelivered"))
                    || by == "unconfirmed/no_receipt by tailspin"
            }
        };
    if excused {
        return;
    }
    wrong.push(format!("{said}, not {:?}: {}", job.row.finals, brief(end)));
}

fn as_the_phone_says(job: &Job, story: &Story, end: &Value, at: &Reached, wrong: &mut Vec<String>) {
    let tried = |channel: &str| attempts(end).filter(|a| a["channel"] == channel).count();
    let marked = |channel: &str| {
        attempts(end)
            .filter(|a| a["channel"] == channel && (a["in_doubt"] == true || a["hedge"] == true))
            .count()
    };
    let taken = at.texts.iter().filter(|t| t.result != TextResult::Refused);
    let read = at.texts.iter().filter(|t| t.result == TextResult::Read);
    if taken.clone().count() > tried("sms") {
        wrong.push(format!("{} texts taken: {}", taken.count(), brief(end)));
    }
    if read.clone().count() > 1 && marked("sms") == 0 {
        wrong.push(format!(
            "{} texts read, none marked: {}",
            read.clone().count(),
            brief(end)
        ));
    }
    let answered = at.calls.iter().filter(|c| c.result == CallResult::Answered);
    if answered.clone().count() > 1 && marked("voice") == 0 {
        wrong.push(format!(
            "{} calls answered, none marked: {}",
            answered.count(),
            brief(end)
        ));
    }
    if at.calls.len() > tried("voice") {
        wrong.push(format!("{} calls: {}", at.calls.len(), brief(end)));
    }
    if end["event"] == "delivered" && read.clone().count() == 0 && at.calls.is_empty() {
        wrong.push("delivered, and nobody has read or heard anything".into());
    }
    let code = job.code.as_ref().or(story.code.as_ref());
    for text in read {
        if code_in(&text.text) != code.map(String::as_str) {
            wrong.push("another code on the phone than the one sent or returned".into());
        }
    }
    if job.row.method == "voice_code" && end["event"] == "delivered" {
        let heard = at
            .calls
            .iter()
            .any(|c| code.is_some_and(|code| c.digits_heard.starts_with(code.as_str())));
        if !heard {
            let each = at.calls.iter().map(|c| {
                let clips = c.heard.iter().map(|h| format!("{} {}", h.clip, h.at_ms));
                let (came, lost) = (c.packets_received, c.packets_lost);
                format!(
                    "{came} packets came, {lost} lost: {:?}",
                    clips.collect::<Vec<_>>()
                )
            });
            let each: Vec<_> = each.collect();
            wrong.push(format!("the code {code:?} was not heard: {each:?}"));
        }
    }
}

fn attempts(end: &Value) -> impl Iterator<Item = &Value> {
    end["attempts"].as_array().into_iter().flatten()
}

/// What a person needs for finding out: no report is quoted whole.
fn brief(end: &Value) -> String {
    let keys = [
        "method",
        "carrier",
        "outcome",
        "cause",
        "carrier_code",
        "in_doubt",
        "hedge",
    ];
    let each = attempts(end).map(|a| {
        let words = keys.iter().map(|k| a[*k].to_string());
        words.collect::<Vec<_>>().join(" ")
    });
    format!("attempts {:?}", each.collect::<Vec<_>>())
}

/// Those that have not ended, and what was heard of them.
fn open(caller: &Caller, jobs: &[Job]) -> impl Iterator<Item = String> {
    let stories = jobs.iter().map(|job| (job, caller.story(&job.id)));
    let open = stories.filter(|(_, story)| story.finals.is_empty());
    open.map(|(job, story)| format!("open: {} ({}): {:?}", job.id, job.row.name, story.events))
}

/// How often each kind ended how.
pub fn table(caller: &Caller, jobs: &[Job]) -> String {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for job in jobs {
        let story = caller.story(&job.id);
        let said = story.finals.first().map_or("nothing".to_owned(), |end| {
            format!(
                "{}/{}",
                end["event"].as_str().unwrap_or("-"),
                end["reason"].as_str().unwrap_or("-")
            )
        });
        *counts.entry((job.row.name, said)).or_default() += 1;
    }
    let lines = counts
        .iter()
        .map(|((name, said), n)| format!("{n:6}  {name}: {said}"));
    lines
        .chain(open(caller, jobs).take(20))
        .collect::<Vec<_>>()
        .join("\n")
}
