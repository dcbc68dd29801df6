//! Broken configurations, one folder each under `configs/`, with every fault that must be said in `expected`: none
//! missing, none more. And files that no folder in a repository can hold.

use std::{fs, path::Path};

use ringback::config::{Config, ReloadOutcome, Reloader, Weight};

/// What is said about a folder, with its path taken off.
fn said(folder: &Path) -> String {
    let file = folder.join("ringback.toml");
    let faults = match Config::load(&file) {
        Ok(config) => config.warnings,
        Err(faults) => faults,
    };
    let root = format!("{}/", folder.display());
    faults
        .iter()
        .map(|fault| format!("{fault}\n").replace(&root, ""))
        .collect()
}

#[test]
fn every_fault_of_every_broken_configuration_is_said() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut folders: Vec<_> = fs::read_dir(&home)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    folders.sort();
    let mut wrong = String::new();
    for folder in folders.iter().filter(|f| f.is_dir()) {
        let found = said(folder);
        let expected = folder.join("expected");
        if std::env::var_os("RINGBACK_WRITE_EXPECTED").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        if found != fs::read_to_string(&expected).unwrap_or_default() {
            wrong += &format!("--- {}\n{found}", folder.display());
        }
    }
    assert!(
        folders.len() >= 8 && wrong.is_empty(),
        "said otherwise than expected:\n{wrong}"
    );
}

#[test]
fn the_shipped_configuration_has_no_fault() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("ringback.toml");
    let config = Config::load(&file).expect("the shipped configuration");
    assert!(
        config
            .warnings
            .iter()
            .all(|w| w.reason.contains("environment variable"))
    );
    assert_eq!(config.carriers.len(), 5);
    // What the shipped file says is what holds without it.
    let mut without = ringback::config::Settings::in_folder(file.parent().unwrap());
    without.jobs.amqp = config.settings.jobs.amqp.clone();
    assert_eq!(*config.settings, without);
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("ringback-configs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for folder in ["routes", "carriers"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_no_text_is_said_and_never_a_panic() {
    let folder = Folder::new("garbage");
    let put = |name: &str, octets: &[u8]| fs::write(folder.0.join(name), octets).unwrap();
    put("ringback.toml", b"\xef\xbb\xbf[node]\nname = \"gw-2\"\n");
    assert_eq!(
        said(&folder.0),
        "routes:1: file: warning: no route at all: every challenge will be rejected with no_route\n"
    );
    put("ringback.toml", b"[node]\nname = \"\xff\"\n");
    assert_eq!(
        said(&folder.0),
        "ringback.toml:2: file: is not UTF-8 text: save it as UTF-8\n"
    );
    put("ringback.toml", &vec![b'#'; 1024 * 1024 + 1]);
    assert_eq!(
        said(&folder.0),
        "ringback.toml:1: file: is larger than 1024 KiB\n"
    );
    put("ringback.toml", b"");
    fs::create_dir(folder.0.join("carriers/a.toml")).unwrap();
    assert_eq!(
        said(&folder.0),
        "carriers/a.toml:1: file: is not a file, but a folder\n"
    );
    // Random octets, the same ones each time.
    let mut state = 7u32;
    for _ in 0..200 {
        let alphabet = "[]{}=\"'\n#.,abc019 \\u\u{e9}\0".as_bytes();
        let noise: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                alphabet[(state >> 16) as usize % alphabet.len()]
            })
            .collect();
        put("ringback.toml", &noise);
        put("routes/us.toml", &noise);
        assert!(
            Config::load(&folder.0.join("ringback.toml")).is_err(),
            "{noise:?}"
        );
    }
}

#[test]
fn a_fault_is_one_line_with_file_line_and_key() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/settings-wrong-all-over");
    let faults = Config::load(&folder.join("ringback.toml")).unwrap_err();
    assert!(faults.len() >= 20 && faults.iter().all(|f| f.weight == Weight::Fault));
    for fault in &faults {
        let line = fault.to_string();
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
        assert!(
            line.contains(&format!("ringback.toml:{}: {}: ", fault.line, fault.key)),
            "{line}"
        );
    }
}

