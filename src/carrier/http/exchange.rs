//! What became of one request: what it means for its text, and what it tells of the link. Pure.
//!
//! The one question that matters here is whether a request may have left us: if not, another carrier may take the
//! text; if so, it is in doubt.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hyper::{HeaderMap, Response, header::RETRY_AFTER};

use super::{
    answer::{self, Answer, Oddity},
    body::{self, Unreadable},
    request::Unsent,
};
use crate::{
    carrier::AttemptEvent,
    cause::{Blame, Cause, Failure},
    challenge::Millis,
    config::carrier::HttpResponse,
};

/// Largest answer that is read.
pub const MAX_ANSWER: usize = 64 * 1024;

/// What the network made of a request.
pub enum Transmission {
    /// The carrier answers: the head, and the body as far as it came.
    Answered(Response<Result<Bytes, Unreadable>>),
    /// No connection came to be.
    NoConnection { reason: String },
    /// The text's deadline came before a connection did: nothing has left.
    Overdue,
    /// The connection broke or the time was over, before the whole answer was there.
    Unanswered {
        may_have_left: bool,
        /// Why nothing can have left, where that is so.
        reason: String,
    },
}

/// What a request means.
pub struct Exchange {
    pub event: AttemptEvent,
    pub link: Seen,
}

/// What a request has seen of the link.
pub enum Seen {
    Answered {
        status: u16,
        /// What is odd about the answer.
        oddity: Option<Oddity>,
    },
    /// No connection came to be.
    Unreachable(String),
    Nothing,
}

impl Exchange {
    /// Of a request that was sent, or was to be.
    pub fn of(
        outcome: Transmission,
        response: &HttpResponse,
        own: &BTreeMap<Arc<str>, Cause>,
        now: Millis,
    ) -> Exchange {
        match outcome {
            Transmission::Answered(answer) => read(answer, response, own, now),
            Transmission::Overdue => Exchange::unsent(&Unsent::Expired),
            Transmission::NoConnection { reason }
            | Transmission::Unanswered {
                may_have_left: false,
                reason,
            } => failed(Cause::CarrierFault.failure(None), Seen::Unreachable(reason)),
            Transmission::Unanswered {
                may_have_left: true,
                ..
            } => Exchange::in_doubt(),
        }
    }

    /// Of a request that could not be made.
    pub fn unsent(why: &Unsent) -> Exchange {
        match why {
            Unsent::Expired => failed(Cause::Expired.failure(None), Seen::Nothing),
            Unsent::Carrier(error) => failed(
                Cause::CarrierFault.failure(None),
                Seen::Unreachable(error.to_string()),
            ),
            Unsent::Text(_) => {
                let failure = Failure {
                    blame: Blame::Us,
                    ..Cause::CarrierFault.failure(None)
                };
                failed(failure, Seen::Nothing)
            }
        }
    }

    /// Of a request that may have left, and of which nothing is known.
    pub fn in_doubt() -> Exchange {
        Exchange {
            event: AttemptEvent::InDoubt {
                cause: Cause::InDoubt,
            },
            link: Seen::Nothing,
        }
    }
}

fn failed(failure: Failure, link: Seen) -> Exchange {
    Exchange {
        event: AttemptEvent::Failed(failure),
        link,
    }
}

fn read(
    answer: Response<Result<Bytes, Unreadable>>,
    response: &HttpResponse,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Exchange {
    let (head, octets) = answer.into_parts();
    let text = octets.and_then(|octets| body::text(&head.headers, &octets, MAX_ANSWER));
    let answer = Answer {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers),
        body: text.as_deref().map_err(|why| *why),
    };
    let reading = answer::read(&answer, response, own, now);
    Exchange {
        link: Seen::Answered {
            status: answer.status,
            oddity: reading.oddity,
        },
        event: reading.event,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<&str> {
    headers.get(RETRY_AFTER)?.to_str().ok()
}
