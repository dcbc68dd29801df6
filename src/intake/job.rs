//! A job's JSON into a [`Job`](super::Job), or every fault of it at once.
//!
//! Where the outside's words become types that can't be wrong: [`fields`] describes what may be said, [`build`] makes a
//! challenge or a control word of it. The caller learns all faults together.
//! A number that can't be understood is no bad job: it becomes a challenge that admission rejects with its reason.
//! May not log, and no fault may repeat a value.

use std::sync::Arc;

use crate::{
    challenge::Millis,
    config::settings::{Amqp, Jobs},
    intake::Job,
    report::JobFault,
    schema::{
        Described, Key, Reading, Value,
        tree::{Entry, Tree},
        value::Note,
    },
};

mod build;
mod canonical;
mod code;
mod fields;
mod rules;
#[cfg(test)]
mod tests;

use crate::challenge::Origin;

/// What the door knows of a job besides its body.
#[derive(Clone, Debug)]
pub struct Properties {
    pub door: Origin,
    /// Where the caller wants its reports; AMQP only.
    pub reply_to: Option<Arc<str>>,
    pub correlation_id: Option<Arc<str>>,
}

impl Properties {
    /// A job by HTTP: no queue to reply to.
    pub fn http() -> Properties {
        Properties {
            door: Origin::Http,
            reply_to: None,
            correlation_id: None,
        }
    }
}

/// What a message wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    Challenge,
    Cancel,
    Feedback,
}

impl JobKind {
    /// By the AMQP property `type`; none or empty: a challenge.
    pub fn parse(name: Option<&str>) -> Option<JobKind> {
        match name {
            None | Some("" | "challenge") => Some(JobKind::Challenge),
            Some("cancel") => Some(JobKind::Cancel),
            Some("feedback") => Some(JobKind::Feedback),
            Some(_) => None,
        }
    }
}

/// A job that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadJob {
    /// At least one, at most [`FAULTS`].
    pub faults: Vec<JobFault>,
    /// Where it could be read and is one.
    pub id: Option<Arc<str>>,
}

impl BadJob {
    fn of(fault: JobFault) -> BadJob {
        BadJob {
            faults: vec![fault],
            id: None,
        }
    }
}

/// Reads a message of this kind. `now` is when it came.
pub fn parse(
    kind: JobKind,
    body: &[u8],
    properties: Properties,
    now: Millis,
    settings: &Jobs,
) -> Result<Job, BadJob> {
    if body.len() > BODY {
        return Err(BadJob::of(JobFault::new("body", "longer than 64 KiB")));
    }
    let entries = entries(body).map_err(BadJob::of)?;
    let reading = Reading::json();
    let root = reading.root(&entries);
    let job = match kind {
        JobKind::Challenge => build::challenge(&root, properties, now, settings),
        JobKind::Cancel => build::cancel(&root),
        JobKind::Feedback => build::feedback(&root),
    };
    let id = root.value("id").filter(Value::is_str);
    let id = id
        .as_ref()
        .and_then(Value::str)
        .filter(|id| rules::is_id(id));
    let id = id.map(Arc::from);
    root.finish();
    let mut faults = faults(reading.into_notes());
    if let (Some(mut job), true) = (job, faults.is_empty()) {
        if build::make_code(&mut job, settings) {
            return Ok(job);
        }
        faults.push(JobFault::new("code", "none could be made"));
    }
    Err(BadJob { faults, id })
}

/// What stands in the body; the one fault is that it is no JSON object at all.
fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, JobFault> {
    let tree: Tree<'_> = serde_json::from_slice(body).map_err(|e| {
        let why = match e.classify() {
            serde_json::error::Category::Eof => "ends too early",
            _ => "is not JSON",
        };
        let (line, column) = (e.line(), e.column());
        JobFault::new("body", format!("{why} (line {line}, column {column})"))
    })?;
    match tree {
        Tree::Table(entries) => Ok(entries),
        _ => Err(JobFault::new("body", "is not a JSON object")),
    }
}

/// The first of each field, and not too many.
fn faults(notes: Vec<Note>) -> Vec<JobFault> {
    let mut faults: Vec<JobFault> = Vec::new();
    for note in notes {
        if faults.len() < FAULTS && faults.iter().all(|fault| fault.field != note.key) {
            faults.push(JobFault::new(note.key, note.reason));
        }
    }
    faults
}

/// Like [`parse`], by the AMQP property `type`.
pub fn parse_typed(
    kind: Option<&str>,
    body: &[u8],
    properties: Properties,
    now: Millis,
    settings: &Jobs,
) -> Result<Job, BadJob> {
    match JobKind::parse(kind) {
        Some(kind) => parse(kind, body, properties, now, settings),
        None => Err(BadJob::of(JobFault::new(
            "type",
            "an unknown kind of message; give challenge, cancel or feedback",
        ))),
    }
}

/// The fields of a message, as they are described.
pub fn keys(kind: JobKind) -> Vec<Key> {
    match kind {
        JobKind::Challenge => fields::ChallengeFields::keys(),
        JobKind::Cancel => fields::CancelFields::keys(),
        JobKind::Feedback => fields::FeedbackFields::keys(),
    }
}

/// Queues that are the gateway's own and no place for reports.
pub fn is_own_queue(amqp: &Amqp, name: &str) -> bool {
    [&amqp.queue, &amqp.control, &amqp.dead]
        .iter()
        .any(|own| own.as_ref() == name)
}

/// Longest body of a job.
pub const BODY: usize = 64 * 1024;
/// Most faults told of one job.
pub const FAULTS: usize = 64;
