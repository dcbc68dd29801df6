//! A driver on a simulated SMSC, and what it says.

use simulators::{
    script::Faults,
    smsc::{Smsc, SmscConfig, SmscHandle},
};

use super::super::*;
use crate::{
    carrier::{AttemptEvent, Incoming, Link, Receipt, Text},
    cause::{Cause, Failure},
    challenge::{AttemptKey, ChallengeKey, Millis},
    config::carrier::{Carry, Endpoint, ReceiptId, Tls},
    number::Number,
};

pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Rig {
    pub handle: TextCarrier,
    pub said: mpsc::Receiver<CarrierMessage>,
    /// What was said and not asked for yet.
    pub heard: Vec<CarrierEvent>,
}

pub struct Setting {
    pub binds: u32,
    pub window: u32,
    pub response_timeout: Duration,
    pub receipt_id: ReceiptId,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            binds: 1,
            window: 10,
            response_timeout: Duration::from_secs(5),
            receipt_id: ReceiptId::Auto,
        }
    }
}

pub fn config(ports: &[u16], setting: &Setting) -> Arc<CarrierConfig> {
    let endpoint = |port: &u16| Endpoint {
        carry: Carry::Tcp,
        host: "127.0.0.1".into(),
        port: *port,
    };
    Arc::new(CarrierConfig {
        name: "northwind".into(),
        enabled: true,
        transport: Transport::Smpp(SmppConfig {
            system_id: "mfa".into(),
            password: None,
            system_type: "".into(),
            binds: setting.binds,
            window: setting.window,
            receipt_id: setting.receipt_id,
        }),
        endpoints: ports.iter().map(endpoint).collect(),
        tls: Tls::default(),
        pace: None,
        response_timeout: setting.response_timeout,
        receipt_wait: None,
        probe: Some(Duration::from_secs(30)),
        status: [("0x0414".into(), Cause::BlockedByOperator)].into(),
    })
}

pub async fn smsc(faults: Faults) -> SmscHandle {
    let config = SmscConfig {
        name: "northwind".into(),
        credentials: Some(("mfa".into(), "".into())),
        ..SmscConfig::default()
    };
    let smsc = Smsc::start(config).await.unwrap();
    smsc.faults().set(faults);
    smsc
}

pub fn rig(ports: &[u16], setting: Setting) -> Rig {
    let (to_dispatch, said) = mpsc::channel(crate::carrier::SAID);
    Rig {
        handle: start(config(ports, &setting), to_dispatch),
        said,
        heard: Vec::new(),
    }
}

pub async fn bound(smsc: &SmscHandle, setting: Setting) -> Rig {
    let binds = setting.binds;
    let mut rig = rig(&[smsc.address().port()], setting);
    rig.link(&Link::Up).await;
    for _ in 1..binds {
        rig.link(&Link::Room).await;
    }
    rig
}

pub fn wall() -> Millis {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Millis(now.as_millis() as i64)
}

pub fn key(n: i64) -> AttemptKey {
    AttemptKey {
        challenge: ChallengeKey(n),
        attempt: 1,
    }
}

pub fn phone(n: i64) -> String {
    format!("+120255{:05}", n % 9_000 + 10_000)
}

impl Rig {
    pub fn submit(&self, n: i64, body: &str) {
        self.submit_until(n, body, wall() + Duration::from_secs(180));
    }

    pub fn submit_until(&self, n: i64, body: &str, deadline: Millis) {
        let order = TextOrder {
            key: key(n),
            to: Number::from_e164(&phone(n)).unwrap(),
            sender: "97671".into(),
            content: Text { body: body.into() },
            deadline,
        };
        self.handle
            .commands
            .try_send(TextCommand::Submit(Box::new(order)))
            .unwrap();
    }

    /// The first thing said, past or to come, that `wanted` takes; it is taken out.
    pub async fn wait<T>(&mut self, wanted: impl Fn(&CarrierEvent) -> Option<T>) -> T {
        let looking = async {
            let mut at = 0;
            loop {
                while at < self.heard.len() {
                    if let Some(found) = wanted(&self.heard[at]) {
                        self.heard.remove(at);
                        return found;
                    }
                    at += 1;
                }
                let said = self.said.recv().await.expect("the driver has ended");
                self.heard.push(said.what.taken());
            }
        };
        tokio::time::timeout(LIMIT, looking)
            .await
            .expect("nothing of the kind was said")
    }

    pub async fn link(&mut self, link: &Link) {
        self.wait(|what| matches!(what, CarrierEvent::Link(l) if l == link).then_some(()))
            .await;
    }

    pub async fn down(&mut self) -> String {
        let down = |what: &CarrierEvent| match what {
            CarrierEvent::Link(Link::Down { reason }) => Some(reason.to_string()),
            _ => None,
        };
        self.wait(down).await
    }

    pub async fn event(&mut self, n: i64) -> AttemptEvent {
        let of_it = |what: &CarrierEvent| match what {
            CarrierEvent::Attempt(k, event) if *k == key(n) => Some(event.clone()),
            _ => None,
        };
        self.wait(of_it).await
    }

    pub async fn accepted(&mut self, n: i64) -> Vec<Arc<str>> {
        match self.event(n).await {
            AttemptEvent::Accepted { references } => references,
            other => panic!("{other:?}"),
        }
    }

    pub async fn failed(&mut self, n: i64) -> Failure {
        match self.event(n).await {
            AttemptEvent::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub async fn receipt(&mut self) -> Receipt {
        let receipt = |what: &CarrierEvent| match what {
            CarrierEvent::Incoming(Incoming::Receipt(receipt), _) => Some(receipt.clone()),
            _ => None,
        };
        self.wait(receipt).await
    }
}
