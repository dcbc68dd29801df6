//! What arrived and what did not: loss and jitter of the incoming stream (RFC 3550, appendices A.1, A.3, A.8).

use std::time::Instant;

use super::SAMPLE_RATE;

/// Accounts for the packets of the current source; a source that restarts is counted on top.
#[derive(Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    received: u64,
    expected_before: u64,
    jitter: f64,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: u16,
    highest: u16,
    cycles: u64,
    /// The sequence number that would prove that a far jump was a restart.
    suspected: Option<u16>,
    last: Option<(Instant, u32)>,
}

/// The figures of a stream, at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceptionStats {
    /// Packets taken, repeats included.
    pub received: u64,
    /// Packets that never came (repeats make up for losses, as RFC 3550 has it).
    pub lost: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
}

/// Where a packet stands in the order of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next, or later than it.
    Ahead,
    /// A repeat, or one that was overtaken.
    Behind,
    /// The first of a source.
    First,
    /// So far off that it is not believed yet; not counted.
    Astray,
}

impl Reception {
    /// A packet arrived.
    pub fn receive(&mut self, now: Instant, ssrc: u32, sequence: u16, timestamp: u32) -> Order {
        let order = match &mut self.source {
            Some(source) if source.ssrc == ssrc => source.place(sequence),
            _ => Order::First,
        };
        match order {
            Order::Astray => return order,
            Order::First => self.start(ssrc, sequence),
            Order::Ahead | Order::Behind => {}
        }
        self.received += 1;
        if order != Order::Behind {
            self.track_jitter(now, timestamp);
        }
        order
    }

    fn start(&mut self, ssrc: u32, sequence: u16) {
        self.expected_before += self.source.as_ref().map_or(0, Source::expected);
        self.source = Some(Source {
            ssrc,
            first: sequence,
            highest: sequence,
            cycles: 0,
            suspected: None,
            last: None,
        });
    }

    /// Appendix A.8. Packets of one timestamp (events) are one point in time and say nothing of jitter.
    fn track_jitter(&mut self, now: Instant, timestamp: u32) {
        let Some(source) = &mut self.source else {
            return;
        };
        if let Some((then, before)) = source.last {
            let step = timestamp.wrapping_sub(before) as i32;
            if step <= 0 {
                return;
            }
            let passed = now.saturating_duration_since(then).as_secs_f64() * f64::from(SAMPLE_RATE);
            // A pause of the sender is no jitter.
            if step < SAMPLE_RATE as i32 {
                let off = (passed - f64::from(step)).abs();
                self.jitter += (off - self.jitter) / 16.0;
            }
        }
        source.last = Some((now, timestamp));
    }

    pub fn stats(&self) -> ReceptionStats {
        let expected = self.expected_before + self.source.as_ref().map_or(0, Source::expected);
        ReceptionStats {
            received: self.received,
            lost: expected.saturating_sub(self.received),
            jitter_ms: self.jitter * 1000.0 / f64::from(SAMPLE_RATE),
        }
    }
}

impl Source {
    /// Appendix A.1, without the probation of new sources: the address has been checked already.
    fn place(&mut self, sequence: u16) -> Order {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead != 0 && ahead < MAX_DROPOUT {
            if sequence < self.highest {
                self.cycles += 1;
            }
            (self.highest, self.suspected) = (sequence, None);
            return Order::Ahead;
        }
        if self.highest.wrapping_sub(sequence) < MAX_MISORDER {
            return Order::Behind;
        }
        if self.suspected == Some(sequence) {
            return Order::First;
        }
        self.suspected = Some(sequence.wrapping_add(1));
        Order::Astray
    }

    fn expected(&self) -> u64 {
        self.cycles * 65_536 + u64::from(self.highest) - u64::from(self.first) + 1
    }
}

/// A gap of a minute is still a gap.
const MAX_DROPOUT: u16 = 3_000;
/// Packets may be overtaken by this many.
const MAX_MISORDER: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn feed(
        reception: &mut Reception,
        t: Instant,
        sequences: impl IntoIterator<Item = u16>,
    ) -> Vec<Order> {
        let give = |(i, s): (usize, u16)| {
            reception.receive(
                t + Duration::from_millis(20 * i as u64),
                1,
                s,
                160 * i as u32,
            )
        };
        sequences.into_iter().enumerate().map(give).collect()
    }

    #[test]
    fn gaps_are_losses_and_the_wrap_is_none() {
        let mut reception = Reception::default();
        feed(&mut reception, Instant::now(), [65_533, 65_534, 1, 2, 5]);
        assert_eq!((reception.stats().received, reception.stats().lost), (5, 4));
    }

    #[test]
    fn an_overtaken_packet_is_no_loss() {
        let mut reception = Reception::default();
        let orders = feed(&mut reception, Instant::now(), [10, 12, 11, 12, 13]);
        assert_eq!(
            orders,
            [
                Order::First,
                Order::Ahead,
                Order::Behind,
                Order::Behind,
                Order::Ahead
            ]
        );
        assert_eq!(reception.stats().lost, 0);
    }

    #[test]
    fn a_far_jump_must_prove_itself() {
        let mut reception = Reception::default();
        let orders = feed(
            &mut reception,
            Instant::now(),
            [10, 11, 40_000, 12, 50_000, 50_001, 50_002],
        );
        assert_eq!(orders[2], Order::Astray);
        assert_eq!(orders[3], Order::Ahead);
        assert_eq!((orders[4], orders[5]), (Order::Astray, Order::First));
        assert_eq!(reception.stats().lost, 0);
    }

    #[test]
    fn another_source_is_counted_on_top() {
        let (mut reception, t) = (Reception::default(), Instant::now());
        reception.receive(t, 1, 10, 0);
        reception.receive(t, 1, 12, 320);
        reception.receive(t, 2, 900, 0);
        reception.receive(t, 2, 901, 160);
        assert_eq!((reception.stats().received, reception.stats().lost), (4, 1));
    }

    #[test]
    fn even_arrivals_have_no_jitter_and_uneven_ones_do() {
        let t = Instant::now();
        let (mut even, mut uneven) = (Reception::default(), Reception::default());
        for i in 0..500u16 {
            let due = t + Duration::from_millis(20 * u64::from(i));
            even.receive(due, 1, i, 160 * u32::from(i));
            uneven.receive(
                due + Duration::from_millis(u64::from(i % 2) * 10),
                1,
                i,
                160 * u32::from(i),
            );
        }
        assert!(even.stats().jitter_ms < 0.01);
        assert!(
            (8.0..12.0).contains(&uneven.stats().jitter_ms),
            "{}",
            uneven.stats().jitter_ms
        );
    }

    proptest! {
        /// Of a stream with any start, packets 1..n with some lost, the losses are those lost (the first and
        /// the last packet arrive).
        #[test]
        fn losses_are_counted(start in any::<u16>(), kept in proptest::collection::vec(any::<bool>(), 0..600)) {
            let mut reception = Reception::default();
            let mut sequences = vec![start];
            sequences.extend(
                kept.iter().enumerate().filter(|(_, k)| **k).map(|(i, _)| start.wrapping_add(i as u16 + 1))
            );
            sequences.push(start.wrapping_add(kept.len() as u16 + 1));
            feed(&mut reception, Instant::now(), sequences);
            let lost = kept.iter().filter(|k| !**k).count() as u64;
            prop_assert_eq!(reception.stats().lost, lost);
        }
    }
}
