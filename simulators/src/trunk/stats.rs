//! What a trunk counts: for benches, and for tests that want nothing left over.

use std::time::Duration;

/// Counts since the start.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// INVITEs that began or asked to begin a call, repetitions not counted.
    pub invites: u64,
    /// Of these, asked for credentials.
    pub challenged: u64,
    /// Calls answered.
    pub answered: u64,
    /// Answers ACKed.
    pub acks: u64,
    /// BYEs of the gateway.
    pub byes: u64,
    /// BYEs of ours.
    pub own_byes: u64,
    /// CANCELs.
    pub cancels: u64,
    /// OPTIONS.
    pub options: u64,
    /// Keys pressed.
    pub keys: u64,
    /// Requests that came again.
    pub repeated: u64,
    /// Messages of ours that went again.
    pub resent: u64,
    /// Final answers never ACKed.
    pub unacked: u64,
    /// Bytes that were no message.
    pub malformed: u64,
    /// Calls that have ended, refused ones too.
    pub ended: u64,
    /// Calls that are up or ringing now.
    pub live: u64,
    /// Media packets of ended calls.
    pub packets_received: u64,
    /// Of these streams, missing.
    pub packets_lost: u64,
    /// Of these, overtaken.
    pub packets_reordered: u64,
    /// First packet of the last key to the BYE after it.
    pub key_to_bye: Spread,
}

/// How durations are spread: 0.1 ms exact up to 100 ms, 10 ms up to 10 s.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    fine: Vec<u32>,
    coarse: Vec<u32>,
    count: u64,
}

impl Spread {
    /// One more.
    pub fn add(&mut self, duration: Duration) {
        let place = (duration.as_micros() / 100) as usize;
        let (buckets, place) = if place < BUCKETS {
            (&mut self.fine, place)
        } else {
            (&mut self.coarse, (place / 100).min(BUCKETS - 1))
        };
        if buckets.is_empty() {
            buckets.resize(BUCKETS, 0);
        }
        buckets[place] = buckets[place].saturating_add(1);
        self.count += 1;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration (ms) that `share` of them (0 to 1) do not exceed; none where there are none.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let wanted = (self.count as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let fine = self
            .fine
            .iter()
            .enumerate()
            .map(|(at, n)| (at as f64 * 0.1, n));
        let coarse = self
            .coarse
            .iter()
            .enumerate()
            .map(|(at, n)| (at as f64 * 10.0, n));
        let mut seen = 0;
        fine.chain(coarse).find_map(|(ms, n)| {
            seen += u64::from(*n);
            (seen >= wanted).then_some(ms)
        })
    }
}

const BUCKETS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile_ms(0.5), None);
        for ms in 1..=100u64 {
            spread.add(Duration::from_millis(ms * if ms > 98 { 10 } else { 1 }));
        }
        assert_eq!(spread.quantile_ms(0.5).map(f64::round), Some(50.0));
        assert_eq!(spread.quantile_ms(0.98).map(f64::round), Some(98.0));
        assert_eq!(spread.quantile_ms(1.0), Some(1000.0));
        assert_eq!(spread.count(), 100);
    }
}
