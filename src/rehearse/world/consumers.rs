//! Those who read reports: what they were told, held against what they were told before and against what really happened.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::World;
use crate::{rehearse::publisher::ReportCopy, report::publish::BasicPublish};

/// AMQP's delivery mode.
const PERSISTENT: u8 = 2;

impl World<'_, '_> {
    /// A queue has a message of the publisher's.
    pub(super) fn consume(&mut self, message: &BasicPublish) {
        let Ok(body) = serde_json::from_slice::<Value>(&message.body) else {
            return self.violate("a report that is no JSON".to_owned());
        };
        if message.exchange == self.publish_names().dead {
            self.buried(&body);
        } else {
            self.received(message, &body);
        }
    }

    /// A report that no queue took in time is a dead letter now.
    fn buried(&mut self, letter: &Value) {
        self.trace.reached("a report was dead-lettered");
        let (report, now) = (&letter["report"], self.time().wall);
        let id = report["report_id"].as_str().unwrap_or_default();
        // What goes to everyone always finds a queue here.
        let copy = ReportCopy::new(id, false);
        if !self.owed.is_overdue(copy, now) {
            return self.violate(format!("report {id} is given up before its time"));
        }
        self.owed.held(copy);
        let text = |field: &str| report[field].as_str().unwrap_or_default();
        let place = (text("tenant").into(), text("challenge").into());
        if let Some(n) = self.ids.get(&place).copied() {
            self.jobs[n].dead.insert(id.to_owned());
        }
        if ["code", "digits", "reply"]
            .iter()
            .any(|f| report.get(*f).is_some())
        {
            self.violate(format!("the dead letter of report {id} has its secrets"));
        }
    }

    /// A report has reached whoever reads it.
    fn received(&mut self, message: &BasicPublish, body: &Value) {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let place = (text("tenant").into(), text("challenge").into());
        let Some(n) = self.ids.get(&place).copied() else {
            return self.violate(format!("a report of {}, which nobody asked for", place.1));
        };
        let (id, event, report_id) = (place.1, text("event"), text("report_id"));
        let seq = body["seq"].as_u64().unwrap_or_default();
        let public = !message.exchange.is_empty();
        if let Some(wrong) = misdirected(message, body) {
            return self.violate(format!("{id}: report {report_id}: {wrong}"));
        }
        self.owed.held(ReportCopy::new(&report_id, public));
        let at = self.now.since_start();
        let copy = if public { "everyone" } else { "the asker" };
        self.trace
            .event(at, format_args!("{id} to {copy}: {seq} {event}"));
        // Told again later it is without them.
        let mut content = body.clone();
        if let Some(fields) = content.as_object_mut() {
            fields.retain(|name, _| !["code", "digits", "reply"].contains(&name.as_str()));
        }
        let mut hash = DefaultHasher::new();
        content.to_string().hash(&mut hash);
        let this = (seq, event.clone(), hash.finish());
        let is_healthy = self.rehearsal.profile.is_healthy();
        let job = &mut self.jobs[n];
        let is_final = body["final"] == true;
        if let Some(wrong) = job.reported(public, &report_id, this, is_final, is_healthy) {
            return self.violate(format!("{id}: {wrong}"));
        }
        if event == "late" {
            let attempt = body["attempt"].as_u64().unwrap_or_default();
            let delivered = body["reason"] == "delivered";
            let told = |(n, _): &(u16, u16)| u64::from(*n) == attempt && delivered;
            job.late_owed.retain(|owed| !told(owed));
            job.late_told.insert(attempt as u16);
            return self.trace.reached("a late report");
        }
        if body["final"] != true {
            return;
        }
        let before = job.finals.insert(report_id, event.clone());
        if job.finals.len() > 1 {
            let finals: Vec<&String> = job.finals.values().collect();
            let what = format!("{id}: several finals: {finals:?}");
            return self.violate(what);
        }
        if before.is_none() {
            self.check_truth(n, &event, body);
        }
    }

    /// Is it true?
    fn check_truth(&mut self, n: usize, event: &str, body: &Value) {
        let job = &self.jobs[n];
        let id = job.id.clone();
        let attempts = body["attempts"].as_array();
        let hedges = attempts.into_iter().flatten();
        let hedges = hedges.filter(|attempt| attempt["hedge"] == true).count();
        let delivered = !job.at_phone.is_empty() || job.code_read;
        let wrong = match event {
            "delivered" if !delivered => Some("delivered, and no phone has it"),
            "confirmed" if !job.pressed => Some("confirmed, and nobody pressed #"),
            "verified" | "cancelled" if !job.worded => Some("ended by a word that nobody said"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.violate(format!("{id}: {wrong}"));
        } else if hedges > 1 {
            self.violate(format!("{id}: {hedges} hedges"));
        } else if self.rehearsal.profile.is_healthy()
            && !["delivered", "confirmed"].contains(&event)
        {
            self.violate(format!(
                "{id}: all is well, and it ended as {event}: {body}"
            ));
        }
        self.trace.reached(final_name(event));
    }
}

/// What is wrong with the way that a report has come, if anything.
fn misdirected(message: &BasicPublish, body: &Value) -> Option<&'static str> {
    let text = |field: &str| body[field].as_str().unwrap_or_default();
    let properties = &message.properties;
    let id = properties.message_id().as_ref().map(|id| id.as_str());
    if id != Some(text("report_id")) {
        return Some("its message_id is another's");
    }
    let kind = properties.kind().as_ref().map(|kind| kind.as_str());
    if kind != Some("report") || *properties.delivery_mode() != Some(PERSISTENT) {
        return Some("it is no persistent report");
    }
    if !message.exchange.is_empty() {
        let event = message.routing_key.split('.').next().unwrap_or_default();
        return (event != text("event")).then_some("its routing key is another event's");
    }
    if *message.routing_key != *format!("replies.{}", text("tenant")) {
        return Some("it goes to another's queue");
    }
    let of = properties.correlation_id().as_ref().map(|id| id.as_str());
    (of != Some(text("challenge"))).then_some("it has another's correlation_id")
}

/// The states that are counted.
fn final_name(event: &str) -> &'static str {
    const NAMES: [&str; 10] = [
        "delivered",
        "confirmed",
        "verified",
        "cancelled",
        "unconfirmed",
        "undelivered",
        "failed",
        "expired",
        "rejected",
        "denied",
    ];
    let known = NAMES.into_iter().find(|name| *name == event);
    known.unwrap_or("another final")
}
