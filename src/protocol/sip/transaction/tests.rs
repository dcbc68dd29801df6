//! Each state of each transaction, by paused instants.

use std::time::{Duration, Instant};

use super::client::Client;
use super::invite_client::{InviteClient, InviteClientState as Inviting};
use super::invite_server::{InviteServer, InviteServerState as Invited};
use super::server::Server;
use super::{Act, Timing};

const TIMING: Timing = Timing {
    t1: Duration::from_millis(500),
    t2: Duration::from_secs(4),
    t4: Duration::from_secs(5),
};

/// Wakes the machine at each of its deadlines; what it did and when, in milliseconds since `start`.
fn run(
    start: Instant,
    mut wake: impl FnMut(Option<Instant>) -> (Option<Instant>, Act),
) -> Vec<(u128, Act)> {
    let mut log = Vec::new();
    let mut next = wake(None).0;
    while let Some(at) = next {
        let (deadline, act) = wake(Some(at));
        log.push(((at - start).as_millis(), act));
        next = deadline;
        assert!(log.len() < 100, "it must end: {log:?}");
    }
    log
}

macro_rules! run_machine {
    ($start:expr, $machine:expr) => {
        run($start, |at| {
            let act = at.map_or(Act::Nothing, |at| $machine.timeout(at));
            ($machine.next_deadline(), act)
        })
    };
}

#[test]
fn an_unanswered_invite_is_sent_seven_times_and_given_up_after_32_s() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, false, TIMING);
    let log = run_machine!(start, invite);
    let resends = [500, 1500, 3500, 7500, 15500, 31500].map(|at| (at, Act::Resend));
    assert_eq!(
        log,
        [resends.as_slice(), &[(32_000, Act::TimedOut)]].concat()
    );
    assert_eq!(invite.state(), Inviting::Terminated);
}

#[test]
fn over_tcp_nothing_is_sent_twice() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, true, TIMING);
    assert_eq!(run_machine!(start, invite), [(32_000, Act::TimedOut)]);
    let mut bye = Client::new(start, true, TIMING);
    assert_eq!(run_machine!(start, bye), [(32_000, Act::TimedOut)]);
}

#[test]
fn a_provisional_stops_the_invite_and_its_timeout() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, false, TIMING);
    assert_eq!(invite.response(start, 180), Act::Deliver);
    assert_eq!(
        (invite.state(), invite.next_deadline()),
        (Inviting::Proceeding, None)
    );
    assert_eq!(invite.response(start, 183), Act::Deliver);
    invite.end_by(start + TIMING.t4);
    assert_eq!(run_machine!(start, invite), [(5_000, Act::TimedOut)]);
}

#[test]
fn a_failure_is_acked_with_each_of_its_copies_for_32_s() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, false, TIMING);
    assert_eq!(invite.response(start, 486), Act::DeliverAndAck);
    assert_eq!(invite.response(start, 486), Act::AckAgain);
    assert_eq!(invite.response(start, 200), Act::Nothing);
    assert_eq!(invite.state(), Inviting::Completed);
    assert_eq!(run_machine!(start, invite), [(32_000, Act::Over)]);
    assert_eq!(invite.response(start, 486), Act::Nothing);
}

#[test]
fn every_2xx_goes_up_for_32_s() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, true, TIMING);
    assert_eq!(invite.response(start, 200), Act::Deliver);
    assert_eq!(invite.response(start, 200), Act::Deliver);
    assert_eq!(invite.response(start, 180), Act::Nothing);
    assert_eq!(invite.response(start, 486), Act::Nothing);
    assert_eq!(invite.state(), Inviting::Accepted);
    assert_eq!(run_machine!(start, invite), [(32_000, Act::Over)]);
}

#[test]
fn an_abandoned_invite_is_heard_but_not_sent_again() {
    let start = Instant::now();
    let mut invite = InviteClient::new(start, false, TIMING);
    invite.stop_resending();
    assert_eq!(run_machine!(start, invite), [(32_000, Act::TimedOut)]);
}

#[test]
fn a_request_is_sent_eleven_times_at_most_t2_apart() {
    let start = Instant::now();
    let mut bye = Client::new(start, false, TIMING);
    let times = [
        500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
    ];
    let resends = times.map(|at| (at, Act::Resend));
    assert_eq!(
        run_machine!(start, bye),
        [resends.as_slice(), &[(32_000, Act::TimedOut)]].concat()
    );
}

#[test]
fn a_provisional_slows_a_request_to_t2() {
    let start = Instant::now();
    let mut options = Client::new(start, false, TIMING);
    assert_eq!(options.response(start, 100), Act::Deliver);
    let log = run_machine!(start, options);
    assert_eq!(log[..2], [(500, Act::Resend), (4_500, Act::Resend)]);
}

#[test]
fn a_final_ends_a_request_and_its_copies_are_absorbed_for_t4() {
    let start = Instant::now();
    for (reliable, over) in [(false, 5_000), (true, 0)] {
        let mut bye = Client::new(start, reliable, TIMING);
        assert_eq!(bye.response(start, 200), Act::Deliver);
        assert_eq!(bye.response(start, 200), Act::Nothing);
        assert_eq!(run_machine!(start, bye), [(over, Act::Over)]);
    }
}

#[test]
fn a_2xx_to_a_reinvite_is_sent_until_the_ack() {
    let start = Instant::now();
    let mut accepted = InviteServer::answered(start, 200, false, TIMING);
    assert_eq!(accepted.timeout(start + TIMING.t1), Act::Resend);
    assert!(accepted.awaits_ack());
    accepted.ack(start + TIMING.t1);
    assert!(!accepted.awaits_ack());
    assert_eq!(accepted.repeated(), Act::Nothing);
    assert_eq!(run_machine!(start, accepted), [(32_000, Act::Over)]);

    let mut unheard = InviteServer::answered(start, 200, true, TIMING);
    let log = run_machine!(start, unheard);
    assert_eq!(log.last(), Some(&(32_000, Act::TimedOut)));
    assert_eq!(log.len(), 11);
}

#[test]
fn a_refusal_of_a_reinvite_is_sent_until_the_ack_and_to_each_copy() {
    let start = Instant::now();
    let mut refused = InviteServer::answered(start, 488, false, TIMING);
    assert_eq!(refused.repeated(), Act::Resend);
    assert_eq!(refused.timeout(start + TIMING.t1), Act::Resend);
    refused.ack(start + TIMING.t1);
    assert_eq!(
        (refused.state(), refused.repeated()),
        (Invited::Confirmed, Act::Nothing)
    );
    assert_eq!(run_machine!(start, refused), [(5_500, Act::Over)]);

    let mut unheard = InviteServer::answered(start, 488, true, TIMING);
    assert_eq!(run_machine!(start, unheard), [(32_000, Act::TimedOut)]);
}

#[test]
fn an_answered_request_is_answered_again_for_32_s() {
    let start = Instant::now();
    let mut bye = Server::answered(start, false, TIMING);
    assert_eq!(bye.repeated(), Act::Resend);
    assert_eq!(run_machine!(start, bye), [(32_000, Act::Over)]);
    assert_eq!(bye.repeated(), Act::Nothing);
    let mut over_tcp = Server::answered(start, true, TIMING);
    assert_eq!(run_machine!(start, over_tcp), [(0, Act::Over)]);
}
