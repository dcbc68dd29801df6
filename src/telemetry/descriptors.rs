//! File descriptors: whether an error means that none is left, and what to do about it.

use std::io;

use rustix::process::{Resource, getrlimit};

/// The process, or the machine, has none left: whoever was to be reached is not to blame.
pub fn exhausted(error: &io::Error) -> bool {
    let limits = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let code = error.raw_os_error();
    limits
        .iter()
        .any(|limit| code == Some(limit.raw_os_error()))
}

/// Which limit an [`exhausted`] error has met, and how high it is.
pub fn limit(error: &io::Error) -> String {
    if error.raw_os_error() == Some(rustix::io::Errno::NFILE.raw_os_error()) {
        return "fs.file-max of the whole machine".to_owned();
    }
    match getrlimit(Resource::Nofile).current {
        Some(allowed) => format!("the process may have {allowed}"),
        None => "the process may have any number".to_owned(),
    }
}

/// An error of the system in words; where descriptors are the cause, that and what to do.
pub fn words(error: &io::Error) -> String {
    match exhausted(error) {
        true => format!("{EXHAUSTED} ({})", limit(error)),
        false => error.to_string(),
    }
}

/// What to do about it.
pub const EXHAUSTED: &str = "no file descriptor is left: raise the limit (LimitNOFILE= of the systemd unit, ulimit -n) or lower max_calls and windows of the carriers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_name_the_limit_where_descriptors_are_the_cause() {
        let of =
            |errno: rustix::io::Errno| words(&io::Error::from_raw_os_error(errno.raw_os_error()));
        let (own, machine) = (of(rustix::io::Errno::MFILE), of(rustix::io::Errno::NFILE));
        assert!(
            own.contains("LimitNOFILE") && own.contains("the process may have"),
            "{own}"
        );
        assert!(machine.contains("fs.file-max"), "{machine}");
        let other = of(rustix::io::Errno::ACCESS);
        assert!(
            other.contains("denied") && !other.contains("descriptor"),
            "{other}"
        );
    }
}
