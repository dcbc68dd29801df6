//! No dump of this process: what it holds of persons is nobody's to keep on a disk.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on a crash leaves no core, and other processes of the same user can't read this one's memory.
pub fn forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getrlimit;

    #[test]
    fn a_process_that_forbids_dumps_leaves_none() {
        forbid().expect("a process may forbid its own dumps");
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().expect("Linux"),
            rustix::process::DumpableBehavior::NotDumpable
        );
    }
}
