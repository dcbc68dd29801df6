//! Trunks at their worst beside callers who are well: whoever can be called is called in time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use ringback::challenge::{Challenge, Method};
use tokio::net::UdpSocket;

use crate::{
    carriers::{carriers, until_state},
    health::Log,
    world::{LIMIT, Plan, World, challenge},
};

const TWO_TRUNKS: &str = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n\
                          [[voice]]\ncarrier = \"contoso\"\ncaller_ids = [\"+18553308653\"]\n";

async fn two_trunks(routes: &str) -> World {
    let w = World::with(Plan {
        smsc: vec![],
        trunks: vec!["fabrikam", "contoso"],
        routes: BTreeMap::from([("us", routes.to_owned())]),
        ..Plan::default()
    })
    .await;
    until_state(&w, "fabrikam", "healthy").await;
    until_state(&w, "contoso", "healthy").await;
    w
}

fn call(id: String, number: String) -> Challenge {
    challenge(&id, &number, Method::VoiceConfirm)
}

/// So many of those whom both trunks always tell to come later, and so many others beside them.
const THROTTLED: usize = 24;
const OTHERS: usize = 40;
const PACE: Duration = Duration::from_millis(250);
/// From the job to the key that the person presses.
const WELL_INSIDE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_are_always_told_to_come_later_starve_nobody() {
    let w = two_trunks(TWO_TRUNKS).await;
    for n in 0..THROTTLED {
        // The trunk answers 503 with Retry-After to this number, every time.
        w.send(call(format!("later-{n}"), format!("+1202{}9028", 230 + n)))
            .await;
    }
    let mut others = Vec::new();
    for n in 0..OTHERS {
        let (id, caller) = (format!("other-{n}"), w.caller.clone());
        w.send(call(id.clone(), format!("+1202555{:04}", 100 + n)))
            .await;
        others.push(tokio::spawn(async move {
            let began = Instant::now();
            (caller.last(&id).await, began.elapsed())
        }));
        tokio::time::sleep(PACE).await;
    }
    for other in others {
        let (last, after) = other.await.expect("a final");
        assert_eq!(last["event"], "confirmed", "{last:#}");
        assert!(after < WELL_INSIDE, "{after:?}: {last:#}");
    }
}

const ONE_BEHIND: &str = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n\
                          [[voice]]\ntier = 2\ncarrier = \"contoso\"\ncaller_ids = [\"+18553308653\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_gets_only_what_another_has_refused_is_not_blamed() {
    let w = two_trunks(ONE_BEHIND).await;
    for n in 0..8 {
        let last = w.ask(call(format!("well-{n}"), format!("+1202555{:04}", 100 + n)));
        let last = last.await;
        assert_eq!(last["event"], "confirmed", "{last:#}");
        // Both trunks say 608 to this number.
        let (began, blocked) = (Instant::now(), format!("+1202{}9036", 230 + n));
        let last = w.ask(call(format!("blocked-{n}"), blocked)).await;
        assert_eq!(last["reason"], "blocked_by_operator", "{last:#}");
        assert_eq!(last["attempts"].as_array().map(Vec::len), Some(2));
        assert!(began.elapsed() < WELL_INSIDE, "{:?}", began.elapsed());
    }
    for view in carriers(&w).await {
        assert_eq!((view.state, &*view.reason), ("healthy", ""), "{view:?}");
    }
}

