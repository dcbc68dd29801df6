//! The trunk held against a caller of a few lines, through real sockets.

mod caller;
mod speaker;

use caller::{Call, Caller, Tone};
use serde_json::json;
use simulators::record::{CallResult, EndedBy};
use simulators::script::Faults;
use simulators::subscriber::Habits;
use simulators::trunk::sip::{Message, Start};
use simulators::trunk::{Trunk, TrunkConfig, TrunkHandle};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

async fn trunk() -> TrunkHandle {
    Trunk::start(config()).await.unwrap()
}

fn config() -> TrunkConfig {
    let habits = Habits {
        ring: Duration::from_millis(50),
        key_after: Duration::from_millis(300),
        ..Habits::default()
    };
    TrunkConfig {
        habits,
        prompts: None,
        ..TrunkConfig::default()
    }
}

/// The line of the only call to this number.
async fn line(trunk: &TrunkHandle, number: &str) -> simulators::record::Call {
    let found = trunk
        .record()
        .wait_for(LIMIT, |line| line.entry.to() == number)
        .await;
    found
        .expect("the call is written down")
        .entry
        .call()
        .cloned()
        .unwrap()
}

fn broken(trunk: &TrunkHandle) -> u64 {
    trunk.record().summary().protocol_errors
}

#[tokio::test]
async fn a_normal_person_rings_answers_presses_hash_and_hears_the_farewell() {
    for tcp in [false, true] {
        let trunk = trunk().await;
        let mut caller = Caller::to(trunk.address(), tcp).await;
        let mut call = caller.invite("+12025550123", |_| {}).await;
        assert_eq!(call.statuses(&mut caller).await, [100, 180, 200]);
        call.ack(&mut caller).await;
        let keys = call.talk(Tone::Speech, |keys| !keys.is_empty()).await;
        assert_eq!(keys, ["#"]);
        assert_eq!(trunk.live_calls(), 1);
        call.bye(&mut caller).await;
        let line = line(&trunk, "+12025550123").await;
        assert_eq!(
            (line.result, line.ended_by, line.status),
            (CallResult::Answered, EndedBy::Gateway, 200)
        );
        assert_eq!(
            (line.pressed.as_str(), line.codec.as_deref()),
            ("#", Some("PCMU"))
        );
        assert_eq!(
            (line.from.as_str(), line.shown.as_str()),
            ("+18553308653", "+18553308653")
        );
        assert!(
            line.packets_received > 10 && line.packets_lost == 0,
            "{line:?}"
        );
        let stats = trunk.stats();
        assert_eq!(
            (
                stats.counts.invites,
                stats.counts.answered,
                stats.counts.byes,
                stats.counts.live
            ),
            (1, 1, 1, 0)
        );
        assert_eq!((stats.counts.key_to_bye.count(), broken(&trunk)), (1, 0));
        assert!(stats.spacing.count() > 5);
        trunk.stop().await;
    }
}

#[tokio::test]
async fn refusals_are_what_the_number_says() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let cases = [
        ("9020", vec![100, 486], CallResult::Busy),
        ("9022", vec![100, 180, 603], CallResult::Declined),
        ("9027", vec![100, 404], CallResult::Unreachable),
        ("9028", vec![100, 503], CallResult::Refused),
        ("9036", vec![100, 608], CallResult::Blocked),
        ("9037", vec![100, 480], CallResult::TemporarilyUnavailable),
    ];
    for (last, statuses, result) in cases {
        let number = format!("+1202555{last}");
        let mut call = caller.invite(&number, |_| {}).await;
        assert_eq!(call.statuses(&mut caller).await, statuses);
        call.ack(&mut caller).await;
        let line = line(&trunk, &number).await;
        assert_eq!(
            (line.result, line.status),
            (result, *statuses.last().unwrap())
        );
    }
    assert_eq!((trunk.live_calls(), broken(&trunk)), (0, 0));
}

