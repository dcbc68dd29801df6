//! The client library's receive buffer, a ring of megabytes: what was read out of it would stay there until the ring comes
//! round. What the library offers to read into is the whole of its free room, and the octets it has read last lie at
//! the end of that.

/// How much of what was handed over may still lie in the free room.
#[derive(Debug, Default)]
pub(super) struct Behind {
    handed: usize,
    /// The most room that was ever offered: the ring, when it was empty.
    most: usize,
}

impl Behind {
    /// Overwrites in the free room, `length` in all, what was handed over and is read; `free` from its end on.
    pub fn forget<'a>(&mut self, length: usize, free: impl Iterator<Item = &'a mut [u8]>) {
        self.most = self.most.max(length);
        let mut left = self.handed;
        for room in free {
            let count = left.min(room.len());
            let from = room.len() - count;
            room[from..].fill(0);
            left -= count;
        }
        // What is not read yet comes free later.
        self.handed = self.most - length;
    }

    pub fn handed(&mut self, count: usize) {
        self.handed += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring as the library has it, which reads in bites of five octets.
    #[test]
    fn what_was_read_is_gone_wherever_the_ring_begins() {
        let mut ring = [0u8; 16];
        let (mut position, mut end, mut held) = (0, 0, 0);
        let mut behind = Behind::default();
        for round in 0..50usize {
            let free = ring.len() - held;
            let (second, first) = ring.split_at_mut(end);
            if end >= position && held < 16 {
                let second = &mut second[..position];
                behind.forget(free, [second, first].into_iter());
            } else {
                let first = &mut ring[end..position];
                behind.forget(free, [first].into_iter());
            }
            for at in 0..free {
                assert_eq!(ring[(end + at) % 16], 0, "round {round}: {ring:?}");
            }
            let count = (1 + round % 7).min(free).min(16 - end);
            ring[end..end + count].fill(b'7');
            end = (end + count) % 16;
            held += count;
            behind.handed(count);
            let read = held.min(5);
            position = (position + read) % 16;
            held -= read;
        }
    }
}
