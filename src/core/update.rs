//! What another configuration makes of a carrier.

use std::sync::Arc;

use crate::{
    carrier::{DriverId, Slots},
    config::CarrierConfig,
};

/// A carrier of another configuration.
pub struct CarrierUpdate {
    pub config: Arc<CarrierConfig>,
    pub driver: DriverId,
    pub slots: Slots,
    pub link: UpdateLink,
}

/// What becomes of a driver's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateLink {
    /// A driver that begins; one that had the name before finishes what it has.
    New,
    /// The same driver by other addresses or credentials: what is known of its health is of no use.
    Fresh,
    /// The same driver, the same link.
    Stays,
}

impl UpdateLink {
    pub fn of(fresh: bool) -> UpdateLink {
        match fresh {
            true => UpdateLink::Fresh,
            false => UpdateLink::Stays,
        }
    }
}
