//! Whether there is room for more challenges, and which setting says that there is none: logged when jobs begin to wait
//! for it and when that is over.

use super::{
    Core,
    notice::{Notice, Occupancy},
};
use crate::{clock::Mono, intake::NoRoom};

/// Since when jobs wait for room, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Crowd(Option<(NoRoom, Mono)>);

/// It is over once one in so many places is free: at the limit itself one comes as soon as one goes.
const EASED: usize = 10;

impl Core {
    /// The setting that jobs wait for. None: there is room.
    pub fn crowded(&self) -> Option<NoRoom> {
        self.registry.crowd.0.map(|(no_room, _)| no_room)
    }

    /// The setting that is reached just now.
    pub(super) fn no_room(&self) -> Option<NoRoom> {
        let max_open = self.config.settings.jobs.max_open;
        if self.registry.open.len() >= max_open {
            return Some(NoRoom::MaxOpen(max_open));
        }
        (self.registry.unsent >= self.registry.max_unsent)
            .then_some(NoRoom::MaxUnsent(self.registry.max_unsent))
    }

    /// Says when it begins that jobs wait for room, and when it ends.
    pub(super) fn say_crowded(&mut self, now: Mono) {
        let reached = self
            .no_room()
            .filter(|_| !self.registry.arrivals.is_empty());
        match (self.registry.crowd.0, reached) {
            (None, Some(no_room)) => {
                let begins = Notice::NoRoom(self.occupancy(no_room));
                self.notices.tell(begins);
                self.registry.crowd.0 = Some((no_room, now));
            }
            (Some((_, since)), Some(no_room)) => self.registry.crowd.0 = Some((no_room, since)),
            (Some((no_room, since)), None) if self.is_eased() => {
                let after = now.saturating_duration_since(since);
                let ends = Notice::Room(self.occupancy(no_room), after);
                self.notices.tell(ends);
                self.registry.crowd.0 = None;
            }
            (Some(_) | None, None) => {}
        }
    }

    fn occupancy(&self, no_room: NoRoom) -> Occupancy {
        Occupancy {
            no_room,
            open: self.registry.open.len(),
            unsent: self.registry.unsent,
        }
    }

    fn is_eased(&self) -> bool {
        let below = |count: usize, most: usize| count + most.div_ceil(EASED) <= most;
        let max_open = self.config.settings.jobs.max_open;
        below(self.registry.open.len(), max_open)
            && below(self.registry.unsent, self.registry.max_unsent)
    }
}
