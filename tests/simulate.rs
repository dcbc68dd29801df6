//! `ringback simulate`, run as a newcomer runs it: what phones saw and heard is asserted on, not only what it says
//! of itself.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use serde_json::{Value, json};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringback"))
        .arg("simulate")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// A process that ends with its test, also where that fails.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("the binary starts"))
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let lines = BufReader::new(self.0.stdout.take().expect("a pipe")).lines();
        lines.map(|line| line.expect("UTF-8"))
    }

    /// By SIGTERM.
    fn end(&mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        Command::new("kill").arg(pid).status().expect("SIGTERM");
        self.0.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: all the better.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

fn find<'a>(rows: &'a [Value], title: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["title"] == title)
        .unwrap_or_else(|| panic!("no case {title}"))
}

#[test]
fn the_sample_comes_out_as_it_must() {
    let output = simulate(&["--once", "--json", "--seed", "7"]);
    let rows = objects(&output);
    let wrong: Vec<&Value> = rows
        .iter()
        .filter(|row| row["ok"] == json!(false))
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{wrong:#?}\n{errors}");
    let summary = rows.last().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["seed"], 7);
    assert_eq!(summary["wrong"], 0);
    assert_eq!(summary["challenges"], rows.len() - 1);
    assert!(summary["seconds"].as_f64().expect("seconds") < 60.0);

    for title in [
        "text over SMPP",
        "text over HTTP",
        "text in Swedish",
        "two parts, UCS-2",
    ] {
        let row = find(&rows, title);
        let code = row["code"].as_str().expect("a code");
        let texts = row["phone"].as_array().expect("lines");
        assert_eq!(texts.len(), 1, "{row:#}");
        assert!(
            texts[0]["text"].as_str().expect("a text").contains(code),
            "{row:#}"
        );
    }
    assert_eq!(
        find(&rows, "two parts, UCS-2")["phone"][0]["encoding"],
        "ucs2"
    );
    let canada = find(&rows, "short code of Canada");
    assert!(["759731", "673801"].contains(&canada["phone"][0]["from"].as_str().expect("a sender")));

    for (title, locale) in [
        ("code read, French", "fr-CA"),
        ("code read, German", "de-DE"),
    ] {
        let row = find(&rows, title);
        let call = &row["phone"][0];
        let heard = call["digits_heard"].as_str().expect("digits");
        assert!(
            heard.starts_with(row["code"].as_str().expect("a code")),
            "{row:#}"
        );
        assert_eq!(call["locale"], locale);
        assert!(
            call["shown"]
                .as_str()
                .expect("a caller ID")
                .starts_with('+')
        );
    }

    let hedged = find(&rows, "session lost, hedged");
    let attempts = hedged["reports"]
        .as_array()
        .expect("reports")
        .last()
        .expect("a final")["attempts"]
        .clone();
    assert_eq!(
        (&attempts[0]["in_doubt"], &attempts[1]["hedge"]),
        (&json!(true), &json!(true))
    );
    let falls = find(&rows, "text fails, call follows");
    assert_eq!(falls["phone"][0]["result"], "unread");
    assert_eq!(
        falls["phone"][1]["digits_heard"].as_str().map(|d| &d[..6]),
        falls["code"].as_str()
    );
    assert_eq!(
        find(&rows, "asks 6 times in five minutes")["phone"],
        json!([])
    );
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn load_loses_nothing() {
    let output = simulate(&[
        "--rate",
        "50",
        "--duration",
        "3",
        "--texts",
        "100",
        "--json",
        "--seed",
        "9",
    ]);
    let rows = objects(&output);
    let load = rows.last().expect("totals");
    assert_eq!(output.status.code(), Some(0), "{load:#}");
    assert_eq!(
        (&load["lost"], &load["repeated"], &load["wrong_codes"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert!(load["asked"].as_u64().expect("a count") >= 140, "{load:#}");
    assert_eq!(load["finals"]["delivered"], load["asked"]);
}

#[test]
fn a_usage_fault_is_a_usage_fault() {
    for wrong in [
        &["--rate", "0"][..],
        &["--scenario", "sunshine"],
        &["--duration", "5"],
    ] {
        assert_eq!(simulate(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// Posts one job; the status line comes back.
fn post(jobs: &str, job: &Value) -> String {
    let address = jobs
        .trim_start_matches("http://")
        .split('/')
        .next()
        .expect("an address");
    let body = job.to_string();
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "POST /v1/challenges HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A free port of this machine, until somebody takes it.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port()
}

/// The shipped configuration with ports that are free here, in a folder of its own.
fn shipped_elsewhere() -> std::path::PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder =
        std::env::temp_dir().join(format!("ringback-carriers-only-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    for part in ["routes", "carriers"] {
        std::fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    std::os::unix::fs::symlink(root.join("prompts"), folder.join("prompts")).expect("a link");
    let ports: Vec<(String, String)> = [2775, 2776, 2780, 5080, 5081, 8080, 8081, 8082]
        .iter()
        .map(|port| {
            (
                format!("127.0.0.1:{port}"),
                format!("127.0.0.1:{}", free_port()),
            )
        })
        .collect();
    let put = |path: &str| {
        let mut text = std::fs::read_to_string(root.join(path)).expect("a shipped file");
        for (usual, free) in &ports {
            text = text.replace(usual, free);
        }
        std::fs::write(folder.join(path), text).expect("written");
    };
    put("ringback.toml");
    for part in ["routes", "carriers"] {
        for file in std::fs::read_dir(root.join(part)).expect("a folder") {
            let name = file.expect("a file").file_name();
            put(&format!("{part}/{}", name.to_string_lossy()));
        }
    }
    folder
}

/// The two commands of README, in two terminals: simulated carriers where the configuration looks for them, and the
/// gateway with nothing but the variables that the first has named.
#[test]
fn one_command_starts_what_the_shipped_configuration_needs() {
    let folder = shipped_elsewhere();
    let mut carriers = Running::start(
        Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["simulate", "--carriers-only", "--json"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    let mut said = carriers.lines();
    let ready: Value = serde_json::from_str(&said.next().expect("a line")).expect("an object");
    assert_eq!(
        ready["carriers"],
        json!(["contoso", "fabrikam", "litware", "northwind", "tailspin"])
    );
    let unset = ready["unset"].as_array().expect("names");
    let variables = unset
        .iter()
        .map(|name| (name.as_str().expect("a name"), "example"));
    let mut gateway = Running::start(
        Command::new(env!("CARGO_BIN_EXE_ringback"))
            .arg("run")
            .envs(variables)
            .env("RINGBACK_AMQP_URL", "amqp://127.0.0.1:1")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null()),
    );
    let text = std::fs::read_to_string(folder.join("ringback.toml")).expect("the file");
    let at = |section: &str| {
        let rest = text
            .split(&format!("[{section}]"))
            .nth(1)
            .expect("a section");
        let address = rest.split("listen = \"").nth(1).expect("a key");
        address.split('"').next().expect("an address").to_owned()
    };
    let (http, admin) = (at("http"), at("admin"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let until = |what: &str, address: &str, path: &str, wanted: &dyn Fn(&str) -> bool| loop {
        let answer = get(address, path);
        if wanted(&answer) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {answer}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    until("carriers", &admin, "/admin/carriers", &|answer| {
        answer.matches("\"state\":\"healthy\"").count() == 5
    });
    for (id, to, method) in [
        ("a", "+12025550123", "sms_code"),
        ("b", "+46701740699", "sms_code"),
        ("c", "+12025550124", "voice_confirm"),
        // Rings for ever.
        ("d", "+12025559021", "voice_confirm"),
    ] {
        let job = json!({ "id": id, "to": to, "method": method });
        assert!(post(&format!("http://{http}/"), &job).contains("202"));
    }
    for (id, end) in [("a", "delivered"), ("b", "delivered"), ("c", "confirmed")] {
        until(id, &http, &format!("/v1/challenges/{id}"), &|answer| {
            answer.contains(&format!("\"event\":\"{end}\""))
        });
    }
    // What rings has no outcome yet; what is over has one.
    let path = "/v1/challenges/d";
    until("ringing", &http, path, &|answer| {
        let attempt = &body(answer)["attempts"][0];
        attempt["state"] == "ringing" && attempt.get("outcome").is_none()
    });
    request("DELETE", &http, path);
    until("over", &http, path, &|answer| {
        let attempt = &body(answer)["attempts"][0];
        attempt["outcome"].is_string() && attempt.get("state").is_none()
    });
    for child in [&mut gateway, &mut carriers] {
        assert_eq!(child.end().code(), Some(0));
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// What a GET brings; nothing while nobody listens.
fn get(address: &str, path: &str) -> String {
    request("GET", address, path)
}

fn request(method: &str, address: &str, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let asked = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        // What comes of it is looked at: an answer cut short is no answer.
        let _ = asked.and_then(|()| stream.read_to_string(&mut answer).map(drop));
    }
    answer
}

/// The JSON of an answer; null while there is none.
fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

#[test]
fn a_load_says_where_its_page_is() {
    let mut child = Running::start(
        Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args([
                "simulate",
                "--rate",
                "1",
                "--duration",
                "60",
                "--texts",
                "100",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    let mut said = child.lines();
    let page = said.find_map(|line| {
        line.trim()
            .strip_prefix("page")
            .map(|at| at.trim().to_owned())
    });
    let page = page.expect("its address");
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let answer = get(address, "/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
    assert!(answer.contains("<title>Ringback"), "{page}: {answer}");
    assert!(
        child.end().code().is_some(),
        "by itself, and not by the signal"
    );
}

/// After the sample it shows what others send: each challenge with what its own phone saw and heard, though calls end
/// long after their final reports and several challenges go to one number.
#[test]
fn what_others_send_is_shown_with_what_their_phones_saw() {
    let mut child = Running::start(
        Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["simulate", "--json", "--seed", "11"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    let mut rows = child
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line).expect("one object"));
    let ready = rows.find(|row| row["kind"] == "ready").expect("it stays");
    let jobs = ready["jobs"].as_str().expect("an address");

    let asked = [
        ("call-1", "+46701740611", "voice_code", "271828"),
        ("text-1", "+12025550611", "sms_code", "141421"),
        ("text-2", "+12025550611", "sms_code", "173205"),
        ("call-2", "+12025550612", "voice_code", "223606"),
        ("text-3", "+12025550612", "sms_code", "161803"),
    ];
    for (id, to, method, code) in asked {
        let job = json!({ "id": id, "to": to, "method": method, "code": code });
        let answer = post(jobs, &job);
        assert!(answer.contains("202"), "{id}: {answer}");
    }
    let mut shown = 0;
    while shown < asked.len() {
        let row = rows.next().expect("it goes on");
        let Some((id, _, method, code)) = asked.iter().find(|asked| row["id"] == asked.0) else {
            continue;
        };
        shown += 1;
        let phone = row["phone"].as_array().expect("lines");
        assert_eq!(phone.len(), 1, "{id}: its own line and no other: {row:#}");
        let heard = match *method {
            "sms_code" => phone[0]["text"].as_str(),
            _ => phone[0]["digits_heard"].as_str(),
        };
        assert!(
            heard.is_some_and(|heard| heard.contains(code)),
            "{id}: {row:#}"
        );
    }
    assert_eq!(child.end().code(), Some(0));
}
