//! The SIP driver through Kamailio, which asks for credentials on every request, the BYE included, and takes each nonce
//! once; the callee behind it is SIPp. The call must be proven at every step, and nothing may be left up at the callee.
//!
//! Needs `kamailio` and `sipp` (Debian: kamailio, sip-tester).

use std::{fs::File, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use ringback::config::carrier::Carry;
use tokio::process::{Child, Command};

use crate::world::{ended, free, listening, root, sipp, story, there};

/// A private folder of the proxy, gone when the test has passed.
fn folder(at: usize) -> PathBuf {
    std::env::temp_dir().join(format!("ringback-kamailio-{}-{at}", std::process::id()))
}

/// A Kamailio before this callee. What it says of each request stands in the file `said` of its folder.
fn kamailio(at: usize, address: SocketAddr, callee: SocketAddr, core: bool) -> Child {
    let folder = folder(at);
    std::fs::create_dir_all(&folder).expect("a directory");
    let said = File::create(folder.join("said")).expect("a file");
    let mut command = Command::new("kamailio");
    command
        .args(["-DD", "-E", "-m", "32", "-M", "8", "-f"])
        .arg(root().join("tests/peers/kamailio/challengers.cfg"))
        .args([
            "-l",
            &format!("udp:{address}"),
            "-A",
            &format!("CALLEE={}", callee.port()),
        ])
        .arg("-Y")
        .arg(&folder)
        .arg("-w")
        .arg(&folder);
    if core {
        command.args(["-A", "CORE"]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .kill_on_drop(true)
        .spawn()
        .expect("kamailio starts")
}

/// How often the proxy said each of these words about a request of this method.
fn said(at: usize, words: &str, method: &str) -> usize {
    let said = std::fs::read_to_string(folder(at).join("said")).expect("what it said");
    said.matches(&format!("{words}: {method} ")).count()
}

/// One call through the proxy: its story, SIPp's exit code.
async fn through(at: usize, scenario: &str, core: bool) -> (String, Option<i32>) {
    let (address, behind) = (free(Carry::Udp), free(Carry::Udp));
    let callee = sipp(at, scenario, Carry::Udp, behind);
    listening(Carry::Udp, behind).await;
    let mut proxy = kamailio(at, address, behind, core);
    listening(Carry::Udp, address).await;
    let (story, driver) = story(at, Carry::Udp, address).await;
    let ended = ended(callee, driver).await;
    // Its main process ends its children when it is asked to.
    if let Some(pid) = proxy.id() {
        let asked = std::process::Command::new("kill")
            .arg(pid.to_string())
            .status();
        assert!(asked.is_ok_and(|status| status.success()));
    }
    let gone = tokio::time::timeout(Duration::from_secs(20), proxy.wait()).await;
    assert!(gone.is_ok(), "kamailio does not end");
    (story, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_asked_for_credentials_reaches_the_callee() {
    if !there("kamailio", "kamailio") || !there("sipp", "sip-tester") {
        return;
    }
    let (story, callee) = through(50, "answer_pound", false).await;
    assert!(story.ends_with("answered, key, Confirmed #"), "{story}");
    // SIPp ends with 0 only when the BYE has come.
    assert_eq!(callee, Some(0), "the callee's call is left up");
    assert_eq!(said(50, "asked by edge", "INVITE"), 1);
    assert_eq!(said(50, "proven", "INVITE"), 1);
    assert_eq!(
        said(50, "asked by edge", "BYE"),
        1,
        "the BYE carried a nonce that was spent"
    );
    assert_eq!(said(50, "proven", "BYE"), 1);
    let _ = std::fs::remove_dir_all(folder(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_challengers_with_nonces_for_one_request_are_both_answered() {
    if !there("kamailio", "kamailio") || !there("sipp", "sip-tester") {
        return;
    }
    let (story, callee) = through(51, "answer_pound", true).await;
    assert!(story.ends_with("answered, key, Confirmed #"), "{story}");
    assert_eq!(callee, Some(0), "the callee's call is left up");
    assert_eq!(said(51, "proven", "INVITE"), 1);
    assert!(said(51, "asked by core", "INVITE") >= 1);
    assert_eq!(said(51, "proven", "BYE"), 1);
    let _ = std::fs::remove_dir_all(folder(51));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_callee_behind_a_challenger_is_busy() {
    if !there("kamailio", "kamailio") || !there("sipp", "sip-tester") {
        return;
    }
    let (story, callee) = through(52, "busy", true).await;
    assert!(story.ends_with("busy StopChannel 486 Busy Here"), "{story}");
    assert_eq!(callee, Some(0));
    let _ = std::fs::remove_dir_all(folder(52));
}
