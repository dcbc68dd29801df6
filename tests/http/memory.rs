//! What a debugger or a dump of the gateway's memory would show: codes while their challenges are open, and next to none
//! once they are over.

use std::collections::HashSet;

use serde_json::json;
use simulators::{
    http_carrier::{HttpCarrier, HttpConfig},
    script::{Faults, Script},
};

use crate::{
    process::Process,
    reload::one_carrier,
    search::{code, codes_in_memory},
    world::{Folder, LIMIT, SENDERS, ask, free_port, http_file},
};

const CODES: usize = 300;
/// What may be left, in a hundred: on stacks, in registers, in buffers that are in use again.
const SHARE: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_leave_the_memory_when_their_challenges_are_over() {
    let (folder, callbacks, http, admin) = (Folder::new(), free_port(), free_port(), free_port());
    let config = HttpConfig {
        name: "tailspin".to_owned(),
        callback: Some(simulators::http_carrier::Callback {
            url: format!("http://{callbacks}/callbacks/tailspin"),
            key: "the callback key".to_owned(),
        }),
        script: Script::new(Faults {
            receipt_delay_ms: Some(8_000),
            ..Faults::default()
        }),
        ..HttpConfig::default()
    };
    let tailspin = HttpCarrier::start(config).await.expect("a carrier");
    folder.write("callback.key", "the callback key");
    folder.write("carriers/tailspin.toml", &http_file(tailspin.address()));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n";
    folder.write("routes/se.toml", route);
    folder.write(
        "ringback.toml",
        &format!(
            "[node]\ncore_dumps = true\n[http]\nlisten = \"{http}\"\n[callbacks]\nlisten = \"{callbacks}\"\n[admin]\nlisten = \"{admin}\"\n"
        ),
    );
    let gateway = Process::start(&folder, None);
    gateway.ready(http, admin).await;

    let codes: HashSet<[u8; 8]> = (0..CODES).map(code).collect();
    assert_eq!(codes.len(), CODES);
    for n in 0..CODES {
        let code = String::from_utf8(code(n).to_vec()).unwrap();
        let job = json!({
            "v": 1, "id": format!("m-{n}"), "to": format!("+4670174{:04}", 605 + n),
            "method": "sms_code", "code": code,
        });
        let answer = ask("POST", http, "/v1/challenges", &job.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let open = codes_in_memory(gateway.0.id(), &codes);
    assert!(open > CODES / 2, "the search finds what is open: {open}");

    for n in 0..CODES {
        let path = format!("/v1/challenges/m-{n}/reports");
        let events = ask("GET", http, &path, "").await.events();
        let last = events.last().expect("a final");
        assert_eq!(last.1, "delivered", "m-{n}");
    }
    let limit = tokio::time::Instant::now() + LIMIT;
    loop {
        let left = codes_in_memory(gateway.0.id(), &codes);
        if left * 100 < CODES * SHARE {
            break;
        }
        let late = tokio::time::Instant::now() > limit;
        assert!(!late, "{left} of {CODES} codes are still in memory");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Soft and hard limit of this process's core files, as the kernel lists them (proc(5)).
fn core_files(process: &str) -> [String; 2] {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("Linux");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let mut values = line.expect("a line").split_whitespace().map(str::to_owned);
    [(); 2].map(|()| values.next().expect("a limit"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_no_core_unless_the_operator_wants_one() {
    let ours = core_files("self");
    for (settings, limits) in [
        ("", ["0".to_owned(), "0".to_owned()]),
        ("core_dumps = true\n", ours),
    ] {
        let (folder, smsc) = one_carrier().await;
        let [http, callbacks, admin] = [(); 3].map(|()| free_port());
        folder.write(
            "ringback.toml",
            &format!(
                "[node]\n{settings}[http]\nlisten = \"{http}\"\n[callbacks]\nlisten = \"{callbacks}\"\n[admin]\nlisten = \"{admin}\"\n"
            ),
        );
        let gateway = Process::start(&folder, None);
        gateway.ready(http, admin).await;
        let pid = gateway.0.id().to_string();
        assert_eq!(core_files(&pid), limits, "{settings:?}");
        // What others of the same user may not read is root's (proc(5), ptrace access mode).
        let owner = |process: &str| {
            let about = std::fs::metadata(format!("/proc/{process}/mem")).expect("Linux");
            std::os::unix::fs::MetadataExt::uid(&about)
        };
        let expected = if settings.is_empty() {
            0
        } else {
            owner("self")
        };
        assert_eq!(owner(&pid), expected, "{settings:?}");
        drop(smsc);
    }
}