#[test]
fn a_reload_is_whole_or_nothing_and_says_which_carriers_are_concerned() {
    let folder = Folder::new("reload");
    let put = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
    let smpp = |port: u16| {
        format!(
            "transport = \"smpp\"\nendpoints = [\"127.0.0.1:{port}\"]\nsystem_id = \"mfa\"\npassword = {{ file = \"p\" }}\n"
        )
    };
    let route = |weight: u32| {
        format!("[[sms]]\ncarrier = \"a\"\nsenders = [\"+12025550143\"]\nweight = {weight}\n")
    };
    put("ringback.toml", "");
    put(
        "routes/senders.toml",
        "[[sender]]\nid = \"+12025550143\"\nkind = \"long_code\"\ncountries = \"all\"\n",
    );
    put("routes/default.toml", &route(1));
    put("carriers/p", "first");
    for name in ["a", "b"] {
        put(&format!("carriers/{name}.toml"), &smpp(2775));
    }
    let config = Config::load(&folder.0.join("ringback.toml")).unwrap();
    let mut reloader = Reloader::new(&config);
    assert!(matches!(
        reloader.read(false),
        ReloadOutcome::Unchanged { .. }
    ));
    // Half of a change: nothing is in force, and it is said once.
    put("routes/default.toml", &route(0));
    put("carriers/b.toml", &smpp(2776));
    for expected in [false, true] {
        let ReloadOutcome::Faulty { faults, again } = reloader.read(false) else {
            panic!("taken")
        };
        assert_eq!((faults.len(), again), (1, expected));
    }
    assert_eq!(reloader.config().table, config.table);
    let names = |set: &std::collections::BTreeSet<std::sync::Arc<str>>| {
        set.iter()
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let said = std::cell::RefCell::new(Vec::<String>::new());
    let mut next = || {
        let ReloadOutcome::New(new) = reloader.read(false) else {
            panic!("not taken")
        };
        reloader.in_force(&new.config);
        said.replace(new.changes.iter().map(ToString::to_string).collect());
        let diff = new.diff;
        [&diff.unchanged, &diff.changed, &diff.added, &diff.removed].map(names)
    };
    put("routes/default.toml", &route(7));
    assert_eq!(next(), ["a", "b", "", ""]);
    // A secret alone has changed: both carriers name it.
    put("carriers/p", "second");
    assert_eq!(next(), ["", "a,b", "", ""]);
    let lines = said.take();
    let secret = |line: &String| line.contains("secrets") && !line.contains("second");
    assert!(lines.len() == 2 && lines.iter().all(secret), "{lines:?}");
    put("carriers/c.toml", &smpp(2777));
    fs::remove_file(folder.0.join("carriers/b.toml")).unwrap();
    assert_eq!(next(), ["a", "", "c", "b"]);
    // A drained carrier ends its sessions, and its lines are left out.
    put("carriers/a.toml", &(smpp(2775) + "enabled = false\n"));
    assert_eq!(next(), ["c", "", "", "a"]);
    assert!(
        reloader
            .config()
            .table
            .lines()
            .iter()
            .all(|line| !line.terms.enabled)
    );
}

#[test]
fn brokers_stand_in_their_order_each_with_its_own_tls() {
    let folder = Folder::new("brokers");
    fs::write(
        folder.0.join("ringback.toml"),
        r#"
        [jobs.amqp]
        urls = ["amqps://one.example", { url = "amqps://two.example", tls = { name = "b" } }, { env = "THIRD" }]
        tls = { name = "a" }
        "#,
    )
    .unwrap();
    fs::write(folder.0.join("routes/senders.toml"), "").unwrap();
    let amqp = match Config::load(&folder.0.join("ringback.toml")) {
        Ok(config) => config.settings.jobs.amqp.clone().expect("a broker"),
        Err(faults) => panic!("{faults:?}"),
    };
    let names: Vec<_> = amqp.addresses().map(|a| a.tls.name).collect();
    assert_eq!(
        names,
        [Some("a".into()), Some("b".into()), Some("a".into())]
    );
}
