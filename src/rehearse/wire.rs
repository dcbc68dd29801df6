//! A network in memory: connections whose octets take their time, arrive in odd pieces, and stay away once the connection
//! is cut, in the middle of a PDU where that is how it falls.

use std::time::{Duration, Instant};

use super::dice::Dice;

/// One connection, as both of its ends have it.
pub struct Wire {
    /// When the last octets come to the far end, and to ours.
    to_far_end: Instant,
    to_us: Instant,
    /// Octets on their way are lost from here on.
    pub is_cut: bool,
    /// Octets that are not on their way yet are lost.
    pub is_broken: bool,
    /// Our end takes no octets now: what was written before has not left yet.
    pub is_full: bool,
}

/// Octets, and how long from now they arrive.
pub type Piece = (Duration, Vec<u8>);

/// Of all writes: our end takes them whole.
const TAKEN_WHOLE: u32 = 900;
/// Of all writes: they arrive in one piece.
const ONE_PIECE: u32 = 800;
/// The time that octets take, in milliseconds.
const LATENCY: (u64, u64) = (1, 40);

impl Wire {
    pub fn new(now: Instant) -> Wire {
        Wire {
            to_far_end: now,
            to_us: now,
            is_cut: false,
            is_broken: false,
            is_full: false,
        }
    }

    /// So many of these octets our end takes now.
    pub fn takes(&mut self, octets: usize, dice: &mut Dice) -> usize {
        if dice.chance(TAKEN_WHOLE) {
            return octets;
        }
        self.is_full = true;
        dice.below(octets as u64 + 1) as usize
    }

    /// The connection breaks on the way of these, as often as the profile has it: only a part of them arrives.
    pub fn breaks(&mut self, octets: &mut Vec<u8>, per_mille: u32, dice: &mut Dice) -> bool {
        self.is_broken = per_mille > 0 && dice.chance(per_mille);
        if self.is_broken {
            octets.truncate(dice.below(octets.len() as u64 + 1) as usize);
        }
        self.is_broken
    }

    /// Ours leave.
    pub fn send(&mut self, octets: Vec<u8>, now: Instant, dice: &mut Dice) -> Vec<Piece> {
        pieces(octets, &mut self.to_far_end, now, dice)
    }

    /// Those of the far end leave.
    pub fn send_back(&mut self, octets: Vec<u8>, now: Instant, dice: &mut Dice) -> Vec<Piece> {
        pieces(octets, &mut self.to_us, now, dice)
    }

    /// From now until all that we have sent is there.
    pub fn sent_by(&self, now: Instant) -> Duration {
        self.to_far_end.saturating_duration_since(now)
    }

    /// From now until all that the far end has sent is there.
    pub fn sent_back_by(&self, now: Instant) -> Duration {
        self.to_us.saturating_duration_since(now)
    }
}

/// In order, each not before the last.
fn pieces(mut octets: Vec<u8>, last: &mut Instant, now: Instant, dice: &mut Dice) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut arrives = |octets: Vec<u8>, dice: &mut Dice| {
        let at = now + dice.between(LATENCY.0, LATENCY.1);
        *last = at.max(*last);
        pieces.push((last.saturating_duration_since(now), octets));
    };
    while octets.len() > 1 && !dice.chance(ONE_PIECE) {
        let rest = octets.split_off(1 + dice.below(octets.len() as u64 - 1) as usize);
        arrives(std::mem::replace(&mut octets, rest), dice);
    }
    arrives(octets, dice);
    pieces
}
