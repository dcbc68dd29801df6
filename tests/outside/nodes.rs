//! Several gateways on one broker and one database: one may die, freeze or leave at any moment, and nothing is lost, nothing
//! is sent twice, and each challenge is reported once.
//!
//! The database is the one of RINGBACK_TEST_POSTGRES, in a schema of its own; without it these say that they have not run.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::NoTls;

use crate::{
    ALONE,
    gateway::{Gateway, ask, get, log, post, tail},
    storm::{LOG, Storm, size},
    town::Node,
    verdict::Law,
};

/// Longer than a term: others have taken over what a silent node had.
const LONGER_THAN_A_TERM: Duration = Duration::from_secs(15);

struct Database {
    url: String,
    schema: String,
}

impl Database {
    async fn find(name: &str) -> Option<Database> {
        let Ok(url) = std::env::var("RINGBACK_TEST_POSTGRES") else {
            assert!(
                std::env::var_os("RINGBACK_PEERS").is_none(),
                "RINGBACK_TEST_POSTGRES is not set"
            );
            eprintln!("not run: RINGBACK_TEST_POSTGRES is not set");
            return None;
        };
        let schema = format!("outside_{name}_{}", std::process::id());
        let database = Database { url, schema };
        let schema = &database.schema;
        let made = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        database.run(&made).await;
        Some(database)
    }

    async fn run(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls)
            .await
            .expect("the database");
        let driven = tokio::spawn(connection);
        client.batch_execute(sql).await.expect("a statement");
        driven.abort();
    }

    /// What the settings of every node name. The key is worth nothing beyond this test.
    fn secrets(&self) -> [(&'static str, String); 2] {
        let sign = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{sign}options=-csearch_path%3D{}", self.url, self.schema);
        [("LEDGER_URL", url), ("LEDGER_KEY", "5e".repeat(32))]
    }

    async fn drop(self) {
        self.run(&format!("DROP SCHEMA {} CASCADE", self.schema))
            .await;
    }
}

const LEDGER: &str = r#"[ledger]
url = { env = "LEDGER_URL" }
keys = [{ id = "k1", key = { env = "LEDGER_KEY" } }]
"#;

struct Nodes {
    storm: Storm,
    nodes: Vec<Node>,
    database: Database,
}

impl Nodes {
    async fn brew(name: &str, count: usize, nodes: u16) -> Option<Nodes> {
        let database = Database::find(name).await?;
        let storm = Storm::brew(name, count).await?;
        let nodes = (1..=nodes).map(|n| storm.town.node(n, LEDGER));
        Some(Nodes {
            nodes: nodes.collect(),
            storm,
            database,
        })
    }

    fn launch(&self, n: usize) -> Gateway {
        let Nodes { storm, nodes, .. } = self;
        let Node { folder, admin, .. } = &nodes[n];
        let mut env = self.database.secrets().to_vec();
        env.push(("RINGBACK_AMQP_URL", storm.broker.url.clone()));
        Gateway::spawn(&storm.town, folder, *admin, LOG, env)
    }

    async fn start(&self) -> Vec<Gateway> {
        let mut gateways = Vec::new();
        for n in 0..self.nodes.len() {
            let mut gateway = self.launch(n);
            gateway.ready(&self.storm.town).await;
            gateways.push(gateway);
        }
        gateways
    }

    async fn end(self, gateways: Vec<Gateway>) {
        for gateway in gateways {
            let status = gateway.drain().await;
            assert_eq!(status, 0, "{}", tail(&self.storm.town));
        }
        self.database.drop().await;
    }
}

/// One after the other is killed and started again while jobs come: others go on with what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_is_killed_again_and_again() {
    let _alone = ALONE.lock().await;
    let Some(nodes) = Nodes::brew("thrice", size(3_000), 3).await else {
        return;
    };
    let mut gateways = nodes.start().await;
    let storm = &nodes.storm;
    let all = storm.jobs.len();
    let murder = async {
        for n in 0..5 {
            storm.ended(all * (n + 1) / 8).await;
            let victim = gateways.remove(n % gateways.len());
            victim.kill().await;
            // The one that was at this place comes back to it.
            gateways.insert(n % 3, nodes.launch(n % 3));
        }
    };
    tokio::join!(storm.blow(300), murder);
    storm.judge(Law::Lost).await;
    nodes.end(gateways).await;
}

