//! The SIP driver against SIPp as the carrier: a foreign peer, so that a mistake on both of our sides can't cancel out.
//!
//! Needs `sipp` (Debian: sip-tester) and, to play RFC 4733 digits, the right to open raw sockets. Without `sipp` it
//! says so and ends; with RINGBACK_PEERS=required in the environment it fails instead.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ringback::{
    carrier::{Call, Command, Content, Event, Order, What, sip},
    challenge::{AttemptKey, ChallengeKey, Method, Millis},
    config::carrier::{
        CarrierConfig, Carry, Codec, Endpoint, Identity, NumberFormat, Redirects, RtpConfig,
        Secret, SipConfig, Tls, Transport,
    },
    message::speech::Catalogue,
    number::Number,
};
use tokio::{process::Command as Process, sync::mpsc, time::timeout};

const LONG: Duration = Duration::from_secs(40);

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
    if std::process::Command::new("sipp")
        .arg("-v")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        assert!(
            std::env::var_os("RINGBACK_PEERS").is_none(),
            "sipp is missing: apt-get install sip-tester"
        );
        eprintln!("not run: sipp is missing (apt-get install sip-tester)");
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
    let mut sipp = sipp(at, scenario, carry, address);
    listening(carry, address).await;
    let (tx, mut said) = mpsc::channel(100);
    let voices = Catalogue::load(&root().join("prompts")).expect("prompts");
    let config = Arc::new(config(at, carry, address));
    let (handle, task) = sip::start(config, Arc::new(voices), tx, &[])
        .await
        .expect("a driver");
    handle
        .commands
        .send(Command::Submit(Box::new(order())))
        .await
        .expect("a driver");

    let mut story = Vec::new();
    while let Ok(Some(said)) = timeout(LONG, said.recv()).await {
        let What::Attempt(_, event) = said.what else {
            continue;
        };
        if let Event::CallState(_, mark) = event {
            // No ledger here: as if it had answered at once.
            let recorded = handle.commands.send(Command::Recorded(mark)).await;
            recorded.expect("a driver");
        }
        let over = matches!(
            event,
            Event::CallEnded(_) | Event::Failed(_) | Event::InDoubt { .. }
        );
        story.extend(in_short(event));
        if over {
            break;
        }
    }
    handle
        .commands
        .send(Command::Drain)
        .await
        .expect("a driver");
    said.close();
    if scenario == "silent" {
        let _ = sipp.kill().await;
    }
    let ended = timeout(LONG, sipp.wait()).await;
    let _ = sipp.kill().await;
    timeout(LONG, task)
        .await
        .expect("drained in time")
        .expect("no panic");
    (
        story.join(", "),
        ended
            .ok()
            .and_then(Result::ok)
            .and_then(|status| status.code()),
    )
}

fn in_short(event: Event) -> Option<String> {
    match event {
        Event::Accepted { .. } => Some("accepted".into()),
        Event::Ringing => Some("ringing".into()),
        Event::Answered => Some("answered".into()),
        Event::KeyPressed(_) => Some("key".into()),
        Event::CallState(..) | Event::CallCleared => None,
        Event::CallEnded(end) => Some(format!("{:?} {}", end.outcome, end.digits)),
        Event::Failed(f) => {
            let code = f
                .carrier_code
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            Some(format!("{} {:?}{code}", f.cause.name(), f.verdict))
        }
        Event::InDoubt { .. } => Some("in doubt".into()),
    }
}

fn sipp(at: usize, scenario: &str, carry: Carry, address: SocketAddr) -> tokio::process::Child {
    let file = root()
        .join("tests/peers/sipp")
        .join(scenario)
        .with_extension("xml");
    // SIPp writes its logs where it stands.
    let place = std::env::temp_dir().join(format!("ringback-sipp-{}-{at}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a directory");
    Process::new("sipp")
        .arg("-sf")
        .arg(file)
        .args([
            "-i",
            "127.0.0.1",
            "-mi",
            "127.0.0.1",
            "-m",
            "1",
            "-nostdin",
            "-timeout",
            "60s",
            "-timeout_error",
            "-trace_err",
        ])
        .args([
            "-p",
            &address.port().to_string(),
            "-mp",
            &(40_000 + at * 10).to_string(),
        ])
        .args(["-t", if carry == Carry::Tcp { "t1" } else { "u1" }])
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("sipp starts")
}

fn free(carry: Carry) -> SocketAddr {
    let address = match carry {
        Carry::Udp => UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
        Carry::Tcp | Carry::Tls => {
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())
        }
    };
    address.expect("a free port")
}

/// Waits until SIPp holds its port.
async fn listening(carry: Carry, address: SocketAddr) {
    let taken = async {
        loop {
            let taken = match carry {
                Carry::Udp => UdpSocket::bind(address).is_err(),
                Carry::Tcp | Carry::Tls => std::net::TcpListener::bind(address).is_err(),
            };
            if taken {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, taken).await.expect("sipp listens");
}

fn order() -> Order {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    Order {
        key: AttemptKey {
            challenge: ChallengeKey(1),
            attempt: 1,
        },
        to: Number::from_e164("+12025550123").expect("a number"),
        sender: "+18553308653".into(),
        content: Content::Call(Call {
            method: Method::VoiceConfirm,
            locale: "en-US".into(),
            code: None,
            extension: None,
            rules: Arc::default(),
        }),
        deadline: Millis(now.as_millis() as i64) + Duration::from_secs(120),
    }
}

fn config(at: usize, carry: Carry, address: SocketAddr) -> CarrierConfig {
    let password = std::env::temp_dir().join(format!(
        "ringback-sipp-password-{}-{at}",
        std::process::id()
    ));
    std::fs::write(&password, "sesame").expect("a file");
    let first_port = 41_000 + at as u16 * 100;
    CarrierConfig {
        name: "sipp".into(),
        enabled: true,
        transport: Transport::Sip(SipConfig {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            advertised: None,
            allow: Arc::default(),
            redirects: Redirects::Keep,
            rtp: RtpConfig {
                address: Some([127, 0, 0, 1].into()),
                advertised: None,
                allow: Arc::default(),
                symmetric: false,
                first_port,
                last_port: first_port + 99,
            },
            username: Some("mfa".into()),
            password: Some(Secret::File(password)),
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            max_calls: 10,
            ring: Duration::from_secs(3),
            key_wait: Duration::from_secs(5),
            call: LONG,
            farewell: false,
            identity: Identity {
                from: NumberFormat::E164,
                asserted: true,
            },
            number_format: NumberFormat::E164,
        }),
        endpoints: vec![Endpoint {
            carry,
            host: "127.0.0.1".into(),
            port: address.port(),
        }],
        tls: Tls::default(),
        pace: None,
        response_timeout: Duration::from_secs(2),
        receipt_wait: None,
        probe: None,
        status: BTreeMap::new(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
