//! Two trunks that tell some numbers to come later, every time: the others are called in time.

use std::time::Duration;

use self::stage::Stage;

mod stage;

/// So many whom both trunks always tell to come later, and so many others beside them.
const THROTTLED: usize = 24;
const OTHERS: usize = 40;
const PACE: Duration = Duration::from_millis(250);
const SEEDS: u64 = 30;

/// Everybody is called whom the trunks do not tell to come later. Gives the longest time from the job to the key.
fn longest(seed: u64, pause: Duration) -> (Duration, Stage) {
    let mut stage = Stage::new(seed, pause);
    stage.run(Duration::from_millis(1_100));
    for n in 0..THROTTLED {
        let (id, to) = (format!("later-{n}"), format!("+1202{}9028", 230 + n));
        let after = stage.between(0, 2_000);
        stage.ask(after, &id, &to);
    }
    for n in 0..OTHERS {
        let (id, to) = (format!("other-{n}"), format!("+1202555{:04}", 100 + n));
        let after = PACE * n as u32 + stage.between(2_000, 6_000);
        stage.ask(after, &id, &to);
    }
    stage.run(Duration::from_secs(90));
    assert_eq!(stage.pressed.len(), OTHERS, "seed {seed}");
    let longest = stage.pressed.values().max().copied();
    (longest.unwrap_or_default(), stage)
}

/// Else it shows the first INVITEs of the seed in which somebody did.
fn nobody_waits_longer(pause: Duration, most: Duration) {
    for seed in 1..=SEEDS {
        let (longest, stage) = longest(seed, pause);
        let invited: Vec<_> = stage.invited.iter().take(60).collect();
        assert!(longest < most, "seed {seed}: {longest:?}: {invited:#?}");
    }
}

#[test]
fn callers_who_are_always_told_to_come_later_starve_nobody() {
    nobody_waits_longer(Duration::from_secs(1), Duration::from_secs(5));
}

/// At first the trunks are believed when they ask for a pause; who they ask it of again is known by then.
#[test]
fn a_long_pause_that_some_networks_ask_for_is_kept_once() {
    nobody_waits_longer(Duration::from_secs(10), Duration::from_secs(13));
}
