//! The SIP driver against SIPp as the carrier: a foreign peer, so that a mistake on both of our sides can't cancel out.
//!
//! Needs `sipp` (Debian: sip-tester) and, to play RFC 4733 digits, the right to open raw sockets.

use std::sync::Arc;

use ringback::config::carrier::Carry;

use crate::world::{ended, free, listening, sipp, story, there};

/// Scenarios run at once: more make a small machine late.
const AT_ONCE: usize = 5;

/// Scenario, transport, and how the attempt's story must end.
const CASES: [(&str, Carry, &str); 16] = [
    ("answer_pound", Carry::Udp, "answered, key, Confirmed #"),
    ("answer_pound", Carry::Tcp, "answered, key, Confirmed #"),
    ("info_pound", Carry::Udp, "answered, key, Confirmed #"),
    ("digest_401", Carry::Udp, "answered, key, Confirmed #"),
    (
        "early_media",
        Carry::Udp,
        "ringing, answered, key, Confirmed #",
    ),
    ("reinvite", Carry::Udp, "answered, key, Confirmed #"),
    ("far_bye", Carry::Udp, "answered, NoKeypress "),
    ("far_bye", Carry::Tcp, "answered, NoKeypress "),
    (
        "busy",
        Carry::Udp,
        "accepted, busy StopChannel 486 Busy Here",
    ),
    (
        "busy",
        Carry::Tcp,
        "accepted, busy StopChannel 486 Busy Here",
    ),
    (
        "declined",
        Carry::Udp,
        "accepted, declined StopChannel 603 Decline",
    ),
    (
        "blocked",
        Carry::Udp,
        "accepted, blocked_by_operator NextCandidate 603 Decline",
    ),
    (
        "not_found",
        Carry::Udp,
        "accepted, unreachable StopChannel 404 Not Found",
    ),
    (
        "no_answer",
        Carry::Udp,
        "accepted, ringing, no_answer StopChannel",
    ),
    (
        "unavailable_503",
        Carry::Udp,
        "accepted, carrier_fault NextCandidate 503 Service Unavailable",
    ),
    ("silent", Carry::Udp, "in doubt"),
];

#[tokio::test(flavor = "multi_thread")]
async fn sipp_as_callee_is_reported_as_it_behaves() {
    if !there("sipp", "sip-tester") {
        return;
    }
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut runs = tokio::task::JoinSet::new();
    for (at, (scenario, carry, expected)) in CASES.into_iter().enumerate() {
        let places = places.clone();
        runs.spawn(async move {
            let _place = places.acquire().await.expect("never closed");
            let (story, peer) = run(at, scenario, carry).await;
            (scenario, carry, expected, story, peer)
        });
    }
    let mut wrong = Vec::new();
    while let Some(run) = runs.join_next().await {
        let (scenario, carry, expected, story, peer) = run.expect("no panic");
        // A peer that never speaks has nothing to wait for.
        let content = scenario == "silent" || peer == Some(0);
        if !story.ends_with(expected) || !content {
            wrong.push(format!(
                "{scenario} over {carry:?}: {story:?} for {expected:?}, sipp ended with {peer:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One call to one SIPp: its story, and SIPp's exit code.
async fn run(at: usize, scenario: &str, carry: Carry) -> (String, Option<i32>) {
    let address = free(carry);
    let mut callee = sipp(at, scenario, carry, address);
    listening(carry, address).await;
    let (story, driver) = story(at, carry, address).await;
    if scenario == "silent" {
        let _ = callee.kill().await;
    }
    (story, ended(callee, driver).await)
}
