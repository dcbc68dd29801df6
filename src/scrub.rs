//! The program's memory allocator: the system's, with everything overwritten that is given back.
//!
//! Codes, numbers and texts pass through many hands (bodies, parsers, queues of libraries), and each leaves copies in
//! memory that it has freed. Overwriting them here reaches all of them, and needs no list of places. What is still in
//! use, on a stack or in a register is not reached: best effort, counted by a test.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
};

/// Growing moves into fresh memory, as [`GlobalAlloc::realloc`] does by itself: the system's own would free the old
/// place as it is.
pub struct Scrub;

// SAFETY: memory comes from the system's allocator and goes back to it, with the layouts that were given. What is
// overwritten was allocated with this layout, and its owner has given it up.
unsafe impl GlobalAlloc for Scrub {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises. A compiler that knows what freeing means would leave the writing out: the
        // black box may read it.
        unsafe {
            memory.write_bytes(0, layout.size());
            System.dealloc(black_box(memory), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_or_outgrown_is_overwritten() {
        let layout = Layout::from_size_align(4_096, 8).unwrap();
        // SAFETY: the layout is not empty, each block is used within its length, and looked at after its end only where
        // the system keeps freed blocks mapped, as it does below its threshold for mappings; its first 16 octets
        // become the allocator's own.
        let left = unsafe {
            let block = Scrub.alloc(layout);
            block.write_bytes(0x35, 4_096);
            let grown = Scrub.realloc(block, layout, 8_192);
            assert!((0..4_096).all(|n| *grown.add(n) == 0x35));
            let left = [block].map(|block| {
                (64..4_096)
                    .filter(|n| block.add(*n).read_volatile() == 0x35)
                    .count()
            });
            Scrub.dealloc(grown, Layout::from_size_align(8_192, 8).unwrap());
            left
        };
        assert_eq!(left, [0]);
    }
}
