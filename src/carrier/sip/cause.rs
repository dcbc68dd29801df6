//! The carrier's dialect ends here: what a final SIP answer means for us (interfaces, "Voice in SIP terms").
//!
//! One commented table; a carrier's own `[status]` goes before it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    cause::{About, Blame, Cause, Failure, Verdict},
    protocol::sip::End,
};

/// What the end of an unanswered call means.
pub fn failure(end: &End, own: &BTreeMap<Arc<str>, Cause>) -> Failure {
    match end {
        End::Refused {
            status,
            phrase,
            reason,
            retry_after,
        } => {
            let code: Arc<str> = format!("{status} {phrase}").trim_end().into();
            let named = own.get(status.to_string().as_str()).copied();
            let cause =
                named.unwrap_or_else(|| of_status(*status, reason.as_deref(), *retry_after));
            let mut failure = cause.failure(Some(code));
            // With other answers it speaks of the person who was called (RFC 3261, 20.33), not of the trunk.
            failure.retry_after = retry_after
                .filter(|_| cause == Cause::Throttled)
                .map(|s| Duration::from_secs(s.into()));
            if named.is_none() && is_ours(*status) {
                failure.blame = Blame::Us;
                failure.about = match *status {
                    300..=399 => About::Request,
                    _ => About::Account,
                };
            }
            failure
        }
        End::Redirected { status, phrase, .. } => {
            let named = own.get(status.to_string().as_str()).copied();
            let code = format!("{status} {phrase}").trim_end().into();
            let mut failure = named.unwrap_or(Cause::CarrierFault).failure(Some(code));
            if named.is_none() {
                failure.blame = Blame::Us;
            }
            failure
        }
        End::RungOut => Cause::NoAnswer.failure(None),
        End::Cancelled | End::OurBye | End::Capped => Cause::Cancelled.failure(None),
        // Our ledger did not hold the call in time.
        End::Unsent => Failure {
            blame: Blame::Us,
            ..Cause::CarrierFault.failure(None)
        },
        // No answer at all, no connection, SDP that can't be used: the next candidate may do better.
        End::Silent | End::Unreachable | End::BrokenMedia | End::Vanished | End::PeerBye => {
            Cause::CarrierFault.failure(None)
        }
    }
}

/// May another endpoint of the same trunk be asked? Only where nobody's phone can have rung.
pub fn fails_over(end: &End) -> bool {
    match end {
        End::Silent | End::Unreachable => true,
        End::Refused { status, .. } => matches!(status, 408 | 500..=599),
        End::Redirected { .. }
        | End::RungOut
        | End::Unsent
        | End::BrokenMedia
        | End::PeerBye
        | End::OurBye
        | End::Capped
        | End::Cancelled
        | End::Vanished => false,
    }
}

fn of_status(status: u16, reason: Option<&str>, retry_after: Option<u32>) -> Cause {
    match status {
        // Busy here, busy everywhere.
        486 | 600 => Cause::Busy,
        // Declined, unless a network says that it was the one who declined (the "603+" of North America).
        603 if reason.is_some_and(is_network) => Cause::BlockedByOperator,
        // Declined; unwanted (RFC 8197).
        603 | 607 => Cause::Declined,
        // Rejected by an analytics service (RFC 8688); anonymity or caller ID not taken (RFC 5079, 8224):
        // another carrier or caller ID may pass.
        608 | 433 | 428 | 436 | 437 | 438 => Cause::BlockedByOperator,
        // Temporarily unavailable; ended by the far side while it rang.
        480 | 487 => Cause::NoAnswer,
        // Not found, gone, incomplete, ambiguous, nowhere: the number is at fault.
        404 | 410 | 484 | 485 | 604 => Cause::Unreachable,
        // Full, with a time to come back.
        503 if retry_after.is_some() => Cause::Throttled,
        429 => Cause::Throttled,
        // Nobody behind the trunk answered (408), our media refused (488, 606), its servers (5xx), and whatever else a
        // trunk says that no person could have meant.
        _ => Cause::CarrierFault,
    }
}

