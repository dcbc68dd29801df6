//! A job's JSON into a [`Job`](super::Job), or every fault of it at once.
//!
//! Where the outside's words become types that can't be wrong. A sound job goes a short way: one borrowed reading,
//! then [`check`]. Only what that refuses is walked again ([`fault_scan`]), so that the caller learns all faults together.
//! A number that can't be understood is no bad job: it becomes a challenge that admission rejects with its reason.
//! May not log, and no fault may repeat a value.

use std::sync::Arc;

use crate::{
    challenge::Millis,
    config::settings::{Amqp, Jobs},
    intake::Job,
    report::JobFault,
};

mod canonical;
mod check;
mod code;
mod fault_scan;
mod given;
mod raw;
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
    let (raw, faults) = match serde_json::from_slice::<raw::Raw<'_>>(body) {
        Ok(raw) => (raw, Vec::new()),
        Err(_) => fault_scan::fault_scan(body).map_err(BadJob::of)?,
    };
    check::check(kind, raw, faults, properties, now, settings)
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
