//! The bench: a driver with its link up, the simulated trunk opposite, and what was said so far.

use std::{net::SocketAddr, path::Path, time::Duration};

use simulators::{
    record::Call as Seen,
    subscriber::Habits,
    trunk::{Trunk as Sim, TrunkConfig, TrunkHandle},
};
use tokio::{task::JoinHandle, time::timeout};

use super::super::*;
pub use crate::carrier::sip::tests::{CALLER, config, order, peer, sip};
use crate::{
    carrier::{AttemptEvent, CarrierEvent, Link},
    challenge::{AttemptKey, ChallengeKey, Method},
};

pub const LONG: Duration = Duration::from_secs(30);

pub async fn trunk(change: impl FnOnce(&mut TrunkConfig)) -> TrunkHandle {
    let mut config = TrunkConfig {
        ear: false,
        habits: Habits {
            ring: Duration::from_millis(50),
            key_after: Duration::from_millis(300),
            ..Habits::default()
        },
        ..TrunkConfig::default()
    };
    change(&mut config);
    Sim::start(config).await.expect("a trunk")
}

pub fn free_address() -> SocketAddr {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    free.expect("a free port")
}

pub struct Bench {
    pub handle: CallCarrier,
    pub said: mpsc::Receiver<CarrierMessage>,
    pub task: JoinHandle<()>,
    pub next: i64,
    pub log: Vec<(AttemptKey, AttemptEvent)>,
    pub links: Vec<Link>,
    /// What is told of a call is durable at once; else it never is.
    pub records: bool,
}

impl Bench {
    /// A driver whose link is up.
    pub async fn start(config: CarrierConfig) -> Bench {
        Bench::start_after(config, &[]).await
    }

    /// The same, after a life that has left calls up.
    pub async fn start_after(config: CarrierConfig, unterminated: &[CallToEnd]) -> Bench {
        let voices = Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts"))
            .expect("prompts");
        let (tx, said) = mpsc::channel(1_000);
        let (config, voices) = (Arc::new(config), Arc::new(voices));
        // The port of a driver that has just been killed is free a moment later.
        let started = async {
            loop {
                match start(config.clone(), voices.clone(), tx.clone(), unterminated).await {
                    Err(StartError::Bind { .. }) => tokio::task::yield_now().await,
                    started => return started,
                }
            }
        };
        let (handle, task) = timeout(LONG, started)
            .await
            .expect("a free port")
            .expect("a driver");
        drop(tx);
        let mut bench = Bench {
            handle,
            said,
            task,
            next: 0,
            log: Vec::new(),
            links: Vec::new(),
            records: true,
        };
        bench.until(|b| b.links.contains(&Link::Up)).await;
        assert!(bench.handle.slots.get() > 0);
        bench
    }

    pub async fn until(&mut self, mut done: impl FnMut(&Bench) -> bool) {
        while !done(self) {
            let said = timeout(LONG, self.said.recv()).await;
            match said
                .unwrap_or_else(|_| panic!("nothing more is said: {:?}", self.log))
                .expect("a driver")
                .what
            {
                CarrierEvent::Attempt(key, event) => {
                    if let (AttemptEvent::CallState(_, mark), true) = (&event, self.records) {
                        self.command(CallCommand::Recorded(*mark)).await;
                    }
                    self.log.push((key, event));
                }
                CarrierEvent::Link(link) => self.links.push(link),
                CarrierEvent::Incoming(..) => panic!("no texts here"),
            }
        }
    }

    pub async fn call(&mut self, to: &str, method: Method) -> AttemptKey {
        self.call_within(to, method, Duration::from_secs(120)).await
    }

    /// A call with so much of its life left.
    pub async fn call_within(&mut self, to: &str, method: Method, left: Duration) -> AttemptKey {
        self.next += 1;
        let key = AttemptKey {
            challenge: ChallengeKey(self.next),
            attempt: 1,
        };
        let order = order(key, to, method, clock::now() + left);
        self.handle
            .commands
            .send(CallCommand::Submit(Box::new(order)))
            .await
            .expect("a driver");
        key
    }

    pub async fn command(&self, command: CallCommand) {
        self.handle.commands.send(command).await.expect("a driver");
    }

    /// The events of one attempt so far, in short.
    pub fn story(&self, key: AttemptKey) -> Vec<String> {
        let of = self.log.iter().filter(|(k, _)| *k == key);
        of.filter_map(|(_, event)| match event {
            AttemptEvent::Accepted { references } => Some(format!("accepted {}", references.len())),
            AttemptEvent::Ringing => Some("ringing".into()),
            AttemptEvent::Answered => Some("answered".into()),
            AttemptEvent::KeyPressed(_) => Some("key".into()),
            AttemptEvent::CallState(..) | AttemptEvent::CallCleared => None,
            AttemptEvent::CallEnded(end) => Some(format!("{:?} {}", end.outcome, end.digits)),
            AttemptEvent::Failed(f) => Some(format!("{} {:?}", f.cause.name(), f.verdict)),
            AttemptEvent::InDoubt { .. } => Some("in doubt".into()),
        })
        .collect()
    }

    pub fn settled(&self, key: AttemptKey) -> bool {
        self.log.iter().any(|(k, e)| {
            *k == key && matches!(e, AttemptEvent::CallEnded(_) | AttemptEvent::Failed(_))
        })
    }

    pub async fn settle(&mut self, key: AttemptKey) -> String {
        self.until(|b| b.settled(key)).await;
        self.story(key).join(", ")
    }

    pub async fn drained(mut self) {
        self.command(CallCommand::Finish(Finish::Drain)).await;
        self.said.close();
        timeout(LONG, self.task)
            .await
            .expect("drained in time")
            .expect("no panic");
    }
}

pub async fn seen(trunk: &TrunkHandle, to: &str) -> Seen {
    let digits = to.trim_start_matches('+').to_owned();
    let found = |line: &simulators::record::Line| matches!(&line.entry, simulators::record::Entry::Call(call) if call.to.contains(&digits));
    trunk
        .record()
        .wait_for(LONG, found)
        .await
        .expect("the phone saw the call");
    trunk
        .record()
        .calls_to(to)
        .first()
        .cloned()
        .expect("the call")
}
