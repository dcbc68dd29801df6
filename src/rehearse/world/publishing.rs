//! Reports on their way from the core to the broker: the real publisher's decisions, and all that can happen to it.

use std::{sync::Arc, time::Duration};

use super::{CHANNEL, World};
use crate::{
    core::{Core, Input},
    ledger::{OutboxReport, ReadError, ReportKey, Target, in_memory::Engine},
    rehearse::{
        event::Event,
        publisher::{LAST_REPORTS, ReportPublisher},
        report_broker::{BrokerEffect, BrokerStage, ReportBroker, ReportStep},
    },
    report::publish::{PublishNames, PublishOutput},
};

/// Reports that are read of the outbox at once to see what is owed.
const PAGE: usize = 256;
/// The time that the ledger takes to read a page, and a broker to welcome a client, in milliseconds.
const READING: (u64, u64) = (1, 8);
const CONNECTING: (u64, u64) = (5, 60);

impl World<'_, '_> {
    // --- the process ---------------------------------------------------------------------------------------------

    /// A life begins: it has to bring out what waits in the ledger.
    pub(super) fn start_publisher(&mut self, engine: &Engine) {
        let profile = &self.rehearsal.profile;
        self.publisher = ReportPublisher::new(self.publish_names(), profile, &mut self.dice);
        let mut after = ReportKey(i64::MIN);
        loop {
            let page = engine.pending_reports(after, PAGE).unwrap_or_default();
            let Some(last) = page.last() else { break };
            after = last.report;
            for report in &page {
                self.owe(report);
            }
        }
        self.connect_later(Duration::ZERO);
    }

    pub(super) fn publish_names(&self) -> PublishNames {
        let settings = &self.rehearsal.config.settings;
        let amqp = settings.jobs.amqp.as_ref();
        PublishNames {
            reports: amqp.map_or_else(Arc::default, |amqp| amqp.reports.clone()),
            dead: amqp.map_or_else(Arc::default, |amqp| amqp.dead.clone()),
            node: settings.node.name.clone(),
        }
    }

    fn owe(&mut self, report: &OutboxReport) {
        let node = &self.rehearsal.config.settings.node.name;
        self.owed.durable(report, node);
        if report.is_final {
            self.check_final(report);
        }
    }

    /// The core gives out a report: it must be durable.
    pub(super) fn offer(&mut self, report: OutboxReport, engine: &Engine) {
        if report.target == Target::Http {
            if report.is_final {
                self.check_final(&report);
            }
            return;
        }
        // What was read of the outbox before may be out and struck already.
        if !matches!(engine.is_waiting(report.report), Ok(true)) && self.owed.is_lost(report.report)
        {
            let key = report.report.0;
            return self.violate(format!(
                "report {key} is to be published and does not stand in the outbox"
            ));
        }
        self.owe(&report);
        if !self.publisher.offer(report) {
            self.trace.reached("a report was left in the ledger");
        }
    }

    /// The publisher has its turn.
    pub(super) fn publish(&mut self, engine: &Engine) {
        let now = self.time();
        self.publisher.turn(now);
        while let Some(output) = self.publisher.next(now) {
            self.publish_output(output, engine);
        }
        if self.publisher.is_overfull() {
            let held = self.publisher.machine.in_hand();
            self.violate(format!("the publisher has {held} messages in hand"));
        }
        let spins = |at| at <= now.mono && !self.publisher.machine.is_over(now);
        if self.publisher.machine.deadline().is_some_and(spins) {
            self.violate("the publisher wants to be woken again and again".to_owned());
        }
    }

    fn publish_output(&mut self, output: PublishOutput, engine: &Engine) {
        match output {
            PublishOutput::Publish(slot, message) => {
                // Where the connection is gone and nobody has noticed, it goes nowhere.
                self.at_broker(|broker, stage| broker.send(slot, *message, stage));
            }
            PublishOutput::Read(after, limit) => {
                let page = match self.now < self.disk.refuses_until {
                    true => Err(ReadError::Gone),
                    false => engine.pending_reports(after, limit),
                };
                // Some are durable of which the core has not heard yet.
                for report in page.iter().flatten() {
                    self.owe(report);
                }
                let takes = self.dice.between(READING.0, READING.1);
                self.later(takes, Event::Report(ReportStep::Page(after, page)));
            }
            PublishOutput::Done(keys) => {
                if let Some(ReportKey(key)) = keys.iter().find(|key| self.owed.is_lost(**key)) {
                    self.violate(format!(
                        "report {key} is struck from the outbox, and no queue has it"
                    ));
                }
                self.later(CHANNEL, Event::Report(ReportStep::Done(keys)));
            }
            PublishOutput::Unconfirmed(_) => {
                self.trace
                    .reached("a connection was given up for want of confirms");
                self.hang_up_reports();
                let wait = self.publisher.waits.next_wait();
                self.connect_later(wait);
            }
            PublishOutput::Notice(..) => self.trace.reached("reports that come back were told"),
            PublishOutput::LetterOver(_) | PublishOutput::Unroutable(_) => {}
        }
    }

