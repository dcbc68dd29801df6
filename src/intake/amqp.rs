//! Jobs and control words from RabbitMQ.

use super::Answer;

/// A delivery that waits for its ack.
#[derive(Debug)]
pub struct Ticket {}

impl Ticket {
    pub fn answer(self, _answer: Answer) {}
}
