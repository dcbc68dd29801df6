//! Secrets and emptied files, seen from outside: a secret that can't be read takes no link away, and a start with
//! nothing to route by says so.

use std::process::{Command, Output};

use serde_json::json;

use crate::reload::{Process, one_carrier};
use crate::world::{Folder, SENDERS, World, ask, settings_file, smpp_file, text, until};

async fn reload(w: &World) -> (u16, String) {
    let answer = ask("POST", w.running.admin, "/admin/reload", "").await;
    (answer.status, answer.text())
}

async fn delivered(w: &World, id: &str, to: &str) {
    assert_eq!(w.post(&text(id, to)).await.status, 202);
    let names = w.names(id).await;
    assert_eq!(names.last().map(String::as_str), Some("delivered"), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_can_not_be_read_is_refused_and_the_session_stays() {
    let w = World::new("").await;
    let smpp = std::fs::read_to_string(w.folder.0.join("carriers/northwind.toml")).expect("a file");
    w.folder.write("carriers/empty", "\n");
    for (secret, says) in [
        (
            "{ env = \"RINGBACK_NOPE\" }",
            "environment variable RINGBACK_NOPE is not set",
        ),
        ("{ file = \"nowhere\" }", "carriers/nowhere"),
        ("{ file = \"empty\" }", "carriers/empty is empty"),
        ("{ file = \".\" }", "is not a file"),
    ] {
        let with = format!("{smpp}password = {secret}\n");
        w.folder.write("carriers/northwind.toml", &with);
        let (status, said) = reload(&w).await;
        assert_eq!(status, 422, "{secret}: {said}");
        assert!(
            said.contains("carriers/northwind.toml") && said.contains(says),
            "{said}"
        );
    }
    delivered(&w, "n-1", "+12025550123").await;
    // Read as soon as it is there, without a word from anybody.
    let with = format!("{smpp}password = {{ file = \"later\" }}\n");
    w.folder.write("carriers/northwind.toml", &with);
    assert_eq!(reload(&w).await.0, 422);
    w.folder.write("carriers/later", "s3cret\n");
    until("taken", async || {
        w.admin("/readyz").await.json()["detail"] == json!([])
    })
    .await;
    delivered(&w, "n-2", "+12025550124").await;

    // The same for a carrier by HTTP, and for one that is new.
    let http = std::fs::read_to_string(w.folder.0.join("carriers/tailspin.toml")).expect("a file");
    let without = http.replace("../callback.key", "../callback.kez");
    w.folder.write("carriers/tailspin.toml", &without);
    let (status, said) = reload(&w).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("callback.kez"), "{said}");
    delivered(&w, "n-3", "+46701740605").await;
    w.folder.write("carriers/tailspin.toml", &http);
    w.folder.write(
        "carriers/contoso.toml",
        &format!("{smpp}password = {{ env = \"RINGBACK_NOPE\" }}\n"),
    );
    w.folder.write(
        "routes/se.toml",
        "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n[[sms]]\ncarrier = \"contoso\"\nsenders = [\"Ringback\"]\n",
    );
    let (status, said) = reload(&w).await;
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("carriers/contoso.toml"), "{said}");
}

/// A gateway that starts without a carrier's secret runs without it, and lets all else of that carrier change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_never_there_holds_no_other_change_back() {
    let (folder, _smsc) = one_carrier().await;
    let smpp = "transport = \"smpp\"\nendpoints = [\"127.0.0.1:9\"]\nsystem_id = \"mfa\"\npassword = { env = \"RINGBACK_NOPE\" }\n";
    folder.write("carriers/fabrikam.toml", smpp);
    let route = "[[sms]]\ncarrier = \"fabrikam\"\nsenders = [\"Ringback\"]\n";
    folder.write("routes/default.toml", route);
    let p = Process::start(&folder, &[]).await;
    folder.write("carriers/fabrikam.toml", &format!("pace = \"5/s\"\n{smpp}"));
    until("taken", async || {
        p.said(&["configuration changed", "pace", "5/s"]) == 1
    })
    .await;
    assert_eq!(p.said(&["not reloaded"]), 0, "{:#?}", p.lines());
}

fn ringback(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(arguments)
        .arg("--config")
        .arg(folder.0.join("ringback.toml"))
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary runs")
}

#[test]
fn a_start_with_nothing_to_route_by_says_so() {
    let folder = Folder::new();
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    folder.write("ringback.toml", &settings_file(nowhere, ""));
    folder.write("carriers/northwind.toml", &smpp_file(nowhere));
    folder.write("routes/senders.toml", SENDERS);
    let route = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"97671\"]\n";
    folder.write("routes/us.toml", route);
    assert_eq!(ringback(&folder, &["check"]).status.code(), Some(0));

    for (file, text, says) in [
        (
            "routes/default.toml",
            "",
            "routes/default.toml:1: file: is empty",
        ),
        (
            "routes/us.toml",
            "# later\n",
            "routes:1: file: there is no route in it",
        ),
    ] {
        folder.write(file, text);
        let checked = ringback(&folder, &["check"]);
        assert_eq!(checked.status.code(), Some(2), "{file}");
        let ran = ringback(&folder, &["run"]);
        assert_eq!(ran.status.code(), Some(2), "{file}");
        for said in [checked.stdout, ran.stderr] {
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(
                said.contains(says) && said.contains("--allow-empty"),
                "{said}"
            );
        }
        let meant = ringback(&folder, &["check", "--allow-empty"]);
        assert_eq!(meant.status.code(), Some(0), "{file}");
        std::fs::remove_file(folder.0.join(file)).expect("removed");
    }
}
