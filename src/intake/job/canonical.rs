//! What a job says, apart from how it says it: a hash that is the same for the same meaning. Order of keys, spaces,
//! escapes, defaults written out and the writing of a number don't count; where reports go doesn't either.

use ring::digest::{Context, SHA256};

/// Collects the content field by field, always in the same order.
pub(super) struct Content(Context);

impl Content {
    pub fn new() -> Content {
        Content(Context::new(&SHA256))
    }

    /// A field; None differs from an empty one.
    pub fn text(&mut self, text: Option<&str>) -> &mut Content {
        match text {
            None => self.0.update(&[0]),
            Some(text) => {
                self.0.update(&[1]);
                self.0.update(&(text.len() as u64).to_le_bytes());
                self.0.update(text.as_bytes());
            }
        }
        self
    }

    pub fn number(&mut self, number: Option<i64>) -> &mut Content {
        match number {
            None => self.0.update(&[0]),
            Some(number) => {
                self.0.update(&[2]);
                self.0.update(&number.to_le_bytes());
            }
        }
        self
    }

    pub fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}