#[tokio::test]
async fn a_call_counts_as_unwritten_until_the_record_has_what_was_heard() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    assert_eq!(trunk.unwritten_calls(), 0);
    let mut call = caller.invite("+12025550123", |_| {}).await;
    assert_eq!(call.statuses(&mut caller).await, [100, 180, 200]);
    call.ack(&mut caller).await;
    call.talk(Tone::Speech, |keys| !keys.is_empty()).await;
    call.bye(&mut caller).await;
    // The BYE is answered before the ear has listened: the signalling knows no call any more.
    assert_eq!((trunk.live_calls(), trunk.unwritten_calls()), (0, 1));
    let written = async {
        while trunk.unwritten_calls() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, written).await.unwrap();
    let lines = trunk.record().lines();
    let calls = lines.iter().filter(|line| line.entry.call().is_some());
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn nobody_answers_until_the_cancel() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call = caller.invite("+12025559021", |_| {}).await;
    assert_eq!(call.status(&mut caller).await, 100);
    assert_eq!(call.status(&mut caller).await, 180);
    call.cancel(&mut caller).await;
    assert_eq!(call.status(&mut caller).await, 487);
    call.ack(&mut caller).await;
    let line = line(&trunk, "+12025559021").await;
    assert_eq!(
        (line.result, line.status, line.ended_by),
        (CallResult::NoAnswer, 487, EndedBy::Gateway)
    );
    assert_eq!(broken(&trunk), 0);
}

#[tokio::test]
async fn keys_come_as_each_person_presses_them() {
    let cases: [(&str, &[&str]); 5] = [
        ("9025", &["5", "#"]),
        ("9030", &["0", "#"]),
        ("9031", &["#"]),
        ("9034", &["#"]),
        ("9026", &["5", "7"]),
    ];
    let trunk = trunk().await;
    for (last, keys) in cases {
        let mut caller = Caller::to(trunk.address(), last == "9034").await;
        let number = format!("+1202555{last}");
        let mut call = caller.invite(&number, |_| {}).await;
        let statuses = call.statuses(&mut caller).await;
        assert_eq!(
            statuses,
            if last == "9034" {
                [100, 183, 200]
            } else {
                [100, 180, 200]
            }
        );
        call.ack(&mut caller).await;
        assert_eq!(
            call.talk(Tone::Speech, |heard| heard.len() >= keys.len())
                .await,
            keys,
            "{last}"
        );
        call.bye(&mut caller).await;
        assert_eq!(line(&trunk, &number).await.pressed, keys.concat());
    }
    assert_eq!(broken(&trunk), 0);
}

#[tokio::test]
async fn digits_in_band_and_by_info() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call = caller.invite("+12025559032", |_| {}).await;
    call.statuses(&mut caller).await;
    assert!(!call.answer_sdp().contains("telephone-event"));
    call.ack(&mut caller).await;
    assert_eq!(
        call.talk(Tone::Speech, |heard| !heard.is_empty()).await,
        ["tones"]
    );
    call.bye(&mut caller).await;

    let mut call = caller.invite("+12025559033", |_| {}).await;
    call.statuses(&mut caller).await;
    call.ack(&mut caller).await;
    let info = call.talk_until_request(&mut caller).await;
    assert!(matches!(&info.start, Start::Request { method, .. } if method == "INFO"));
    assert_eq!(info.first("content-type"), Some("application/dtmf-relay"));
    assert!(String::from_utf8_lossy(&info.body).starts_with("Signal=#\r\n"));
    caller
        .send(info.response(200, None, trunk.address()).end())
        .await;
    call.bye(&mut caller).await;
    assert_eq!(line(&trunk, "+12025559033").await.pressed, "#");

    trunk
        .faults()
        .change(|faults: &mut Faults| faults.inband_digits_only = true);
    let mut call = caller.invite("+12025550777", |_| {}).await;
    call.statuses(&mut caller).await;
    call.ack(&mut caller).await;
    assert_eq!(
        call.talk(Tone::Speech, |heard| !heard.is_empty()).await,
        ["tones"]
    );
    call.bye(&mut caller).await;
}

#[tokio::test]
async fn the_far_end_hangs_up() {
    let trunk = trunk().await;
    for (last, tone) in [("9035", Tone::Speech), ("9029", Tone::Silence)] {
        let mut caller = Caller::to(trunk.address(), false).await;
        let number = format!("+1202555{last}");
        let mut call = caller.invite(&number, |_| {}).await;
        call.statuses(&mut caller).await;
        call.ack(&mut caller).await;
        let bye = call.talk_with(tone, &mut caller).await;
        assert!(matches!(&bye.start, Start::Request { method, .. } if method == "BYE"));
        caller
            .send(bye.response(200, None, trunk.address()).end())
            .await;
        let line = line(&trunk, &number).await;
        assert_eq!(
            (line.ended_by, line.pressed.as_str()),
            (EndedBy::Person, "")
        );
    }
    assert_eq!((trunk.live_calls(), broken(&trunk)), (0, 0));
}

