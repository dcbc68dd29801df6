//! The drivers' queues.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::carrier::{
    CallCommand, CallOrder, Carrier, DriverId, Finish, Handle, TextCommand, TextOrder,
};

/// Where each driver takes its commands.
#[derive(Default)]
pub struct Ports {
    texts: Queues<TextCommand>,
    calls: Queues<CallCommand>,
}

impl Ports {
    pub fn add(&mut self, carrier: &Carrier) {
        match carrier {
            Carrier::Text(carrier) => self.texts.add(carrier),
            Carrier::Call(carrier) => self.calls.add(carrier),
        }
    }

    /// False: the driver can't take it.
    pub fn text(&mut self, driver: DriverId, order: Box<TextOrder>) -> bool {
        self.texts.submit(driver, TextCommand::Submit(order))
    }

    /// False: the driver can't take it.
    pub fn call(&mut self, driver: DriverId, order: Box<CallOrder>) -> bool {
        self.calls.submit(driver, CallCommand::Submit(order))
    }

    /// Waits until there is room; a driver that has ended needs none of it.
    pub fn tell(&mut self, driver: DriverId, command: CallCommand) {
        self.calls.tell(driver, command);
    }

    /// The same, for either kind.
    pub fn finish(&mut self, driver: DriverId, finish: Finish) {
        self.texts.tell(driver, finish.into());
        self.calls.tell(driver, finish.into());
    }

    /// What found a queue full is tried again.
    pub fn retry(&mut self) {
        self.texts.retry();
        self.calls.retry();
    }

    /// Drivers that have ended since this was asked last.
    pub fn ended(&mut self) -> Vec<DriverId> {
        let mut ended = self.texts.ended();
        ended.extend(self.calls.ended());
        ended
    }
}

struct Queues<C>(BTreeMap<DriverId, Queue<C>>);

struct Queue<C> {
    commands: Sender<C>,
    /// What found it full, in order.
    waiting: VecDeque<C>,
}

impl<C> Default for Queues<C> {
    fn default() -> Queues<C> {
        Queues(BTreeMap::new())
    }
}

impl<C> Queues<C> {
    fn add(&mut self, carrier: &Handle<C>) {
        self.0.entry(carrier.id).or_insert_with(|| Queue {
            commands: carrier.commands.clone(),
            waiting: VecDeque::new(),
        });
    }

    /// An order goes at once or not at all.
    fn submit(&mut self, driver: DriverId, order: C) -> bool {
        let queue = self.0.get(&driver).filter(|queue| queue.waiting.is_empty());
        queue.is_some_and(|queue| queue.commands.try_send(order).is_ok())
    }

    fn tell(&mut self, driver: DriverId, command: C) {
        if let Some(queue) = self.0.get_mut(&driver) {
            queue.waiting.push_back(command);
            queue.retry();
        }
    }

    fn retry(&mut self) {
        self.0.values_mut().for_each(Queue::retry);
    }

    fn ended(&mut self) -> Vec<DriverId> {
        let mut ended = Vec::new();
        self.0.retain(|id, queue| {
            let gone = queue.commands.is_closed();
            ended.extend(gone.then_some(*id));
            !gone
        });
        ended
    }
}

impl<C> Queue<C> {
    fn retry(&mut self) {
        while let Some(command) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(command)) = self.commands.try_send(command) {
                self.waiting.push_front(command);
                break;
            }
        }
    }
}
