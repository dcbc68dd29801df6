//! What the publisher decides, over all its connections: what goes next and how much of it, what a confirm, a returned
//! message or a lost connection means, when the ledger is read for more, and when a connection is no good. Pure: its driver
//! (`session`) and the rehearsal tell it what happens and when, and do what it says.
//!
//! After whatever has come, and at each [`PublishMachine::deadline`], a [`PublishMachine::turn`] must follow; then
//! [`PublishMachine::poll_output`] until there is nothing more.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    dead_letter::DeadLetterMessage,
    queue::{
        BasicPublish, Confirm, Left, LetterId, PAUSE_LONGEST, PublishBounds, PublishNames,
        PublishQueue,
    },
    unroutable::{ReturnNotice, Unroutable},
};
use crate::{
    clock::{Mono, Now, TermMark},
    ledger::{OutboxReport, ReadError, ReportKey},
};

/// What is to be done.
pub enum PublishOutput {
    /// Publish this; what the broker says of it belongs to this slot.
    Publish(u64, Box<BasicPublish>),
    /// Read so many reports of the outbox that come after this key: the answer goes to [`PublishMachine::page`].
    Read(ReportKey, usize),
    /// The broker holds these reports, or they are dead letters: they are to be struck from the outbox.
    Done(Vec<ReportKey>),
    /// The broker holds this message, or it was given up.
    LetterOver(LetterId),
    /// The connection is no good: a confirm has been waited for too long. It counts as lost already.
    Unconfirmed(Duration),
    /// So many reports wait that no queue takes.
    Unroutable(usize),
    /// To be logged of them, with the name of one queue.
    Notice(ReturnNotice, usize, Arc<str>),
}

/// The connection, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublishLink {
    Down,
    Up,
    /// The broker takes nothing just now.
    Blocked,
}

/// Reading the ledger for what is not in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// From after this key on, when there is room.
    From(ReportKey),
    Reading(ReportKey),
    Done,
}

pub struct PublishMachine {
    bounds: PublishBounds,
    queue: PublishQueue,
    link: PublishLink,
    scan: Scan,
    /// When the ledger was begun to be read from its beginning.
    scanned: Mono,
    unroutable: Unroutable,
    /// When what came back was counted last.
    looked: Mono,
    stop_at: Option<Mono>,
    mark: TermMark,
    /// The term has run out.
    is_unheard: bool,
    outputs: VecDeque<PublishOutput>,
}

impl PublishMachine {
    pub fn new(names: PublishNames, bounds: PublishBounds) -> PublishMachine {
        PublishMachine {
            bounds,
            queue: PublishQueue::new(names, bounds),
            link: PublishLink::Down,
            scan: Scan::Done,
            scanned: Mono::default(),
            unroutable: Unroutable::default(),
            looked: Mono::default(),
            stop_at: None,
            mark: TermMark::default(),
            is_unheard: false,
            outputs: VecDeque::new(),
        }
    }

    // --- what happens --------------------------------------------------------------------------------------------

    /// A connection stands, and confirms were asked for on its channels.
    pub fn connected(&mut self, now: Now) {
        self.link = PublishLink::Up;
        self.begin_scan(now.mono);
    }

    /// The connection is gone: what was on its way goes again on the next one, since nobody knows what became of it.
    pub fn lost(&mut self) {
        self.link = PublishLink::Down;
        self.scan = Scan::Done;
        self.queue.requeued();
    }

    /// The broker takes nothing (an alarm), or takes it again. False: that was known.
    pub fn blocked(&mut self, now: Now, blocked: bool) -> bool {
        let link = match (self.link, blocked) {
            (PublishLink::Up, true) => PublishLink::Blocked,
            (PublishLink::Blocked, false) => PublishLink::Up,
            (PublishLink::Down | PublishLink::Up | PublishLink::Blocked, _) => return false,
        };
        self.link = link;
        self.queue.forgive(now.mono);
        true
    }

    /// May more reports and letters be handed over? What is not stays where it is.
    pub fn has_room(&self) -> bool {
        self.link != PublishLink::Down && self.queue.has_room()
    }

    /// This node's term; None: it has run out, and others may have the reports. What was in hand before it ran out is read again
    /// from the ledger, as far as it is still this node's.
    pub fn term(&mut self, term: Option<TermMark>, now: Now) {
        self.is_unheard = term.is_none();
        if let Some(mark) = term
            && std::mem::replace(&mut self.mark, mark) != mark
        {
            self.queue.forget_reports();
            match self.link {
                PublishLink::Down => {}
                PublishLink::Up | PublishLink::Blocked => self.begin_scan(now.mono),
            }
        }
    }

    /// A report that is durable.
    pub fn report(&mut self, report: OutboxReport) {
        self.queue.report(report);
    }

    /// Another message. What becomes of it is said with this id.
    pub fn letter(&mut self, letter: DeadLetterMessage) -> LetterId {
        self.queue.letter(letter)
    }

    /// Reports were not handed over for want of room: the ledger has them.
    pub fn missed(&mut self) {
        self.queue.left = Left::Untried;
    }

    /// A page of the outbox, or why it can't be read.
    pub fn page(&mut self, after: ReportKey, page: Result<Vec<OutboxReport>, ReadError>) {
        if self.scan != Scan::Reading(after) {
            // Asked for on a connection that is gone.
            return;
        }
        match page {
            Ok(reports) => {
                self.scan = match reports.last() {
                    Some(last) if reports.len() >= self.bounds.page => Scan::From(last.report),
                    _ => Scan::Done,
                };
                for report in reports {
                    self.queue.report(report);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "waiting reports can't be read from the ledger; trying again");
                self.scan = Scan::Done;
                self.missed();
            }
        }
    }