/// A node dies for good: another takes over what it had within a term, and all of it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_had_goes_on_elsewhere() {
    let _alone = ALONE.lock().await;
    let Some(nodes) = Nodes::brew("dead", size(1_000), 2).await else {
        return;
    };
    let mut gateways = nodes.start().await;
    let storm = &nodes.storm;
    let murder = async {
        storm.ended(storm.jobs.len() / 3).await;
        gateways.pop().expect("two").kill().await;
    };
    tokio::join!(storm.blow(200), murder);
    storm.judge(Law::Lost).await;
    assert!(log(&storm.town).contains("a node is no longer there"));
    nodes.end(gateways).await;
}

/// A node is stopped for longer than a term and goes on: it sends and reports nothing of what others have by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_node_that_wakes_sends_nothing_that_others_have() {
    let _alone = ALONE.lock().await;
    let Some(nodes) = Nodes::brew("frozen", size(1_500), 2).await else {
        return;
    };
    let gateways = nodes.start().await;
    let storm = &nodes.storm;
    let frost = async {
        storm.ended(storm.jobs.len() / 4).await;
        gateways[1].signal("-STOP").await;
        tokio::time::sleep(LONGER_THAN_A_TERM).await;
        gateways[1].signal("-CONT").await;
    };
    tokio::join!(storm.blow(200), frost);
    storm.judge(Law::Lost).await;
    let said = log(&storm.town);
    assert!(said.contains("a node is no longer there"), "{said}");
    assert!(said.contains("was not heard of for a whole term"), "{said}");
    nodes.end(gateways).await;
}

/// One is drained while jobs come: what it has open goes on at the other at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_leaves_and_the_other_goes_on() {
    let _alone = ALONE.lock().await;
    let Some(nodes) = Nodes::brew("leaves", size(1_500), 2).await else {
        return;
    };
    let mut gateways = nodes.start().await;
    let storm = &nodes.storm;
    let leaving = async {
        storm.ended(storm.jobs.len() / 3).await;
        let status = gateways.pop().expect("two").drain().await;
        assert_eq!(status, 0, "{}", tail(&storm.town));
    };
    tokio::join!(storm.blow(200), leaving);
    storm.judge(Law::Drained).await;
    nodes.end(gateways).await;
}

/// What is asked by HTTP at one node is known at the other: the same id again, its state, its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_known_and_cancelled_at_every_node() {
    let _alone = ALONE.lock().await;
    let Some(nodes) = Nodes::brew("doors", 0, 2).await else {
        return;
    };
    let gateways = nodes.start().await;
    let storm = &nodes.storm;
    let [here, there] = [nodes.nodes[0].http, nodes.nodes[1].http];
    // To a phone whose receipt never comes.
    let body = json!({
        "id": "asked-here", "to": "+14255559002", "method": "sms_code", "code": "482913", "lifetime_s": 60
    });
    let body = body.to_string();
    let path = "/v1/challenges";
    let taken = post(here, path, body.as_bytes()).await.expect("an answer");
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    let again = post(there, path, body.as_bytes()).await.expect("an answer");
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    let path = "/v1/challenges/asked-here";
    let seen = get(there, path).await.expect("an answer");
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    let request = format!("DELETE {path} HTTP/1.1\r\nHost: {there}\r\nConnection: close\r\n\r\n");
    let asked = tokio::time::Instant::now();
    let cancelled = ask(there, request.as_bytes()).await.expect("an answer");
    assert!(cancelled.starts_with("HTTP/1.1 202"), "{cancelled}");
    loop {
        let seen = get(here, path).await.expect("an answer");
        if seen.contains("\"cancelled\"") {
            break;
        }
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{seen}\n{}",
            tail(&storm.town)
        );
    }
    println!("cancelled after {} ms", asked.elapsed().as_millis());
    nodes.end(gateways).await;
}