/// A trunk that answers OPTIONS by a status that changes; 0: not at all.
struct Responder {
    at: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Responder {
    async fn start(status: u16) -> Responder {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let responder = Responder {
            at: socket.local_addr().expect("an address"),
            status: Arc::new(AtomicU16::new(status)),
        };
        let status = responder.status.clone();
        tokio::spawn(async move {
            let mut datagram = vec![0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let request = String::from_utf8_lossy(&datagram[..length]).into_owned();
                let answer = answer(&request, status.load(Ordering::SeqCst));
                if let Some(answer) = answer
                    && socket.send_to(answer.as_bytes(), from).await.is_err()
                {
                    return;
                }
            }
        });
        responder
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn world(&self, keys: &str) -> World {
        let at = self.at;
        let file = format!(
            "transport = \"sip\"\nendpoints = [\"udp:{at}\"]\nbind = \"127.0.0.1:0\"\n\
             rtp = {{ address = \"127.0.0.1\", ports = \"30000-39999\" }}\n{keys}\n"
        );
        World::with(Plan {
            smsc: vec![],
            trunks: vec![],
            routes: BTreeMap::from([("us", ONE_TRUNK.to_owned())]),
            files: BTreeMap::from([("carriers/fabrikam.toml", file)]),
            ..Plan::default()
        })
        .await
    }
}

const ONE_TRUNK: &str = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n";

fn answer(request: &str, status: u16) -> Option<String> {
    let status = match request.split(' ').next() {
        Some("OPTIONS") if status != 0 => status,
        // Whoever calls has no right to.
        Some("INVITE") => 403,
        _ => return None,
    };
    let mut answer = format!("SIP/2.0 {status} As it is\r\n");
    for line in request.lines() {
        let copied = ["Via:", "From:", "Call-ID:", "CSeq:"];
        if copied.iter().any(|name| line.starts_with(name)) {
            answer.push_str(&format!("{line}\r\n"));
        } else if line.starts_with("To:") {
            answer.push_str(&format!("{line};tag=far\r\n"));
        }
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    Some(answer)
}

/// What stands at `/admin/carriers` of it.
async fn reason(w: &World) -> String {
    carriers(w).await[0].reason.clone()
}

#[tokio::test]
async fn a_trunk_that_answers_its_probes_by_503_is_not_used_and_its_flapping_floods_no_log() {
    let log = Log::default();
    let _guard = log.record();
    let far = Responder::start(200).await;
    let w = far.world("probe = \"1s\"").await;
    until_state(&w, "fabrikam", "healthy").await;
    for round in 0..3 {
        far.answers(503);
        until_state(&w, "fabrikam", "suspended").await;
        let why = reason(&w).await;
        assert!(
            why.starts_with("unavailable") && why.contains("503"),
            "{why}"
        );
        far.answers(200);
        until_state(&w, "fabrikam", "healthy").await;
        let said = log.lines(&["WARN", "carrier state", "carrier=fabrikam", "503"]);
        assert_eq!(said.len(), 1, "round {round}: {said:#?}");
    }
    let all = log.lines(&["carrier state", "carrier=fabrikam"]);
    assert!(all.len() <= 8, "{all:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_falls_silent_is_found_though_it_may_take_its_time_to_answer() {
    let far = Responder::start(200).await;
    let w = far
        .world("probe = \"1s\"\nresponse_timeout = \"30s\"")
        .await;
    until_state(&w, "fabrikam", "healthy").await;
    far.answers(0);
    let began = Instant::now();
    until_state(&w, "fabrikam", "suspended").await;
    let found = began.elapsed();
    assert!(found < Duration::from_secs(15), "{found:?}");
    let why = reason(&w).await;
    assert!(why.starts_with("probe_unanswered"), "{why}");
    far.answers(200);
    until_state(&w, "fabrikam", "healthy").await;
}

#[tokio::test]
async fn a_link_is_said_to_be_up_only_once_something_has_answered() {
    let log = Log::default();
    let _guard = log.record();
    let far = Responder::start(0).await;
    let w = far.world("probe = \"1s\"").await;
    until_state(&w, "fabrikam", "unproven").await;
    let why = reason(&w).await;
    assert_eq!(why, "nothing has answered yet");
    assert_eq!(log.lines(&["link up"]), Vec::<String>::new());
    far.answers(404);
    until_state(&w, "fabrikam", "healthy").await;
    let began = Instant::now();
    while log
        .lines(&["carrier=fabrikam", "unproven", "healthy", "link up"])
        .len()
        != 1
    {
        assert!(began.elapsed() < LIMIT, "{:#?}", log.lines(&["fabrikam"]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_trunk_that_refuses_our_credentials_is_said_once_with_its_status_and_shown() {
    let log = Log::default();
    let _guard = log.record();
    let far = Responder::start(200).await;
    let w = far.world("probe = \"1s\"").await;
    until_state(&w, "fabrikam", "healthy").await;
    for n in 0..6 {
        w.ask(call(format!("no-{n}"), format!("+1202555{:04}", 100 + n)))
            .await;
    }
    let said = log.lines(&["WARN", "carrier=fabrikam", "403", "credentials"]);
    assert_eq!(said.len(), 1, "{said:#?}");
    let why = reason(&w).await;
    assert!(why.contains("403"), "{why}");
}
