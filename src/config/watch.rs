//! Says when the files of the configuration have changed: by the system's word where it gives one, and by looking
//! again every few seconds in any case.
//!
//! What counts is not the event but the look: name, length, time and place of every file. So an editor's rename, a
//! ConfigMap whose `..data` link swings over, and a lost event all come out the same. A half-written file is waited
//! for: the word is given only when nothing has moved for a moment, and for longer where a file is shorter than it
//! was (an editor that truncates, a copy in place). What the files say is not known here; a set that is found faulty
//! stays out of force (`reload`), and its completion is the next change.
//!
//! Secrets and certificates are looked at wherever they stand. Which ones there are, the configuration in force says
//! ([`Follow`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::{mpsc, watch as latest},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::Config;

/// How often the files are looked at without a word from the system.
pub const POLL: Duration = Duration::from_secs(2);
/// Nothing must have moved for so long.
pub const SETTLE: Duration = Duration::from_millis(200);
/// However much moves, the word is given after so long.
const SETTLE_MOST: Duration = Duration::from_secs(3);
/// The same two where a file has become shorter, or is gone: it is perhaps half of what it will be.
pub const SETTLE_SHRUNK: Duration = Duration::from_secs(1);
const SETTLE_SHRUNK_MOST: Duration = Duration::from_secs(10);
/// Looks that are waiting: one is as good as many.
const NUDGES: usize = 1;

/// The files have changed and have come to rest: time to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed;

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Changed>,
    places: Arc<latest::Sender<Places>>,
    task: JoinHandle<()>,
}

/// Where a watch is told which files there are to look at now.
#[derive(Clone, Debug)]
pub struct Follow(Arc<latest::Sender<Places>>);

impl Follow {
    /// This configuration is in force. Files that are new to the watch count as a change: nobody knows how they looked when
    /// they were read.
    pub fn follow(&self, config: &Config) {
        let places = Places::of(config);
        self.0.send_if_modified(|now| {
            let other = *now != places;
            *now = places;
            other
        });
    }
}

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// All TOML files in them.
    folders: Vec<PathBuf>,
    /// One file, wherever it stands.
    file: Option<PathBuf>,
    /// Recordings, in a folder of each locale.
    prompts: Option<PathBuf>,
    /// Secrets and certificates, wherever they stand.
    secrets: BTreeSet<PathBuf>,
}

impl Places {
    pub fn of(config: &Config) -> Places {
        let paths = &config.settings.paths;
        Places {
            folders: vec![paths.routes.clone(), paths.carriers.clone()],
            file: Some(config.file.clone()),
            prompts: Some(paths.prompts.clone()),
            secrets: config.secret_files(),
        }
    }

    /// Where the system is asked for its word.
    fn folders(&self) -> BTreeSet<&Path> {
        let files = self.file.iter().chain(&self.secrets);
        let folders = self.folders.iter().map(PathBuf::as_path);
        folders.chain(files.map(|file| folder_of(file))).collect()
    }

    /// Can it be one of ours, or the link that a ConfigMap swings over? A database in the same folder is written all the
    /// time.
    fn concerns(&self, path: &Path) -> bool {
        let name = path.file_name();
        path.extension().is_none_or(|e| e == "toml")
            || name.is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
            || self.secrets.iter().any(|secret| secret.file_name() == name)
    }
}

impl Watch {
    /// Watches the configuration's file, the folders of routes, carriers and recordings, and the secrets that are named.
    /// Must be called within tokio's runtime.
    pub fn start(config: &Config) -> Watch {
        Watch::places(Places::of(config), POLL)
    }

    /// Watches these folders, looking by itself every `poll`.
    pub fn folders(folders: Vec<PathBuf>, poll: Duration) -> Watch {
        let places = Places {
            folders,
            ..Places::default()
        };
        Watch::places(places, poll)
    }

    fn places(places: Places, poll: Duration) -> Watch {
        let (said, changes) = mpsc::channel(NUDGES);
        // The first look is taken before the return: what changes from now on is a change.
        let first = look(&places);
        let (sender, places) = latest::channel(places);
        Watch {
            changes,
            places: Arc::new(sender),
            task: tokio::spawn(watch(places, first, poll, said)),
        }
    }