    fn connect_later(&mut self, wait: Duration) {
        let takes = wait + self.dice.between(CONNECTING.0, CONNECTING.1);
        self.later(takes, Event::Report(ReportStep::Connect));
    }

    /// It is told to stop, all else having ended.
    pub(super) fn stop_publisher(&mut self) {
        let now = self.time();
        self.publisher.stops_at = now.mono + LAST_REPORTS;
        self.publisher.machine.stop(now, LAST_REPORTS);
    }

    /// What it had at hand is at the broker, unless its time is over or the broker is not there.
    pub(super) fn check_last_reports(&mut self) {
        let is_early = self.now < self.publisher.stops_at;
        let leaves = !self.publisher.is_idle();
        if is_early && leaves && self.publisher.connection.is_some() {
            self.violate("the publisher stops before its time and leaves reports".to_owned());
        }
        self.trace.reached(match leaves {
            false => "a clean stop with its reports published",
            true => "a clean stop that left reports in the ledger",
        });
    }

    // --- what happens --------------------------------------------------------------------------------------------

    pub(super) fn report_step(&mut self, step: ReportStep, core: &mut Core) {
        let now = self.time();
        match step {
            ReportStep::Connect if self.broker.up => {
                let connection = self.at_broker(ReportBroker::connect);
                self.publisher.connection = Some(connection);
                self.publisher.waits.succeeded();
                self.publisher.machine.connected(now);
            }
            ReportStep::Connect => {
                let wait = self.publisher.waits.next_wait();
                self.connect_later(wait);
            }
            ReportStep::Arrive(connection) => {
                self.at_broker(|broker, stage| broker.arrive(connection, stage));
            }
            ReportStep::Confirms(connection, channel) => {
                let confirms = self
                    .report_broker
                    .confirms(connection, channel, &mut self.dice);
                if confirms.len() > 1 {
                    self.trace.reached("several confirms at once");
                }
                if self.publisher.connection == Some(connection) {
                    self.publisher.machine.confirmed(now, confirms);
                }
            }
            ReportStep::Blocked(connection, blocked) => {
                if self.publisher.connection == Some(connection) {
                    self.publisher.machine.blocked(now, blocked);
                }
            }
            ReportStep::Lost(connection) => {
                if self.publisher.connection == Some(connection) {
                    self.publisher.connection = None;
                    self.publisher.machine.lost();
                    let wait = self.publisher.waits.next_wait();
                    self.connect_later(wait);
                }
            }
            ReportStep::Page(after, page) => {
                if self.publisher.connection.is_some() {
                    self.publisher.machine.page(after, page);
                }
            }
            ReportStep::Done(keys) => core.handle(now, Input::Published(keys)),
        }
    }

    /// The connection ends, by whichever side.
    pub(super) fn cut_reports(&mut self) {
        self.at_broker(ReportBroker::cut);
    }

    /// The publisher ends it.
    pub(super) fn hang_up_reports(&mut self) {
        self.publisher.connection = None;
        self.cut_reports();
    }

    pub(super) fn at_broker<T>(
        &mut self,
        what: impl FnOnce(&mut ReportBroker, &mut BrokerStage<'_>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let mut stage = BrokerStage {
            now: self.now,
            dice: &mut self.dice,
            profile: &self.rehearsal.profile,
            effects: &mut effects,
        };
        let given = what(&mut self.report_broker, &mut stage);
        for effect in effects {
            match effect {
                BrokerEffect::Later(after, step) => self.later(after, Event::Report(step)),
                BrokerEffect::Taken(message) => self.consume(&message),
                BrokerEffect::Fault(kind) => self.trace.fault(kind),
            }
        }
        given
    }
}
