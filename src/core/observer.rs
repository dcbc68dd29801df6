//! What the core tells of its work as it happens: for metrics, and for whoever counts in a test.

use std::{sync::Arc, time::Duration};

use crate::{
    admission::{Kind, alarm},
    carrier::ReceiptState,
    challenge::Challenge,
    delivery::{DeliveryState, Note},
};

/// Given to the core when it begins. It must be quick, and can't change anything.
pub trait Observer: Send {
    /// A report was made.
    fn report(&self, _: &Challenge, _: &DeliveryState, _: &Note) {}
    /// A challenge has ended, with all its attempts.
    fn ended(&self, _: &Challenge, _: &DeliveryState) {}
    /// A receipt of this carrier; `matched`: it was known whose it is.
    fn receipt(&self, _carrier: &Arc<str>, _: ReceiptState, _matched: bool) {}
    /// Nothing decided whose a receipt was.
    fn receipt_ambiguous(&self, _carrier: &Arc<str>) {}
    /// The carrier was told to bring a receipt again.
    fn receipt_refused(&self, _carrier: &Arc<str>) {}
    /// A text of a person.
    fn inbound(&self, _carrier: &Arc<str>) {}
    /// A challenge was over one of the limits in `[limits]`.
    fn over_limit(&self, _: Kind, _: alarm::Action) {}
    /// From the job's arrival to the order in the carrier driver's hands.
    fn job_to_wire(&self, _took: Duration) {}
    /// Challenges that are open, and those of them that wait for a carrier.
    fn open(&self, _open: usize, _waiting: usize) {}
}

/// Where nobody looks.
pub struct Unobserved;

impl Observer for Unobserved {}
