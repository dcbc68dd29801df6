//! Which deliveries of a channel are settled, and which ack says so with the fewest words. Pure.
//!
//! Tags of a channel count from 1 without a gap. Answers come in any order; `basic.ack` with `multiple` settles
//! everything up to a tag. So the settled ones at the front go out as one ack, and what is settled behind one that
//! takes its time is acked singly, once it has waited.

use std::collections::VecDeque;

/// The deliveries of one channel, from the oldest unsettled one on.
pub(super) struct Tags<T> {
    first: u64,
    slots: VecDeque<Slot<T>>,
}

enum Slot<T> {
    Open(T),
    /// To be acked.
    Answered,
    /// The broker knows.
    Settled,
}

/// An ack to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub tag: u64,
    pub multiple: bool,
}

impl<T> Tags<T> {
    pub fn new() -> Tags<T> {
        Tags {
            first: 1,
            slots: VecDeque::new(),
        }
    }

    /// A delivery has come. False: its tag is not the next one, which no broker does.
    pub fn arrived(&mut self, tag: u64, held: T) -> bool {
        if tag != self.first + self.slots.len() as u64 {
            return false;
        }
        self.slots.push_back(Slot::Open(held));
        true
    }

    /// Not yet known to the broker as settled.
    pub fn unacked(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| !matches!(slot, Slot::Settled))
            .count()
    }

    /// What is held for an open delivery.
    pub fn held(&self, tag: u64) -> Option<&T> {
        match self.slots.get(self.place(tag)?)? {
            Slot::Open(held) => Some(held),
            Slot::Answered | Slot::Settled => None,
        }
    }

    /// This delivery is to be acked.
    pub fn answered(&mut self, tag: u64) {
        if let Some(place) = self.place(tag)
            && let Some(slot @ Slot::Open(_)) = self.slots.get_mut(place)
        {
            *slot = Slot::Answered;
        }
    }

    /// One ack for all that is answered at the front.
    pub fn front(&mut self) -> Option<Ack> {
        let mut last = None;
        while let Some(Slot::Answered | Slot::Settled) = self.slots.front() {
            if let Some(Slot::Answered) = self.slots.pop_front() {
                last = Some(self.first);
            }
            self.first += 1;
        }
        last.map(|tag| Ack {
            tag,
            multiple: true,
        })
    }

    /// Single acks for what is answered behind the front, at most so many.
    pub fn stragglers(&mut self, most: usize) -> Vec<Ack> {
        let mut acks = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if acks.len() >= most {
                break;
            }
            if matches!(slot, Slot::Answered) {
                *slot = Slot::Settled;
                acks.push(Ack {
                    tag: self.first + place as u64,
                    multiple: false,
                });
            }
        }
        acks
    }

    fn place(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_front_goes_as_one_and_no_ack_names_a_settled_tag() {
        let mut tags = Tags::new();
        for tag in 1..=6 {
            assert!(tags.arrived(tag, ()));
        }
        assert!(!tags.arrived(9, ()));
        for tag in [2, 3, 5] {
            tags.answered(tag);
        }
        assert_eq!(tags.front(), None);
        let singly = tags.stragglers(2);
        assert_eq!(
            singly
                .iter()
                .map(|a| (a.tag, a.multiple))
                .collect::<Vec<_>>(),
            [(2, false), (3, false)]
        );
        tags.answered(1);
        assert_eq!(
            tags.front(),
            Some(Ack {
                tag: 1,
                multiple: true
            })
        );
        tags.answered(4);
        assert_eq!(
            tags.front(),
            Some(Ack {
                tag: 5,
                multiple: true
            })
        );
        assert_eq!(tags.unacked(), 1);
        tags.answered(1);
        assert_eq!(tags.front(), None);
    }

    proptest! {
        /// A broker that follows the acks has settled exactly what was answered.
        #[test]
        fn everything_answered_is_acked_once(order in Just((1_u64..=40).collect::<Vec<_>>()).prop_shuffle(), singly in 0_usize..4) {
            let mut tags = Tags::new();
            let mut unsettled: std::collections::BTreeSet<u64> = (1..=40).collect();
            for tag in 1..=40 {
                tags.arrived(tag, ());
            }
            for tag in order {
                tags.answered(tag);
                let acks: Vec<Ack> = tags.front().into_iter().chain(tags.stragglers(singly)).collect();
                for ack in acks {
                    prop_assert!(unsettled.contains(&ack.tag), "unknown delivery tag");
                    if ack.multiple {
                        unsettled = unsettled.split_off(&(ack.tag + 1));
                    } else {
                        unsettled.remove(&ack.tag);
                    }
                }
                let open = (1..=40).filter(|t| tags.held(*t).is_some()).all(|t| unsettled.contains(&t));
                prop_assert!(open, "an open one was acked");
            }
            tags.front();
            prop_assert!(unsettled.is_empty());
        }
    }
}
