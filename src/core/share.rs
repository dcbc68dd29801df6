//! This node's part of what a carrier allows the company: its pace and its concurrent calls. The window is a bind's, and is
//! not shared.

use crate::{
    config::{CarrierConfig, carrier::Transport},
    pace::Pace,
};

/// One part of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    pub const WHOLE: Share = Share(1);
    /// Others may still use all of it.
    pub const NONE: Share = Share(0);

    /// 0: none.
    pub fn one_of(parts: u32) -> Share {
        Share(parts)
    }

    /// May anything be given to this carrier?
    pub fn allows(self, config: &CarrierConfig) -> bool {
        let is_shared = config.pace.is_some() || matches!(config.transport, Transport::Sip(_));
        self != Share::NONE || !is_shared
    }

    pub fn pace(self, whole: Option<Pace>) -> Option<Pace> {
        whole.map(|pace| Pace {
            per: pace.per * self.0.max(1),
            ..pace
        })
    }

    /// How many of the slots that its driver has.
    pub fn slots(self, slots: u32, config: &CarrierConfig) -> u32 {
        match &config.transport {
            Transport::Sip(sip) if self != Share::WHOLE => {
                slots.min(sip.max_calls.checked_div(self.0).unwrap_or(0))
            }
            Transport::Sip(_) | Transport::Smpp(_) | Transport::Http(_) => slots,
        }
    }
}
