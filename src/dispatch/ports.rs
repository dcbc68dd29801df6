//! The drivers' queues.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::carrier::{Command, DriverId, Handle, Order};

/// Where each driver takes its commands.
#[derive(Default)]
pub struct Ports {
    drivers: BTreeMap<DriverId, Port>,
}

struct Port {
    commands: Sender<Command>,
    /// What found its queue full, in order.
    waiting: VecDeque<Command>,
}

impl Ports {
    pub fn add(&mut self, handle: &Handle) {
        self.drivers.entry(handle.id).or_insert_with(|| Port {
            commands: handle.commands.clone(),
            waiting: VecDeque::new(),
        });
    }

    /// Gives an order back that can't be taken. All else waits until there is room; a driver that has ended needs none of
    /// it.
    pub fn command(&mut self, driver: DriverId, command: Command) -> Option<Box<Order>> {
        let Some(port) = self.drivers.get_mut(&driver) else {
            return order(command);
        };
        if !port.waiting.is_empty() {
            return port.wait(command);
        }
        match port.commands.try_send(command) {
            Ok(()) => None,
            Err(TrySendError::Full(command)) => port.wait(command),
            Err(TrySendError::Closed(command)) => order(command),
        }
    }

    /// What found a queue full is tried again.
    pub fn retry(&mut self) {
        for port in self.drivers.values_mut() {
            while let Some(command) = port.waiting.pop_front() {
                if let Err(TrySendError::Full(command)) = port.commands.try_send(command) {
                    port.waiting.push_front(command);
                    break;
                }
            }
        }
    }

    /// Drivers that have ended since this was asked last.
    pub fn ended(&mut self) -> Vec<DriverId> {
        let mut ended = Vec::new();
        self.drivers.retain(|id, port| {
            let gone = port.commands.is_closed();
            ended.extend(gone.then_some(*id));
            !gone
        });
        ended
    }
}

impl Port {
    fn wait(&mut self, command: Command) -> Option<Box<Order>> {
        match command {
            Command::Submit(order) => Some(order),
            command => {
                self.waiting.push_back(command);
                None
            }
        }
    }
}

fn order(command: Command) -> Option<Box<Order>> {
    match command {
        Command::Submit(order) => Some(order),
        Command::HangUp(_)
        | Command::Recorded(_)
        | Command::Drain
        | Command::End
        | Command::Prepare(_) => None,
    }
}
