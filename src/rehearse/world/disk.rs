//! The ledger's disk: a group of batches at a time, which takes its time, and refuses for a while.

use std::{collections::VecDeque, time::Duration};

use super::World;
use crate::{
    clock::Mono,
    core::{Core, Input},
    ledger::{Batch, Done, in_memory::Engine},
    rehearse::event::Event,
};

#[derive(Default)]
pub(super) struct Disk {
    pub waiting: VecDeque<Batch>,
    pub busy: bool,
    pub refuses_until: Mono,
}

/// How long a ledger that is to be closed and can't be written tries again.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

impl World<'_, '_> {
    pub(super) fn begin_transaction(&mut self) {
        if !std::mem::replace(&mut self.disk.busy, true) {
            let takes = self.dice.between(1, 12);
            self.later(takes, Event::Disk);
        }
    }

    /// A transaction ends, and with it all that waited.
    pub(super) fn disk(&mut self, core: &mut Core, engine: &mut Engine) {
        for done in self.transaction(engine) {
            core.handle(self.time(), Input::Committed(done));
        }
    }

    /// Gives what is told of it.
    pub(super) fn transaction(&mut self, engine: &mut Engine) -> Vec<Done> {
        self.disk.busy = false;
        if self.now < self.disk.refuses_until {
            self.begin_transaction();
            return Vec::new();
        }
        let dies = self.dice.chance(self.rehearsal.profile.crash_at_commit);
        if dies {
            self.crash = true;
            if self.dice.chance(500) {
                self.trace.fault("crash before a commit");
                return Vec::new();
            }
            self.trace.fault("crash after a commit");
        }
        let dones = self.write_all(engine);
        if dies { Vec::new() } else { dones }
    }

    fn write_all(&mut self, engine: &mut Engine) -> Vec<Done> {
        let group: Vec<Batch> = self.disk.waiting.drain(..).collect();
        let at = self.now.since_start();
        let ops: usize = group.iter().map(|batch| batch.ops.len()).sum();
        self.trace
            .event(at, format_args!("commit of {ops} in {}", group.len()));
        match engine.commit(self.time().wall, &group) {
            Ok(dones) => {
                if let Some(done) = dones.iter().find(|done| !done.refused.is_empty()) {
                    self.violate(format!("the ledger refuses ops: {:?}", done.refused));
                }
                dones
            }
            Err(error) => {
                self.violate(format!("a commit failed: {error}"));
                Vec::new()
            }
        }
    }

    /// The ledger is closed: what was given to it is durable by then, unless the disk refuses for too long.
    pub(super) fn close_ledger(&mut self, engine: &mut Engine) {
        if self.disk.waiting.is_empty() {
            return;
        }
        if self.disk.refuses_until <= self.now + LAST_PATIENCE {
            self.now = self.now.max(self.disk.refuses_until);
            self.write_all(engine);
        } else {
            self.trace.reached("a clean stop left something unwritten");
        }
    }
}