/// Credentials, permissions, redirections that lead nowhere: our settings, not the trunk's health.
fn is_ours(status: u16) -> bool {
    matches!(status, 300..=399 | 401..=403 | 407)
}

/// A Reason header (RFC 3326) that a network wrote: protocol SIP (a phone's own 603 carries none), a Q.850 location
/// other than the user's, or plain words.
fn is_network(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let location = reason
        .split("location=")
        .nth(1)
        .and_then(|l| l.trim_start_matches('"').chars().next());
    reason.trim_start().starts_with("sip")
        || location.is_some_and(|l| l != 'u')
        || ["network", "block", "analytics"]
            .iter()
            .any(|word| reason.contains(word))
}

/// We have no room for the audio of another call: the trunk was not asked.
pub fn no_media() -> Failure {
    Cause::GatewayLimit.failure(None)
}

/// The order can't be put as a call.
pub fn unfit() -> Failure {
    Failure {
        blame: Blame::Us,
        verdict: Verdict::StopChannel,
        ..Cause::CarrierFault.failure(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: Option<&str>, retry_after: Option<u32>) -> End {
        End::Refused {
            status,
            phrase: "Words".into(),
            reason: reason.map(Into::into),
            retry_after,
        }
    }

    fn cause(status: u16, reason: Option<&str>) -> (Cause, Verdict) {
        let failure = failure(&refused(status, reason, None), &BTreeMap::new());
        (failure.cause, failure.verdict)
    }

    #[test]
    fn the_table_says_what_the_interfaces_say() {
        use Cause::*;
        use Verdict::*;
        for (statuses, expected) in [
            (&[486, 600][..], (Busy, StopChannel)),
            (&[603, 607], (Declined, StopChannel)),
            (&[608], (BlockedByOperator, NextCandidate)),
            (&[480], (NoAnswer, StopChannel)),
            (&[404, 410, 484], (Unreachable, StopChannel)),
            (
                &[408, 488, 500, 502, 503, 504, 401, 302],
                (CarrierFault, NextCandidate),
            ),
        ] {
            for status in statuses {
                assert_eq!(cause(*status, None), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_603_is_a_person_unless_a_network_says_so() {
        for reason in [
            "SIP;cause=603;text=\"v=analytics1\"",
            "Q.850;cause=21;location=LN",
            "X;text=\"Network Blocked\"",
        ] {
            assert_eq!(
                cause(603, Some(reason)).0,
                Cause::BlockedByOperator,
                "{reason}"
            );
        }
        for reason in [
            "Q.850;cause=21",
            "Q.850;cause=21;text=\"Call rejected\";location=U",
        ] {
            assert_eq!(cause(603, Some(reason)).0, Cause::Declined, "{reason}");
        }
    }

    #[test]
    fn a_carriers_own_meaning_goes_first_and_pauses_are_told() {
        let own = BTreeMap::from([("486".into(), Cause::BlockedByOperator)]);
        assert_eq!(
            failure(&refused(486, None, None), &own).cause,
            Cause::BlockedByOperator
        );
        let full = failure(&refused(503, None, Some(30)), &own);
        assert_eq!(
            (full.cause, full.retry_after),
            (Cause::Throttled, Some(Duration::from_secs(30)))
        );
        assert_eq!(full.carrier_code.as_deref(), Some("503 Words"));
        // When the person will be free again is no pause of the trunk's.
        for status in [404, 480, 486, 603] {
            let person = failure(&refused(status, None, Some(30)), &BTreeMap::new());
            assert_eq!(person.retry_after, None, "{status}");
        }
    }

    #[test]
    fn nothing_a_person_decided_goes_to_another_endpoint() {
        assert!(fails_over(&End::Silent) && fails_over(&refused(503, None, None)));
        for end in [
            refused(486, None, None),
            refused(603, None, None),
            End::RungOut,
            End::Cancelled,
        ] {
            assert!(!fails_over(&end), "{end:?}");
        }
    }
}