    /// For whoever knows which configuration is in force.
    pub fn follow(&self) -> Follow {
        Follow(self.places.clone())
    }

    /// The next change.
    pub async fn changed(&mut self) -> Option<Changed> {
        self.changes.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    mut follow: latest::Receiver<Places>,
    mut seen: Look,
    poll: Duration,
    said: mpsc::Sender<Changed>,
) {
    let mut full = Full::default();
    full.note(&seen);
    let (nudge, mut nudged) = mpsc::channel(NUDGES);
    let mut places = follow.borrow_and_update().clone();
    let mut blind = BTreeSet::new();
    // Held for its life; without one (no inotify left), looking again must do.
    let mut _watcher = watcher(&places, nudge.clone(), &mut blind);
    let mut tick = tokio::time::interval(poll);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = nudged.recv() => {}
            told = follow.changed() => {
                // Whoever could tell is gone: so is whoever would be told.
                if told.is_err() {
                    return;
                }
                places = follow.borrow_and_update().clone();
                _watcher = watcher(&places, nudge.clone(), &mut blind);
            }
        }
        let Some(now) = look_aside(&places).await else {
            continue;
        };
        if now == seen {
            continue;
        }
        seen = settle(|now| full.is_less(&seen, now), now, || look_aside(&places)).await;
        full.note(&seen);
        if said.send(Changed).await.is_err() {
            return;
        }
    }
}

/// Looks until nothing moves any more, or for as long as is waited at most. Gives the last look.
/// `is_less`: something may be half of what it will be.
async fn settle<F, Looking>(is_less: impl Fn(&Look) -> bool, mut now: Look, mut look: F) -> Look
where
    F: FnMut() -> Looking,
    Looking: Future<Output = Option<Look>>,
{
    let begun = Instant::now();
    let mut moved = begun;
    loop {
        let (still, most) = match is_less(&now) {
            true => (SETTLE_SHRUNK, SETTLE_SHRUNK_MOST),
            false => (SETTLE, SETTLE_MOST),
        };
        if moved.elapsed() >= still || begun.elapsed() >= most {
            return now;
        }
        tokio::time::sleep(SETTLE).await;
        match look().await {
            Some(next) if next != now => (now, moved) = (next, Instant::now()),
            Some(_) => {}
            None => return now,
        }
    }
}

/// How long each file was when something stood in it.
#[derive(Default)]
struct Full(BTreeMap<PathBuf, u64>);

impl Full {
    /// One that has been emptied, or has gone, is measured by what it was: it is perhaps about to be written again.
    fn note(&mut self, look: &Look) {
        for (file, (length, ..)) in look.iter().filter(|(_, (length, ..))| *length > 0) {
            self.0.insert(file.clone(), *length);
        }
    }

    /// Is some file shorter than it was, or gone since it was last seen?
    fn is_less(&self, seen: &Look, now: &Look) -> bool {
        let mut files = now.iter();
        let shorter =
            files.any(|(file, (length, ..))| self.0.get(file).is_some_and(|l| length < l));
        shorter || seen.keys().any(|file| !now.contains_key(file))
    }
}

/// `blind`: folders of which the system tells nothing, each said once.
fn watcher(
    places: &Places,
    nudge: mpsc::Sender<()>,
    blind: &mut BTreeSet<PathBuf>,
) -> Option<RecommendedWatcher> {
    let ours = places.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        // That somebody reads is no change; our own looks would call for the next look.
        let only_read = |kind: EventKind| match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            kind => kind.is_access(),
        };
        let told = |event: notify::Event| {
            only_read(event.kind)
                || !event.paths.is_empty() && !event.paths.iter().any(|p| ours.concerns(p))
        };
        if event.is_ok_and(told) {
            return;
        }
        // Full: a look is coming anyway.
        let _ = nudge.try_send(());
    };
    let mut watcher = notify::recommended_watcher(handler)
        .inspect_err(|e| tracing::warn!(error = %e, "no word from the system on changed files; looking every few seconds"))
        .ok()?;
    for folder in places.folders() {
        if let Err(e) = watcher.watch(folder, RecursiveMode::NonRecursive)
            && blind.insert(folder.to_path_buf())
        {
            tracing::warn!(folder = %folder.display(), error = %e, "this folder is looked at every few seconds only");
        }
    }
    Some(watcher)
}

