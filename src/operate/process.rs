//! The usual `process_*` metrics, read from `/proc`. Empty where there is none.

use std::{fmt::Write, fs};

/// Ticks a second in `/proc`: fixed at 100 in Linux's interface to programs, on every machine.
const USER_HZ: f64 = 100.0;

/// In the text format of Prometheus.
pub fn render() -> String {
    let Some(found) = Process::read() else {
        return String::new();
    };
    let mut out = String::with_capacity(1_024);
    let mut put = |name: &str, kind: &str, what: &str, value: f64| {
        // Writing into a string can't fail.
        let _ = write!(
            out,
            "# HELP process_{name} {what}\n# TYPE process_{name} {kind}\nprocess_{name} {value}\n\n"
        );
    };
    put(
        "cpu_seconds_total",
        "counter",
        "CPU time of user and system.",
        found.cpu,
    );
    put(
        "resident_memory_bytes",
        "gauge",
        "Memory in use.",
        found.resident,
    );
    put(
        "virtual_memory_bytes",
        "gauge",
        "Address space in use.",
        found.virtually,
    );
    put(
        "open_fds",
        "gauge",
        "Open file descriptors.",
        found.open_fds,
    );
    put(
        "max_fds",
        "gauge",
        "Most file descriptors allowed.",
        found.max_fds,
    );
    put("threads", "gauge", "Threads.", found.threads);
    put(
        "start_time_seconds",
        "gauge",
        "Start, in seconds since 1970.",
        found.start,
    );
    out
}

struct Process {
    cpu: f64,
    resident: f64,
    virtually: f64,
    open_fds: f64,
    max_fds: f64,
    threads: f64,
    start: f64,
}

impl Process {
    fn read() -> Option<Process> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let [user, kernel, started] = ticks(&stat)?;
        let kilobytes = |key| line(&status, key).map_or(0.0, |value| value * 1024.0);
        Some(Process {
            cpu: (user + kernel) / USER_HZ,
            resident: kilobytes("VmRSS:"),
            virtually: kilobytes("VmSize:"),
            open_fds: fs::read_dir("/proc/self/fd").map_or(0.0, |all| all.count() as f64),
            max_fds: line(&limits, "Max open files").unwrap_or(0.0),
            threads: line(&status, "Threads:")?,
            start: line(&system, "btime")? + started / USER_HZ,
        })
    }
}

/// utime, stime and starttime of `/proc/self/stat`: fields 14, 15 and 22. The second one, the program's name, may
/// hold anything; the fields after it are counted from its closing bracket.
fn ticks(stat: &str) -> Option<[f64; 3]> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse().ok();
    Some([field(14)?, field(15)?, field(22)?])
}

/// The first figure of the line that begins with `key`.
fn line(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_name_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 100 200";
        assert_eq!(ticks(stat), Some([250.0, 50.0, 12345.0]));
        assert_eq!(ticks("7 (x) S 1"), None);
        assert_eq!(
            line("Threads:\t9\nVmRSS:\t   84 kB\n", "VmRSS:"),
            Some(84.0)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_of_them() {
        let text = render();
        for name in [
            "cpu_seconds_total",
            "resident_memory_bytes",
            "open_fds",
            "start_time_seconds",
        ] {
            let value = line(&text, &format!("process_{name}")).unwrap();
            assert!(
                value > 0.0 || name == "cpu_seconds_total",
                "{name}: {value}"
            );
        }
    }
}