#[tokio::test]
async fn two_forks_answer_and_both_must_be_acked_and_ended() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call = caller.invite("+12025559038", |_| {}).await;
    assert_eq!(call.statuses(&mut caller).await, [100, 180, 200]);
    let first = call.clone();
    assert_eq!(call.status(&mut caller).await, 200);
    let mut second = call;
    assert_ne!(first.to, second.to);
    first.clone().ack(&mut caller).await;
    second.ack(&mut caller).await;
    second.bye(&mut caller).await;
    assert_eq!(trunk.live_calls(), 1);
    first.clone().bye(&mut caller).await;
    assert_eq!(
        line(&trunk, "+12025559038").await.ended_by,
        EndedBy::Gateway
    );
    assert_eq!(
        (
            trunk.live_calls(),
            broken(&trunk),
            trunk.stats().counts.acks
        ),
        (0, 0, 2)
    );
}

#[tokio::test]
async fn credentials_are_asked_for_and_checked() {
    let credentials = Some(("mfa".to_owned(), "secret".to_owned()));
    for proxy_challenge in [false, true] {
        let trunk = Trunk::start(TrunkConfig {
            credentials: credentials.clone(),
            proxy_challenge,
            ..config()
        })
        .await
        .unwrap();
        let mut caller = Caller::to(trunk.address(), false).await;
        let mut call = caller.invite("+12025550123", |_| {}).await;
        assert_eq!(
            call.status(&mut caller).await,
            if proxy_challenge { 407 } else { 401 }
        );
        call.ack(&mut caller).await;
        let wrong = call.authorization("mfa", "guess");
        let mut again = call.again(&mut caller, &wrong).await;
        assert_eq!(again.status(&mut caller).await, 403);
        again.ack(&mut caller).await;
        let right = call.authorization("mfa", "secret");
        let mut again = call.again(&mut caller, &right).await;
        assert_eq!(again.statuses(&mut caller).await, [100, 180, 200]);
        again.ack(&mut caller).await;
        again.bye(&mut caller).await;
        assert_eq!((trunk.stats().counts.answered, broken(&trunk)), (1, 0));
    }
}

#[tokio::test]
async fn the_caller_is_shown_as_the_network_says() {
    let trunk = trunk().await;
    let cases: [(&str, &[&str], &str); 4] = [
        (
            "+12025559020",
            &["P-Asserted-Identity: <sip:+15550001111@gw>"],
            "+15550001111",
        ),
        (
            "+13025559020",
            &["P-Asserted-Identity: <tel:+15550001111>", "Privacy: id"],
            "anonymous",
        ),
        ("+14025559020", &["Privacy: none"], "+18553308653"),
        ("+15025559020", &["X-Strip: 1"], "anonymous"),
    ];
    for (number, headers, shown) in cases {
        trunk
            .faults()
            .change(|faults| faults.strip_caller_id = headers[0].starts_with("X-Strip"));
        let mut caller = Caller::to(trunk.address(), false).await;
        let mut call = caller
            .invite(number, |extra| {
                extra.extend(headers.iter().map(|h| h.to_string()))
            })
            .await;
        call.statuses(&mut caller).await;
        call.ack(&mut caller).await;
        assert_eq!(line(&trunk, number).await.shown, shown);
    }
}

