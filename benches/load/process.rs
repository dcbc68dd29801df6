//! What a process has used, by the kernel's own accounting.

use std::time::Duration;

use super::Result;

/// CPU time of all its threads so far, user and system, in ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
pub fn cpu(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Counted after the name in brackets, which is field 2 and may hold blanks.
    let rest = text.rsplit(") ").next().ok_or("no figures in stat")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok());
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    Ok(Duration::from_millis(
        ticks.ok_or("no figures in stat")? * 10,
    ))
}

/// Memory that is in use now, and the most that ever was (MB).
pub fn memory(pid: u32) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let both = field("VmRSS:")
        .zip(field("VmHWM:"))
        .ok_or("no figures in status")?;
    Ok((both.0 / 1024.0, both.1 / 1024.0))
}
