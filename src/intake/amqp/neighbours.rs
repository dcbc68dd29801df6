//! Other gateways on the same broker, each with a ledger of its own.
//!
//! Two that use the same carrier accounts and have no common ledger hurt each other: a receipt may come to the
//! one that didn't send, limits count twice over, and where they take jobs from one exchange a repeated id is known to one
//! of them only. So they must notice: each has a queue of its own at a fanout exchange and says there, now and then, that
//! it lives, where its jobs come from, and which accounts it uses, these as marks. Nothing stays at the broker when they
//! are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Consumer, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Intake;
use crate::broker::{ANSWER, BrokerError, Link, short, within};

/// One gateway, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    v: u8,
    /// Of the process: a restart is no neighbour of its predecessor.
    instance: String,
    node: String,
    /// Where its jobs come from.
    exchange: String,
    /// Marks of its carriers' accounts.
    accounts: Vec<String>,
    /// Which ledger it has, where that is one for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
}

/// Marks of the carriers' accounts in use, and whose they are.
pub type Accounts = BTreeMap<String, Arc<str>>;

/// What two gateways have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    exchange: bool,
    /// Carriers with the same account, by our own names.
    carriers: BTreeSet<Arc<str>>,
}

impl Shared {
    fn between(hello: &Hello, exchange: &str, accounts: &Accounts, ledger: Option<&str>) -> Shared {
        if hello.ledger.is_some() && hello.ledger.as_deref() == ledger {
            // What they have in common stands in their ledger.
            return Shared::default();
        }
        let known = |mark: &String| accounts.get(mark).cloned();
        Shared {
            exchange: hello.exchange == exchange,
            carriers: hello.accounts.iter().filter_map(known).collect(),
        }
    }

    fn is_any(&self) -> bool {
        self.exchange || !self.carriers.is_empty()
    }
}

/// One that was heard.
#[derive(Debug)]
struct Other {
    node: String,
    at: Instant,
    shared: Shared,
}

/// Who was heard, and when. Pure.
#[derive(Debug, Default)]
struct Heard {
    others: BTreeMap<String, Other>,
}

/// What is new about one that was heard.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// Nothing was known of it.
    met: bool,
    /// It has something in common with us that was not known.
    shares: Option<Shared>,
}

impl Heard {
    fn hear(&mut self, hello: Hello, shared: Shared, now: Instant) -> News {
        let known = self.others.get(&hello.instance);
        let news = News {
            met: known.is_none(),
            shares: known
                .is_none_or(|other| other.shared != shared)
                .then(|| shared.clone())
                .filter(Shared::is_any),
        };
        if !news.met || self.others.len() < MOST {
            let node = hello.node;
            let other = Other {
                node,
                at: now,
                shared,
            };
            self.others.insert(hello.instance, other);
        }
        news
    }

    /// The nodes that shared something and have been silent for too long; they are forgotten.
    fn gone(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        self.others.retain(|_, other| {
            let here = now.duration_since(other.at) < SILENT;
            if !here && other.shared.is_any() {
                gone.push(std::mem::take(&mut other.node));
            }
            here
        });
        gone
    }

    /// The nodes that share something.
    fn nodes(&self) -> Vec<String> {
        let others = self.others.values();
        others
            .filter(|other| other.shared.is_any())
            .map(|other| other.node.clone())
            .collect()
    }
}

/// This process among its neighbours; outlives its connections.
pub(super) struct Neighbours {
    instance: String,
    heard: Heard,
    refused: bool,
    /// Connections so far. Each has a queue of its own: a broker that is silent or parted from the others still holds the
    /// one before.
    connections: u64,
}

impl Neighbours {
    pub fn new() -> Neighbours {
        let mut octets = [0; 8];
        // Without a random number two gateways of one name would not notice each other; nothing else hangs on it.
        let _ = SystemRandom::new().fill(&mut octets);
        Neighbours {
            instance: hex::encode(octets),
            heard: Heard::default(),
            refused: false,
            connections: 0,
        }
    }

