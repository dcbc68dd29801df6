//! Why there is no room for another challenge, for whoever asks to bring one.

use std::fmt;

/// The setting that is reached, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// So many challenges are open.
    MaxOpen(usize),
    /// So many wait for their first attempt.
    MaxUnsent(usize),
}

impl NoRoom {
    /// The key, as `ringback.toml` has it.
    pub fn setting(self) -> &'static str {
        match self {
            NoRoom::MaxOpen(_) => "jobs.max_open",
            NoRoom::MaxUnsent(_) => "jobs.max_unsent",
        }
    }

    /// How many that allows; `max_unsent` may be written as a span of the carriers' pace.
    pub fn most(self) -> usize {
        match self {
            NoRoom::MaxOpen(most) | NoRoom::MaxUnsent(most) => most,
        }
    }
}

/// For whoever is told to come again.
impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoom::MaxOpen(most) => {
                write!(f, "{most} challenges are open, and max_open is {most}")
            }
            NoRoom::MaxUnsent(most) => write!(
                f,
                "{most} challenges wait for their first attempt, and max_unsent is {most}: more comes in than the carriers take"
            ),
        }
    }
}
