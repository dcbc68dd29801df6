//! Nothing lost, nothing sent twice: thousands of mixed challenges through a real broker while the gateway is killed,
//! the broker restarted, the gateway drained.

use std::time::Duration;

use crate::{
    ALONE,
    broker::Broker,
    caller::{Caller, Letter},
    gateway::{Gateway, tail, until},
    jobs::{Job, mix},
    town::Town,
    verdict::{self, Law},
};

/// After the last job was published: the longest life of those that end with it, and a slow machine.
const ENDING: Duration = Duration::from_secs(100);
/// Until what was up when the last final came has hung up, and the ear has listened to it.
const HANGING_UP: Duration = Duration::from_secs(60);
/// Until the trunk has read what a gateway said at its end.
const LAST_WORDS: Duration = Duration::from_secs(2);
pub const LOG: &str = "info,lapin=warn";

/// So many challenges, unless the environment wants fewer.
pub fn size(usual: usize) -> usize {
    match std::env::var("RINGBACK_STORM") {
        Ok(text) => text
            .parse::<usize>()
            .expect("RINGBACK_STORM is a number")
            .min(usual),
        Err(_) => usual,
    }
}

pub struct Storm {
    pub broker: Broker,
    pub town: Town,
    pub caller: Caller,
    pub jobs: Vec<Job>,
}

impl Storm {
    pub async fn brew(name: &str, count: usize) -> Option<Storm> {
        let broker = Broker::find()?;
        let town = Town::build(name).await;
        let caller = Caller::start(&broker.url, &town.name).await;
        Some(Storm {
            broker,
            town,
            caller,
            jobs: mix(count),
        })
    }

    async fn gateway(&self) -> Gateway {
        Gateway::start(&self.town, &self.broker.url, LOG).await
    }

    /// Publishes all of it, what is asked for twice a second time at once.
    pub async fn blow(&self, rate: u32) {
        let letters: Vec<Letter> = self
            .jobs
            .iter()
            .flat_map(|job| {
                let twice = job.row.name == "a text, asked for twice";
                vec![job.letter.clone(); 1 + usize::from(twice)]
            })
            .collect();
        self.caller.publish(&letters, rate).await;
    }

    /// Waits until so many have ended.
    pub async fn ended(&self, count: usize) {
        let enough = |c: &Caller| c.ended().0 >= count;
        let came = self.caller.until(ENDING, enough).await;
        assert!(
            came,
            "{} of {count} have ended\n{}\n{}",
            self.caller.ended().0,
            verdict::table(&self.caller, &self.jobs),
            tail(&self.town)
        );
    }

    /// Waits for the end of all, and judges.
    pub async fn judge(&self, law: Law) {
        let all = self.jobs.len();
        self.ended(all).await;
        let copied = |c: &Caller| c.ended().1 >= all;
        let copied = self.caller.until(Duration::from_secs(10), copied).await;
        let written = || self.town.unwritten_calls() == 0;
        until(HANGING_UP, "every call over and written down", written).await;
        let faults = verdict::faults(&self.town, &self.caller, &self.jobs, law);
        let table = verdict::table(&self.caller, &self.jobs);
        let shown: Vec<&str> = faults.iter().take(40).map(String::as_str).collect();
        assert!(
            faults.is_empty() && copied,
            "{} faults, {} of {all} finals on the exchange\n{}\n\n{table}\n\n{}",
            faults.len(),
            self.caller.ended().1,
            shown.join("\n"),
            tail(&self.town)
        );
        let log = crate::gateway::log(&self.town);
        assert!(!log.contains("panicked"), "{}", tail(&self.town));
        println!("{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_mixed_challenges() {
    let _alone = ALONE.lock().await;
    let Some(storm) = Storm::brew("storm", size(10_000)).await else {
        return;
    };
    let gateway = storm.gateway().await;
    storm.blow(500).await;
    storm.judge(Law::Strict).await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&storm.town));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_killed_five_times() {
    let _alone = ALONE.lock().await;
    let Some(storm) = Storm::brew("killed", size(4_000)).await else {
        return;
    };
    let all = storm.jobs.len();
    // Its queues stand before the first job comes.
    let mut gateway = storm.gateway().await;
    let murder = async {
        for n in 1..=5 {
            storm.ended(all * n / 7).await;
            gateway.kill().await;
            gateway = Gateway::launch(&storm.town, &storm.broker.url, LOG);
        }
        gateway
    };
    let ((), mut gateway) = tokio::join!(storm.blow(400), murder);
    gateway.ready(&storm.town).await;
    storm.judge(Law::Killed).await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&storm.town));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_restarted() {
    let _alone = ALONE.lock().await;
    let Some(storm) = Storm::brew("restart", size(3_000)).await else {
        return;
    };
    let gateway = storm.gateway().await;
    let restart = async {
        storm.ended(storm.jobs.len() / 3).await;
        storm.broker.restart().await;
    };
    tokio::join!(storm.blow(300), restart);
    storm.judge(Law::Strict).await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&storm.town));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_drained_and_started_again() {
    let _alone = ALONE.lock().await;
    let Some(storm) = Storm::brew("drained", size(3_000)).await else {
        return;
    };
    let gateway = storm.gateway().await;
    let change = async {
        storm.ended(storm.jobs.len() / 3).await;
        assert_eq!(gateway.drain().await, 0, "{}", tail(&storm.town));
        // Its last words may still lie in the trunk's socket.
        let quiet = || storm.town.live_calls() == 0;
        until(LAST_WORDS, "no call left up by a drain", quiet).await;
        storm.gateway().await
    };
    let ((), gateway) = tokio::join!(storm.blow(300), change);
    storm.judge(Law::Drained).await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&storm.town));
}
