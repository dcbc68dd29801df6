//! Which callbacks are repeats. Pure.
//!
//! Where the carrier gives its callbacks an id, that tells: what has it was taken once. Without one, the same body is a
//! repeat only until our 200 was given: until then it comes again because we were too slow, afterwards it may be
//! something new in the same words (a second "YES").

use std::collections::{BTreeMap, HashMap};

use ring::digest;

use crate::carrier::Incoming;

/// Marks remembered; beyond it the oldest that were taken go.
const MOST: usize = 32_768;
/// Marks of what dispatch has not yet taken for good; beyond it the carrier must wait.
const WAITING: usize = 8_192;

/// What tells a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    digest: [u8; 32],
    /// By the carrier's own id: it stays known.
    lasting: bool,
}

impl Mark {
    /// Of a callback with an id of its own. What it speaks of is part of it, so that an id that isn't what its name
    /// says (the message's) doesn't hide a later state.
    pub fn of_id(id: &str, incoming: &Incoming) -> Mark {
        let (reference, state) = match incoming {
            Incoming::Receipt(receipt) => (
                receipt.references.first().map_or("", |r| r),
                receipt.state.name(),
            ),
            Incoming::Text(_) => ("", "text"),
        };
        Mark {
            digest: digest_of(&[id.as_bytes(), reference.as_bytes(), state.as_bytes()]),
            lasting: true,
        }
    }

    /// Of a part of a body that has no id.
    pub fn of_place(body: &[u8], place: usize) -> Mark {
        Mark {
            digest: digest_of(&[body, &place.to_be_bytes()]),
            lasting: false,
        }
    }
}

fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut whole = [0; 32];
    whole.copy_from_slice(context.finish().as_ref());
    whole
}

/// What is known of a mark.
#[derive(Debug, PartialEq, Eq)]
pub enum Memory {
    /// From now on it waits.
    New,
    /// It came before and is safe.
    Taken,
    /// It came a moment ago and is not yet safe.
    Waiting,
    /// Too many wait.
    Full,
}

/// A callback that is being taken.
#[derive(Debug)]
pub struct Taking {
    /// Of all that it brings.
    marks: Vec<Mark>,
    /// A part of it waits since it came before, or there is no room for it.
    is_behind: bool,
}

#[derive(Debug, Default)]
pub struct Repeats {
    /// None: waits. Else its place in `taken`.
    known: HashMap<Mark, Option<u64>>,
    /// In the order in which they were taken.
    taken: BTreeMap<u64, Mark>,
    next: u64,
}

impl Repeats {
    /// A callback brings this. Gives what of it is new, and waits from now on, each until [`Repeats::end`].
    pub fn take(&mut self, brought: Vec<(Mark, Incoming)>) -> (Taking, Vec<(Mark, Incoming)>) {
        let marks = brought.iter().map(|(mark, _)| *mark).collect();
        let (mut fresh, mut is_behind) = (Vec::new(), false);
        for (mark, incoming) in brought {
            match self.begin(mark) {
                Memory::New => fresh.push((mark, incoming)),
                Memory::Taken => {}
                // The same body brings it twice: it waits for itself.
                Memory::Waiting if fresh.iter().any(|(other, _)| *other == mark) => {}
                Memory::Waiting | Memory::Full => is_behind = true,
            }
        }
        (Taking { marks, is_behind }, fresh)
    }

    /// `is_safe`: what was new in it is safe, in time. True: the carrier is told that all of it is; else it shall come again.
    pub fn answer(&mut self, taking: Taking, is_safe: bool) -> bool {
        if taking.is_behind || !is_safe {
            return false;
        }
        self.answered(&taking.marks);
        true
    }

    fn begin(&mut self, mark: Mark) -> Memory {
        match self.known.get(&mark) {
            Some(Some(_)) => return Memory::Taken,
            Some(None) => return Memory::Waiting,
            None => {}
        }
        if self.known.len() - self.taken.len() >= WAITING {
            return Memory::Full;
        }
        if self.known.len() >= MOST
            && let Some((_, oldest)) = self.taken.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(mark, None);
        Memory::New
    }

    /// It waits no more: it is safe, or it was refused and may come again.
    pub fn end(&mut self, mark: Mark, taken: bool) {
        if !taken {
            self.forget(mark);
        } else if let Some(place @ None) = self.known.get_mut(&mark) {
            self.next += 1;
            *place = Some(self.next);
            self.taken.insert(self.next, mark);
        }
    }

    /// The carrier is told that all of these are safe.
    fn answered(&mut self, marks: &[Mark]) {
        for mark in marks.iter().filter(|mark| !mark.lasting) {
            self.forget(*mark);
        }
    }

    fn forget(&mut self, mark: Mark) {
        if let Some(Some(place)) = self.known.remove(&mark) {
            self.taken.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: usize, lasting: bool) -> Mark {
        Mark {
            lasting,
            ..Mark::of_place(b"body", n)
        }
    }

    #[test]
    fn a_body_is_known_until_it_is_answered_and_an_id_for_longer() {
        for lasting in [false, true] {
            let (mut repeats, mark) = (Repeats::default(), mark(1, lasting));
            assert_eq!(repeats.begin(mark), Memory::New);
            assert_eq!(repeats.begin(mark), Memory::Waiting);
            repeats.end(mark, false);
            assert_eq!(repeats.begin(mark), Memory::New, "it was refused");
            repeats.end(mark, true);
            assert_eq!(repeats.begin(mark), Memory::Taken);
            repeats.answered(&[mark]);
            let known = match lasting {
                true => Memory::Taken,
                false => Memory::New,
            };
            assert_eq!(repeats.begin(mark), known);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::default();
        for n in 0..MOST + 10 {
            assert_eq!(repeats.begin(mark(n, true)), Memory::New);
            repeats.end(mark(n, true), true);
        }
        assert_eq!((repeats.known.len(), repeats.taken.len()), (MOST, MOST));
        assert_eq!(repeats.begin(mark(MOST + 9, true)), Memory::Taken);
        assert_eq!(repeats.begin(mark(0, true)), Memory::New, "the oldest went");
        for n in 1..WAITING {
            assert_eq!(repeats.begin(mark(n, false)), Memory::New);
        }
        assert_eq!(repeats.begin(mark(WAITING, false)), Memory::Full);
        assert_eq!(repeats.known.len(), MOST);
        repeats.end(mark(1, false), true);
        assert_eq!(repeats.begin(mark(WAITING, false)), Memory::New);
    }
}
