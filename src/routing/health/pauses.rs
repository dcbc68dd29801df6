//! Does a carrier that relays the answers of others speak for itself when it asks for a pause? Pure; time is an argument.
//!
//! RFC 3261, 21.5.4, lets a 503 with Retry-After speak for the whole server, and 16.7 forbids a proxy to hand on that of
//! another. Many do. So a pause that few are told of, while all others get through, is that of the network behind.

use std::{collections::VecDeque, time::Duration};

use crate::clock::Mono;

/// The last answers of one carrier: did they ask for a pause?
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses(VecDeque<(Mono, bool)>);

/// So many answers are looked at.
const LAST: usize = 40;
/// Older ones say nothing of now.
const OLDEST: Duration = Duration::from_secs(600);
/// With fewer answers of another kind, the first that asks for a pause is believed.
const OTHERS: usize = 5;
/// From this part of the answers on, they speak for the whole: one of four.
const PART: usize = 4;

impl Pauses {
    pub fn add(&mut self, now: Mono, asked: bool) {
        self.0.push_back((now, asked));
        if self.0.len() > LAST {
            self.0.pop_front();
        }
    }

    pub fn speak_for_all(&mut self, now: Mono) -> bool {
        self.0
            .retain(|(at, _)| now.saturating_duration_since(*at) <= OLDEST);
        let asked = self.0.iter().filter(|(_, asked)| *asked).count();
        self.0.len() - asked < OTHERS || asked * PART >= self.0.len()
    }
}