    /// As long as the connection lasts. It never ends by itself: a gateway that can't look for others works on.
    pub async fn look(&mut self, intake: &Intake, link: &Link) {
        // While there was no connection nobody could be heard.
        for other in self.heard.others.values_mut() {
            other.at = Instant::now();
        }
        if let Err(reason) = self.work(intake, link).await
            && !std::mem::replace(&mut self.refused, true)
        {
            tracing::info!(
                %reason,
                "whether other gateways share the exchange or the carriers' accounts can't be told"
            );
        }
        std::future::pending().await
    }

    async fn work(&mut self, intake: &Intake, link: &Link) -> Result<(), BrokerError> {
        let exchange = short(EXCHANGE);
        let channel = link.channel().await?;
        self.connections += 1;
        let queue = short(&format!(
            "{exchange}.{}.{}",
            self.instance, self.connections
        ));
        let mut hellos = listen(&channel, &exchange, queue).await?;
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => self.say(intake, &channel, &exchange).await?,
                came = hellos.next() => {
                    let came = came.ok_or(BrokerError::ConsumerCancelled)?.map_err(BrokerError::Broken)?;
                    // Answered at once where it is new, so that both know.
                    if self.came(&came.data, intake) {
                        self.say(intake, &channel, &exchange).await?;
                    }
                }
            }
            for node in self.heard.gone(Instant::now()) {
                tracing::warn!(node, "the other gateway is gone");
            }
            intake.status.set_neighbours(self.heard.nodes());
        }
    }

    /// Something was said. True: by one that was not known.
    fn came(&mut self, body: &[u8], intake: &Intake) -> bool {
        let hello = match serde_json::from_slice::<Hello>(body) {
            Ok(hello) if body.len() <= LONGEST && hello.instance != self.instance => hello,
            Ok(_) | Err(_) => return false,
        };
        let (exchange, ledger) = (&intake.amqp.exchange, intake.ledger.common());
        let shared = Shared::between(&hello, exchange, &intake.accounts.borrow(), ledger);
        let node = hello.node.clone();
        let news = self.heard.hear(hello, shared, Instant::now());
        if let Some(shared) = news.shares {
            let carriers: Vec<&str> = shared.carriers.iter().map(|name| &**name).collect();
            tracing::warn!(
                node,
                same_exchange = shared.exchange,
                same_accounts = carriers.join(", "),
                "another gateway with a ledger of its own: where accounts are shared, receipts may reach the wrong one and \
                 limits count twice; where the exchange is, repeats of an id may be sent again"
            );
        }
        news.met
    }

    async fn say(
        &self,
        intake: &Intake,
        channel: &Channel,
        exchange: &ShortString,
    ) -> Result<(), BrokerError> {
        let hello = Hello {
            v: 1,
            instance: self.instance.clone(),
            node: intake.node.to_string(),
            exchange: intake.amqp.exchange.to_string(),
            accounts: intake.accounts.borrow().keys().cloned().collect(),
            ledger: intake.ledger.common().map(str::to_owned),
        };
        // Strings and lists of them: this can't fail.
        let body = serde_json::to_vec(&hello).unwrap_or_default();
        let published = channel.basic_publish(
            exchange.clone(),
            short(""),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default().with_type(short("gateway")),
        );
        within(ANSWER, "telling other gateways", published).await?;
        Ok(())
    }
}

async fn listen(
    channel: &Channel,
    exchange: &ShortString,
    queue: ShortString,
) -> Result<Consumer, BrokerError> {
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    let declared =
        channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, none());
    within(ANSWER, "declaring the exchange of gateways", declared).await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.clone(), options, none());
    within(ANSWER, "declaring a queue for it", declared).await?;
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(queue.clone(), exchange.clone(), short(""), options, none());
    within(ANSWER, "binding it", bound).await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue, short(""), options, none());
    within(ANSWER, "consuming from it", consumed).await
}