/// What the files of the folders look like from outside. Links are followed.
pub(crate) type Look = BTreeMap<PathBuf, (u64, Option<SystemTime>, u64)>;

async fn look_aside(places: &Places) -> Option<Look> {
    let places = places.clone();
    // None only while the runtime is ending.
    tokio::task::spawn_blocking(move || look(&places))
        .await
        .ok()
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(super) fn look(places: &Places) -> Look {
    let files = places
        .folders
        .iter()
        .flat_map(|folder| within(folder, "toml"));
    let files = files.chain(places.file.clone());
    let mut found = look_at(files.chain(places.secrets.iter().cloned()));
    if let Some(prompts) = &places.prompts {
        found.append(&mut recordings(prompts));
    }
    found
}

/// How the recordings look: they are read when they are another set.
pub(super) fn recordings(prompts: &Path) -> Look {
    let locales = fs::read_dir(prompts).into_iter().flatten();
    let locales = locales.filter_map(Result::ok).map(|entry| entry.path());
    look_at(locales.flat_map(|locale| within(&locale, "wav")))
}

/// The files of a folder that end so.
fn within(folder: &Path, extension: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(move |path| path.extension().is_some_and(|e| e == extension))
}

fn look_at(files: impl Iterator<Item = PathBuf>) -> Look {
    files
        .filter_map(|path| {
            let about = fs::metadata(&path).ok()?;
            let place = inode(&about);
            Some((path, (about.len(), about.modified().ok(), place)))
        })
        .collect()
}

#[cfg(unix)]
fn inode(about: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any watch takes on a busy machine.
    const LONG: Duration = Duration::from_secs(20);

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("ringback-watch-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn says(watch: &mut Watch) -> bool {
        matches!(
            tokio::time::timeout(LONG, watch.changed()).await,
            Ok(Some(Changed))
        )
    }

    #[tokio::test]
    async fn a_written_and_a_renamed_file_are_seen_by_the_systems_word() {
        let folder = Folder::new("rename");
        folder.write("us.toml", "a");
        // So long a poll that only the system's word can bring the news in time.
        let mut watch = Watch::folders(vec![folder.0.clone()], Duration::from_secs(3600));
        // The interval's first tick is at once: let it pass, so that it can't be the one that looks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        folder.write("us.toml", "ab");
        assert!(says(&mut watch).await);
        folder.write(".us.toml.swp", "abc");
        fs::rename(folder.0.join(".us.toml.swp"), folder.0.join("us.toml")).unwrap();
        assert!(says(&mut watch).await);
        fs::remove_file(folder.0.join("us.toml")).unwrap();
        assert!(says(&mut watch).await);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_config_maps_link_that_swings_over_is_seen() {
        use std::os::unix::fs::symlink;
        let folder = Folder::new("configmap");
        let at = |name: &str| folder.0.join(name);
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir_all(at(version)).unwrap();
            folder.write(&format!("{version}/us.toml"), text);
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/us.toml", at("us.toml")).unwrap();
        let mut watch = Watch::folders(vec![folder.0.clone()], Duration::from_millis(100));
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(says(&mut watch).await);
        assert_eq!(fs::read_to_string(at("us.toml")).unwrap(), "new");
    }

    /// A folder with one file of this length.
    fn of_length(length: u64) -> Look {
        Look::from([(PathBuf::from("us.toml"), (length, None, 0))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_still_being_written_is_waited_for() {
        let start = Instant::now();
        let mut length = 1;
        let last = settle(
            |_| false,
            of_length(1),
            || {
                length = (length + 1).min(5);
                std::future::ready(Some(of_length(length)))
            },
        );
        assert_eq!(last.await, of_length(5));
        assert_eq!(start.elapsed(), SETTLE * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_never_rests_is_not_waited_for_for_ever() {
        let start = Instant::now();
        let mut length = 0;
        settle(
            |_| false,
            of_length(0),
            || {
                length += 1;
                std::future::ready(Some(of_length(length)))
            },
        )
        .await;
        assert!(start.elapsed() >= SETTLE_MOST && start.elapsed() <= SETTLE_MOST + SETTLE);
    }

    /// How long it takes until something is told, for files that were seen so and then look so as time goes by (ms).
    async fn settled(full: &Full, seen: &Look, then: impl Fn(u128) -> Look) -> (Look, Duration) {
        let start = Instant::now();
        let last = settle(
            |now| full.is_less(seen, now),
            then(0),
            || std::future::ready(Some(then(start.elapsed().as_millis()))),
        );
        (last.await, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_has_shrunk_is_waited_for_a_second() {
        let mut full = Full::default();
        let before = of_length(100);
        full.note(&before);
        // A copy in place: cut off, then written in two strokes with a pause between.
        let copied = |ms| match ms {
            0..500 => of_length(0),
            500..1_300 => of_length(40),
            _ => of_length(90),
        };
        let (last, took) = settled(&full, &before, copied).await;
        assert_eq!(last, of_length(90));
        assert!(took >= Duration::from_millis(2_300), "{took:?}");
        // Longer than before, or as long: written whole.
        let whole = |ms| of_length(if ms == 0 { 0 } else { 100 });
        assert_eq!(settled(&full, &before, whole).await.1, SETTLE * 2);
        // One that is gone is missed for as long.
        let (_, took) = settled(&full, &before, |_| Look::default()).await;
        assert_eq!(took, SETTLE_SHRUNK);
        // It was empty for long, and what comes now is still shorter than it was.
        full.note(&of_length(0));
        let (last, _) = settled(&full, &of_length(0), |ms| {
            of_length(if ms < 900 { 40 } else { 100 })
        })
        .await;
        assert_eq!(last, of_length(100));
    }

    #[tokio::test]
    async fn the_file_of_the_settings_is_seen_too() {
        let folder = Folder::new("settings");
        folder.write("ringback.toml", "a");
        let places = Places {
            file: Some(folder.0.join("ringback.toml")),
            ..Places::default()
        };
        let mut watch = Watch::places(places, Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(50)).await;
        folder.write("ringback.toml", "ab");
        assert!(says(&mut watch).await);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_secret_is_followed_wherever_it_stands_and_through_its_links() {
        use std::os::unix::fs::symlink;
        let (ours, theirs) = (Folder::new("named"), Folder::new("secrets"));
        ours.write("us.toml", "a");
        let at = |name: &str| theirs.0.join(name);
        for version in ["..1", "..2"] {
            fs::create_dir_all(at(version)).unwrap();
            theirs.write(&format!("{version}/token"), version);
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/token", at("token")).unwrap();
        let places = Places {
            folders: vec![ours.0.clone()],
            ..Places::default()
        };
        // Only the system's word can bring the news in time.
        let mut watch = Watch::places(places.clone(), Duration::from_secs(3600));
        let named = Places {
            secrets: BTreeSet::from([at("token")]),
            ..places
        };
        // From now on it is named: how it looked when it was read, nobody knows.
        watch.follow().0.send_replace(named);
        assert!(says(&mut watch).await);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(says(&mut watch).await);
        assert_eq!(fs::read_to_string(at("token")).unwrap(), "..2");
        // One that is taken away, and one that is put in its place.
        fs::remove_file(at("token")).unwrap();
        assert!(says(&mut watch).await);
        theirs.write("token", "another");
        assert!(says(&mut watch).await);
    }

    #[tokio::test]
    async fn what_is_no_configuration_is_not_looked_at() {
        let folder = Folder::new("other");
        let places = |folder: PathBuf| Places {
            folders: vec![folder],
            ..Places::default()
        };
        let before = look(&places(folder.0.clone()));
        folder.write("notes.txt", "x");
        folder.write("us.toml~", "x");
        assert_eq!(look(&places(folder.0.clone())), before);
        assert!(look(&places(PathBuf::from("/nowhere/at/all"))).is_empty());
        for (path, ours) in [
            ("c/us.toml", true),
            ("c/..data_tmp", true),
            ("c/..data", true),
            ("c/ringback.db-wal", false),
            ("c/admin.token", true),
            ("c/other.token", false),
        ] {
            let places = Places {
                secrets: BTreeSet::from([PathBuf::from("elsewhere/../admin.token")]),
                ..Places::default()
            };
            assert_eq!(places.concerns(Path::new(path)), ours, "{path}");
        }
    }
}
