//! When there are no file descriptors left: the true cause, said once, no spin, and service as soon as there are some.

use std::{net::TcpStream, time::Duration};

use crate::{
    process::Process,
    world::{Folder, SENDERS, ask, free_port, settings_file, smpp_file, until},
};

const DESCRIPTORS: u32 = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_without_descriptors_says_so_once_and_waits() {
    let (folder, callbacks, http, admin) = (Folder::new(), free_port(), free_port(), free_port());
    let settings = settings_file(callbacks, "");
    let settings = settings.replacen("127.0.0.1:0", &http.to_string(), 1);
    folder.write(
        "ringback.toml",
        &settings.replacen("127.0.0.1:0", &admin.to_string(), 1),
    );
    // Nobody listens there: it serves all the same.
    folder.write("carriers/northwind.toml", &smpp_file(free_port()));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    folder.write("routes/us.toml", route);
    let gateway = Process::start(&folder, Some(DESCRIPTORS));
    // Without a carrier it serves, and is not ready.
    until("up", async || {
        TcpStream::connect(admin).is_ok() && ask("GET", admin, "/healthz", "").await.status == 200
    })
    .await;

    let crowd: Vec<TcpStream> = (0..DESCRIPTORS * 2)
        .map(|_| TcpStream::connect(http).expect("a place in the backlog"))
        .collect();
    let said = || {
        let log = std::fs::read_to_string(folder.0.join("log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("were not taken"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    until("said", async || !said().is_empty()).await;
    let before = gateway.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = gateway.ticks() - before;
    assert!(spent < 60, "{spent} hundredths of a second in two seconds");
    let lines = said();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("no file descriptor is left"), "{lines:?}");

    drop(crowd);
    until("served again", async || {
        ask("GET", admin, "/healthz", "").await.status == 200
            && ask("GET", http, "/v1/challenges/none", "").await.status == 404
    })
    .await;
}
