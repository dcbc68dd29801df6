//! Codes that came by AMQP leave the gateway's memory with their challenges: those in bodies, in the client library and in the
//! carriers' messages.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    ALONE,
    broker::Broker,
    caller::{Caller, Letter},
    gateway::Gateway,
    jobs::letter,
    search::{code, codes_in_memory},
    town::Town,
};

const CODES: usize = 400;
/// What may be left, in a hundred.
const SHARE: usize = 2;
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_by_amqp_leave_the_memory_when_their_challenges_are_over() {
    let _alone = ALONE.lock().await;
    let Some(broker) = Broker::find() else {
        return;
    };
    let town = Town::build("memory").await;
    let file = town.folder.join("ringback.toml");
    let settings = std::fs::read_to_string(&file).expect("the town's settings");
    let settings = settings.replace("[node]\n", "[node]\ncore_dumps = true\n");
    std::fs::write(&file, settings).expect("a file");
    town.texts[1]
        .faults()
        .change(|faults| faults.receipt_delay_ms = Some(6_000));
    let caller = Caller::start(&broker.url, &town.name).await;
    let gateway = Gateway::start(&town, &broker.url, "warn").await;

    let codes: HashSet<[u8; 8]> = (0..CODES).map(code).collect();
    let letters: Vec<Letter> = (0..CODES)
        .map(|n| {
            let id = format!("m-{n}");
            // Canada: all over one carrier.
            let body = json!({
                "v": 1, "id": id, "to": format!("+1416230{:04}", 1_000 + n),
                "method": "sms_code", "code": String::from_utf8_lossy(&code(n)),
            });
            letter(&id, &body)
        })
        .collect();
    caller.publish(&letters, 400).await;
    let look = || codes_in_memory(gateway.id(), &codes);
    let limit = Instant::now() + LIMIT;
    while look() <= CODES / 2 {
        assert!(Instant::now() < limit, "what is open is not found");
        sleep(LOOK).await;
    }
    let all = |caller: &Caller| caller.ended().0 >= CODES;
    assert!(caller.until(LIMIT, all).await, "{:?}", caller.ended());
    let limit = Instant::now() + LIMIT;
    loop {
        let left = look();
        if left * 100 < CODES * SHARE {
            break;
        }
        assert!(Instant::now() < limit, "{left} of {CODES} are left");
        sleep(LOOK).await;
    }
    assert_eq!(gateway.drain().await, 0);
}
