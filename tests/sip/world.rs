//! One attempt over the SIP driver to a foreign far end: its configuration, its story, and SIPp as the callee.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ringback::{
    carrier::{AttemptEvent, Call, CallCommand, CallOrder, CarrierEvent, Finish, sip},
    challenge::{AttemptKey, ChallengeKey, Method, Millis},
    config::carrier::{
        CarrierConfig, Carry, Codec, Endpoint, Identity, NumberFormat, Redirects, RtpConfig,
        Secret, SipConfig, Tls, Transport,
    },
    message::speech::Catalogue,
    number::Number,
};
use tokio::{
    process::{Child, Command as Process},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

pub const LONG: Duration = Duration::from_secs(40);

/// Is this foreign program there? Fails where it must be, says so where it need not.
pub fn there(program: &str, package: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("RINGBACK_PEERS").is_none(),
            "{program} is missing: apt-get install {package}"
        );
        eprintln!("not run: {program} is missing (apt-get install {package})");
    }
    found
}

/// The story of one call through the driver to the trunk at this address, and the driver, which has been told to end.
pub async fn story(at: usize, carry: Carry, address: SocketAddr) -> (String, JoinHandle<()>) {
    let (tx, mut said) = mpsc::channel(100);
    let voices = Catalogue::load(&root().join("prompts")).expect("prompts");
    let config = Arc::new(config(at, carry, address));
    let (handle, task) = sip::start(config, Arc::new(voices), tx, &[])
        .await
        .expect("a driver");
    handle
        .commands
        .send(CallCommand::Submit(Box::new(order())))
        .await
        .expect("a driver");

    let mut story = Vec::new();
    while let Ok(Some(said)) = timeout(LONG, said.recv()).await {
        let CarrierEvent::Attempt(_, event) = said.what else {
            continue;
        };
        if let AttemptEvent::CallState(_, mark) = event {
            // No ledger here: as if it had answered at once.
            let recorded = handle.commands.send(CallCommand::Recorded(mark)).await;
            recorded.expect("a driver");
        }
        let over = matches!(
            event,
            AttemptEvent::CallEnded(_) | AttemptEvent::Failed(_) | AttemptEvent::InDoubt { .. }
        );
        story.extend(in_short(event));
        if over {
            break;
        }
    }
    handle
        .commands
        .send(CallCommand::Finish(Finish::Drain))
        .await
        .expect("a driver");
    said.close();
    (story.join(", "), task)
}

/// The exit code of a SIPp that has had its call, 0 if it went as its scenario says; then the driver ends. Not before:
/// SIPp takes the end of a TCP connection for a failure as long as its scenario waits.
pub async fn ended(mut sipp: Child, driver: JoinHandle<()>) -> Option<i32> {
    let ended = timeout(LONG, sipp.wait()).await;
    let _ = sipp.kill().await;
    timeout(LONG, driver)
        .await
        .expect("drained in time")
        .expect("no panic");
    ended
        .ok()
        .and_then(Result::ok)
        .and_then(|status| status.code())
}

fn in_short(event: AttemptEvent) -> Option<String> {
    match event {
        AttemptEvent::Accepted { .. } => Some("accepted".into()),
        AttemptEvent::Ringing => Some("ringing".into()),
        AttemptEvent::Answered => Some("answered".into()),
        AttemptEvent::KeyPressed(_) => Some("key".into()),
        AttemptEvent::CallState(..) | AttemptEvent::CallCleared => None,
        AttemptEvent::CallEnded(end) => Some(format!("{:?} {}", end.outcome, end.digits)),
        AttemptEvent::Failed(f) => {
            let code = f
                .carrier_code
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            Some(format!("{} {:?}{code}", f.cause.name(), f.verdict))
        }
        AttemptEvent::InDoubt { .. } => Some("in doubt".into()),
    }
}

pub fn sipp(at: usize, scenario: &str, carry: Carry, address: SocketAddr) -> Child {
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

pub fn free(carry: Carry) -> SocketAddr {
    let address = match carry {
        Carry::Udp => UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()),
        Carry::Tcp | Carry::Tls => {
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())
        }
    };
    address.expect("a free port")
}

/// Waits until the far end holds its port.
pub async fn listening(carry: Carry, address: SocketAddr) {
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
    timeout(LONG, taken).await.expect("the far end listens");
}

pub fn order() -> CallOrder {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    CallOrder {
        key: AttemptKey {
            challenge: ChallengeKey(1),
            attempt: 1,
        },
        to: Number::from_e164("+12025550123").expect("a number"),
        sender: "+18553308653".into(),
        content: Call {
            method: Method::VoiceConfirm,
            locale: "en-US".into(),
            code: None,
            extension: None,
            rules: Arc::default(),
        },
        deadline: Millis(now.as_millis() as i64) + Duration::from_secs(120),
    }
}

pub fn config(at: usize, carry: Carry, address: SocketAddr) -> CarrierConfig {
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

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
