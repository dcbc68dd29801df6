//! What happens at moments that are known from the beginning: what is asked for, and troubles.

use std::{sync::Arc, time::Duration};

use super::{HOUSE, World};
use crate::{
    core::Core,
    rehearse::{
        callers::TENANTS,
        event::{Event, Trouble},
        steps::Step,
    },
};

/// How long a broker is blocked, and a queue is gone, in milliseconds.
const BLOCKED: (u64, u64) = (100, 60_000);
const GONE: (u64, u64) = (100, 120_000);
/// Longer than any report of a run is tried.
const GIVEN_UP: Duration = Duration::from_secs(5_400);

impl World<'_, '_> {
    /// What happens at moments that are known from the beginning.
    pub(super) fn plan(&mut self) {
        let profile = self.rehearsal.profile.clone();
        let mut last = Duration::ZERO;
        for n in 0..self.jobs.len() {
            let at = self.jobs[n].at;
            last = last.max(at);
            self.later(at, Event::Ask(n));
            if self.dice.chance(profile.redelivered) {
                let again = at + self.dice.between(1, 3_000);
                self.later(again, Event::Ask(n));
            }
            if self.dice.chance(profile.same_id_again) {
                let again = at + self.dice.between(5_000, 400_000);
                self.later(again, Event::Ask(n));
            }
            if self.dice.chance(profile.other_content) {
                let other = at + self.dice.between(1, 200_000);
                self.later(other, Event::AskOther(n));
            }
            if self.dice.chance(profile.cancelled.max(profile.feedback)) {
                let early = self.dice.chance(profile.early_word);
                let word = match early {
                    true => at.saturating_sub(self.dice.between(1, 2_000)),
                    false => at + self.dice.between(1, 60_000),
                };
                self.later(word, Event::Control(n));
            }
        }
        let horizon = last.as_millis() as u64 + 60_000;
        let troubles = [
            (Trouble::Crash, profile.crashes),
            (Trouble::Drain, profile.drains),
            (Trouble::Disk, profile.disk_refusals),
            (Trouble::BrokerGone, profile.broker_outages),
            (Trouble::ReportsCut, profile.report_cuts),
            (Trouble::BrokerBlocked, profile.broker_blocks),
            (Trouble::QueueGone, profile.queues_gone),
            (Trouble::ClockStep, profile.clock_steps),
            (Trouble::Reload, profile.reloads),
            (Trouble::LinkCut, profile.link_cuts),
        ];
        for (trouble, count) in troubles {
            for _ in 0..count {
                let at = self.dice.between(1, horizon);
                self.later(at, Event::Fault(trouble));
            }
        }
        self.later(HOUSE, Event::Retention);
    }

    pub(super) fn trouble(&mut self, trouble: Trouble, core: &mut Core) {
        let at = self.now.since_start();
        self.trace.event(at, format_args!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Crash => {
                self.trace.fault("crash");
                self.crash = true;
            }
            Trouble::Drain => self.told_to_stop(),
            Trouble::Disk => {
                self.trace.fault("disk refuses");
                self.disk.refuses_until = self.now + self.dice.between(200, 20_000);
                self.is_well = false;
            }
            Trouble::BrokerGone => {
                self.trace.fault("broker gone");
                self.broker.up = false;
                self.cut_reports();
                let back = self.dice.between(500, 60_000);
                self.later(back, Event::Fault(Trouble::BrokerBack));
            }
            Trouble::BrokerBack => self.broker.up = true,
            Trouble::ReportsCut => {
                self.trace.fault("reports' connection cut");
                self.cut_reports();
            }
            Trouble::BrokerBlocked => {
                self.trace.fault("broker blocked");
                self.at_broker(|broker, stage| broker.block(true, stage));
                let over = self.dice.between(BLOCKED.0, BLOCKED.1);
                self.later(over, Event::Fault(Trouble::BrokerUnblocked));
            }
            Trouble::BrokerUnblocked => self.at_broker(|broker, stage| broker.block(false, stage)),
            Trouble::QueueGone => self.queue_gone(),
            Trouble::QueueBack(tenant) => self.report_broker.queue(replies(tenant), true),
            Trouble::ClockStep => {
                self.trace.fault("clock step");
                self.ahead = self.dice.between(0, 7_200_000).as_millis() as i64 - 3_600_000;
            }
            // Who drains refuses to read its files again.
            Trouble::Reload if self.stop.is_some() => {}
            Trouble::Reload => self.reload(core),
            Trouble::PutBack(place) => self.put_back(place, core),
            Trouble::LinkCut => {
                self.trace.fault("link cut");
                self.is_well = false;
                let place = self.dice.below(self.carriers.len() as u64) as usize;
                self.later(Duration::ZERO, Event::Step(place, Step::Cut));
            }
        }
    }
    /// Somebody has deleted a queue of replies, and declares it again, in some runs only when reports were given up.
    fn queue_gone(&mut self) {
        self.trace.fault("queue gone");
        let tenant = *self.dice.pick(&TENANTS);
        self.report_broker.queue(replies(tenant), false);
        let back = match self.dice.chance(self.rehearsal.profile.long_gone) {
            true => GIVEN_UP,
            false => self.dice.between(GONE.0, GONE.1),
        };
        self.later(back, Event::Fault(Trouble::QueueBack(tenant)));
    }
}

fn replies(tenant: &str) -> Arc<str> {
    format!("replies.{tenant}").into()
}
