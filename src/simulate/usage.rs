//! What this process uses: CPU time and memory, from `/proc`. Nothing where there is none.

use std::{fs, time::Duration};

/// So far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Most memory so far, in octets.
    pub memory: u64,
}

/// Ticks a second in `/proc`: fixed at 100 in Linux's interface to programs.
const TICKS: u64 = 100;

impl Usage {
    pub fn read() -> Option<Usage> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        parse(&stat, &status)
    }
}

/// Fields 14 and 15 of `stat`, counted behind the command's name, which may hold anything; the high-water mark.
fn parse(stat: &str, status: &str) -> Option<Usage> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Usage {
        cpu: Duration::from_millis(ticks * 1_000 / TICKS),
        memory: kilobytes * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        let found = parse(stat, "Name:\tx\nVmHWM:\t  2048 kB\n").unwrap();
        assert_eq!(
            (found.cpu, found.memory),
            (Duration::from_secs(2), 2048 * 1024)
        );
        assert!(parse("", "").is_none());
    }
}