    /// What the broker says. All that is here is to be given at once: the client gives a returned message to whichever
    /// confirm of its channel it handles next, so the one that says "returned" may be a neighbour's.
    pub fn confirmed(&mut self, now: Now, confirms: Vec<Confirm>) {
        for returned in confirms.iter().filter_map(|c| c.returned.as_ref()) {
            self.queue.returned(returned);
        }
        for confirm in &confirms {
            self.queue.confirmed(confirm.slot, confirm.ack, now);
        }
    }

    /// It is to end: what is at hand still goes, for so long at most. The rest stays in the ledger.
    pub fn stop(&mut self, now: Now, limit: Duration) {
        self.stop_at.get_or_insert(now.mono + limit);
    }

    // --- what follows --------------------------------------------------------------------------------------------

    pub fn turn(&mut self, now: Now) {
        if self.link == PublishLink::Down {
            return;
        }
        if self.unconfirmed_at().is_some_and(|at| at <= now.mono) {
            self.lost();
            let output = PublishOutput::Unconfirmed(CONFIRM);
            return self.outputs.push_back(output);
        }
        self.look(now.mono);
        if self.rescan_at().is_some_and(|at| at <= now.mono) {
            self.begin_scan(now.mono);
        }
        if let Scan::From(after) = self.scan
            && self.queue.is_below_low_water()
        {
            self.scan = Scan::Reading(after);
            let output = PublishOutput::Read(after, self.bounds.page);
            self.outputs.push_back(output);
        }
    }

    pub fn poll_output(&mut self, now: Now) -> Option<PublishOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let done = self.queue.done();
        if !done.is_empty() {
            return Some(PublishOutput::Done(done));
        }
        if let Some(letter) = self.queue.letter_over() {
            return Some(PublishOutput::LetterOver(letter));
        }
        if !self.may_publish() {
            return None;
        }
        let (slot, message) = self.queue.take(now)?;
        Some(PublishOutput::Publish(slot, Box::new(message)))
    }

    /// When it wants its next turn, if nothing comes before. None: only when something has come.
    pub fn deadline(&self) -> Option<Mono> {
        if self.link == PublishLink::Down {
            return None;
        }
        // While nothing may go, nothing that is due is a reason to wake.
        let due = self.queue.due().filter(|_| self.may_publish());
        // Some may have come back, or it is not said yet that none does any more.
        let counts = self.queue.due().is_some() || self.unroutable.is_told();
        let look = counts.then(|| self.looked + LOOK);
        let times = [
            self.stop_at,
            due,
            look,
            self.unconfirmed_at(),
            self.rescan_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// It was to end, and nothing is at hand any more, or its time is over.
    pub fn is_over(&self, now: Now) -> bool {
        let is_idle = self.link == PublishLink::Down || self.queue.is_idle();
        self.stop_at.is_some_and(|at| now.mono >= at || is_idle)
    }

    /// Nothing is on its way, and nothing waits to go but what has to wait its time.
    pub fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Messages in hand, whatever they wait for.
    pub fn in_hand(&self) -> usize {
        self.queue.in_hand()
    }

    /// Nothing is in hand, and nothing is known to be left in the ledger.
    pub fn is_at_rest(&self) -> bool {
        self.queue.in_hand() == 0 && self.scan == Scan::Done && self.queue.left == Left::Nothing
    }

    fn may_publish(&self) -> bool {
        self.link == PublishLink::Up
            && !self.is_unheard
            && self.queue.in_flight() < self.bounds.window
    }

    /// When the oldest confirm has been waited for too long.
    fn unconfirmed_at(&self) -> Option<Mono> {
        let oldest = self.queue.oldest().filter(|_| self.link == PublishLink::Up);
        oldest.map(|since| since + CONFIRM)
    }

    /// When the ledger is read again for what was left there.
    fn rescan_at(&self) -> Option<Mono> {
        let between = match self.queue.left {
            Left::Nothing => return None,
            Left::PutBack => PAUSE_LONGEST,
            Left::Untried => RESCAN,
        };
        let wants = self.scan == Scan::Done && self.stop_at.is_none();
        wants.then(|| self.scanned + between)
    }

    fn begin_scan(&mut self, now: Mono) {
        self.scan = Scan::From(ReportKey(i64::MIN));
        self.scanned = now;
        self.queue.left = Left::Nothing;
    }

    /// Reports that no queue takes are an operator's business at once, not only when their time is over.
    fn look(&mut self, now: Mono) {
        if now < self.looked + LOOK {
            return;
        }
        self.looked = now;
        let (waiting, queue) = self.queue.unroutable();
        let queue: Arc<str> = queue.unwrap_or_default().into();
        self.outputs.push_back(PublishOutput::Unroutable(waiting));
        if let Some(notice) = self.unroutable.look(now, waiting) {
            let output = PublishOutput::Notice(notice, waiting, queue);
            self.outputs.push_back(output);
        }
    }
}

/// A publish or confirm that takes longer means that the connection is no good.
const CONFIRM: Duration = Duration::from_secs(20);
/// Between counts of what came back.
const LOOK: Duration = Duration::from_millis(500);
/// The ledger is not read from its beginning more often than this; no sooner than what waits here goes again, where only
/// what no queue takes was left there.
const RESCAN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