/// Where gateways tell of themselves, whatever the exchange of their jobs is called.
const EXCHANGE: &str = "ringback.gateways";
/// What is longer than this no gateway has said.
const LONGEST: usize = 64 * 1024;
/// How often a gateway says that it lives.
const EVERY: Duration = Duration::from_secs(10);
/// Silent for longer, it is gone.
const SILENT: Duration = Duration::from_secs(35);
/// Others remembered.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(instance: &str, exchange: &str, accounts: &[&str]) -> Hello {
        Hello {
            v: 1,
            instance: instance.into(),
            node: format!("node of {instance}"),
            exchange: exchange.into(),
            accounts: accounts.iter().map(|mark| (*mark).to_owned()).collect(),
            ledger: None,
        }
    }

    fn ours() -> Accounts {
        [("m1", "northwind"), ("m2", "northwind"), ("m3", "litware")]
            .map(|(mark, carrier)| (mark.to_owned(), Arc::from(carrier)))
            .into()
    }

    #[test]
    fn one_is_new_once_and_gone_when_it_is_silent() {
        let start = Instant::now();
        let mut heard = Heard::default();
        let hear = |heard: &mut Heard, name: &str, at| {
            let hello = hello(name, "jobs", &[]);
            let shared = Shared::between(&hello, "jobs", &ours(), None);
            let news = heard.hear(hello, shared, at);
            (news.met, news.shares.is_some())
        };
        assert_eq!(hear(&mut heard, "a", start), (true, true));
        assert_eq!(hear(&mut heard, "b", start), (true, true));
        assert_eq!(hear(&mut heard, "a", start + EVERY), (false, false));
        assert_eq!(heard.nodes(), ["node of a", "node of b"]);
        assert!(heard.gone(start + SILENT - EVERY).is_empty());
        assert_eq!(heard.gone(start + SILENT), ["node of b"]);
        assert!(heard.gone(start + SILENT).is_empty());
        assert_eq!(hear(&mut heard, "b", start + SILENT), (true, true));
    }

    #[test]
    fn it_counts_where_the_exchange_or_an_account_is_the_same() {
        let between = |exchange, accounts: &[&str]| {
            Shared::between(&hello("a", exchange, accounts), "jobs", &ours(), None)
        };
        assert!(!between("elsewhere", &["m9"]).is_any());
        assert!(between("jobs", &[]).exchange);
        let shared = between("elsewhere", &["m2", "m1", "m9"]);
        assert!(!shared.exchange);
        assert_eq!(shared.carriers, [Arc::from("northwind")].into());
    }

    #[test]
    fn who_has_the_same_ledger_is_no_stranger() {
        let mut other = hello("a", "jobs", &["m1"]);
        other.ledger = Some("7f".into());
        let shares = |ledger| Shared::between(&other, "jobs", &ours(), ledger).is_any();
        assert!(!shares(Some("7f")));
        assert!(shares(Some("80")) && shares(None));
    }

    /// A reload on either side makes a neighbour of one that was none.
    #[test]
    fn what_comes_to_be_shared_is_news() {
        let start = Instant::now();
        let mut heard = Heard::default();
        let mut hear = |accounts: &[&str]| {
            let hello = hello("a", "elsewhere", accounts);
            let shared = Shared::between(&hello, "jobs", &ours(), None);
            heard
                .hear(hello, shared, start)
                .shares
                .map(|s| s.carriers.len())
        };
        assert_eq!(hear(&[]), None);
        assert_eq!(hear(&["m1"]), Some(1));
        assert_eq!(hear(&["m1"]), None);
        assert_eq!(hear(&["m1", "m3"]), Some(2));
        assert_eq!(hear(&[]), None);
        assert!(heard.nodes().is_empty());
        assert!(heard.gone(start + SILENT).is_empty(), "it was none");
    }

    #[test]
    fn a_crowd_is_bounded() {
        let mut heard = Heard::default();
        for n in 0..2 * MOST {
            let hello = hello(&n.to_string(), "jobs", &[]);
            heard.hear(hello, Shared::default(), Instant::now());
        }
        assert_eq!(heard.others.len(), MOST);
    }
}