#[tokio::test]
async fn faults_of_the_carrier() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut statuses = Vec::new();
    for change in [
        json!({"throttle": 1.0}),
        json!({"throttle": null, "error": {"often": 1.0, "code": 502}}),
    ] {
        trunk.faults().apply(&change).unwrap();
        let mut call = caller.invite("+12025550123", |_| {}).await;
        statuses.extend(call.statuses(&mut caller).await);
        let retry_after = call.last.first("retry-after").is_some();
        assert_eq!(retry_after, statuses.last() == Some(&503));
        call.ack(&mut caller).await;
    }
    assert_eq!(statuses, [100, 503, 100, 502]);

    trunk
        .faults()
        .apply(&json!({"error": null, "hang_calls": true}))
        .unwrap();
    let mut call = caller.invite("+12025550124", |_| {}).await;
    assert_eq!(call.status(&mut caller).await, 100);
    assert!(caller.nothing_comes(Duration::from_millis(300)).await);

    trunk
        .faults()
        .apply(&json!({"hang_calls": false, "response_delay_ms": 200}))
        .unwrap();
    let begun = std::time::Instant::now();
    let mut call = caller.invite("+12025559020", |_| {}).await;
    assert_eq!(call.statuses(&mut caller).await, [100, 486]);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    call.ack(&mut caller).await;

    trunk
        .faults()
        .apply(&json!({"response_delay_ms": 0, "silent": true}))
        .unwrap();
    caller.invite("+12025550123", |_| {}).await;
    assert!(caller.nothing_comes(Duration::from_millis(300)).await);

    trunk
        .faults()
        .apply(&json!({"silent": false, "down": true}))
        .unwrap();
    assert!(caller.is_refused(LIMIT).await, "the port is closed");
    trunk.faults().apply(&json!({"down": false})).unwrap();
    assert!(caller.is_back(LIMIT).await, "the same port is open again");
}

#[tokio::test]
async fn answers_go_again_until_they_are_acked() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call = caller.invite("+12025550123", |_| {}).await;
    assert_eq!(call.statuses(&mut caller).await, [100, 180, 200]);
    let tag = call.to.clone();
    assert_eq!(call.status(&mut caller).await, 200, "T1 later");
    assert_eq!(call.to, tag);
    // The INVITE again, as if its answers were lost: the answer again, no second call.
    call.repeat(&mut caller).await;
    assert_eq!(call.status(&mut caller).await, 200);
    call.ack(&mut caller).await;
    assert!(caller.nothing_comes(Duration::from_millis(1200)).await);
    call.bye(&mut caller).await;
    assert_eq!((trunk.stats().counts.answered, broken(&trunk)), (1, 0));
    // Nothing of the call is left: another BYE is for a call that does not exist.
    call.bye_as(&mut caller, 481).await;
}

#[tokio::test]
async fn a_gateway_that_breaks_rules_is_told_on() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call = caller.invite("+12025550123", |_| {}).await;
    call.statuses(&mut caller).await;
    call.bye(&mut caller).await;
    caller.send(b"INVITE nonsense\r\n\r\n".to_vec()).await;
    let seen = trunk
        .record()
        .wait_until(LIMIT, |sum| sum.protocol_errors >= 2)
        .await;
    assert!(
        seen.is_some(),
        "a BYE before the ACK, and a malformed message"
    );
}

#[tokio::test]
async fn the_person_hears_the_recordings() {
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../prompts");
    let trunk = Trunk::start(TrunkConfig {
        prompts: Some(prompts.clone()),
        gain_db: -6.0,
        ..config()
    })
    .await
    .unwrap();
    trunk.faults().change(|faults| faults.packet_loss = 0.02);
    let mut caller = Caller::to(trunk.address(), false).await;
    let mut call: Call = caller.invite("+46705550123", |_| {}).await;
    call.statuses(&mut caller).await;
    call.ack(&mut caller).await;
    call.play(
        &prompts.join("sv-SE"),
        &["code-is", "digit-3", "digit-0", "digit-3", "digit-7"],
    )
    .await;
    call.bye(&mut caller).await;
    let line = line(&trunk, "+46705550123").await;
    assert_eq!(line.digits_heard, "3037");
    let names: Vec<_> = line.heard.iter().map(|heard| heard.clip.as_str()).collect();
    assert_eq!(
        names,
        ["code-is", "digit-3", "digit-0", "digit-3", "digit-7"]
    );
    assert!(line.packets_lost > 0);
}

#[tokio::test]
async fn options_and_strange_requests() {
    let trunk = trunk().await;
    let mut caller = Caller::to(trunk.address(), false).await;
    for (method, status) in [
        ("OPTIONS", 200),
        ("REGISTER", 405),
        ("BYE", 481),
        ("INFO", 481),
        ("CANCEL", 481),
    ] {
        let answer: Message = caller.ask(method).await;
        assert_eq!(answer.start, Start::Response { status }, "{method}");
    }
}
