//! Sums over blocks taken in, and the row they make: per input and output, and per block.

use crate::counts::{Counts, Row, per, row};

/// Sums over a kind of blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phase {
    /// Blocks.
    pub blocks: u64,
    /// Their inputs and outputs, those of coinbases' inputs left out.
    pub ios: u64,
    /// What they cost.
    pub counts: Counts,
}

impl Phase {
    /// Adds a block of `ios` inputs and outputs.
    pub fn add(&mut self, ios: u64, counts: &Counts) {
        self.blocks += 1;
        self.ios += ios;
        self.counts.join(counts);
    }

    /// Per input and output, and per block.
    pub fn row(&self) -> Row {
        let Counts {
            messages,
            instructions,
            heap_dirtied,
            stable_dirtied,
            stable_read,
            longest,
        } = self.counts;
        row(&[
            (
                "instructions_per_io",
                instructions.div_ceil(self.ios.max(1)),
            ),
            ("heap_pages_per_1000_io", per(heap_dirtied, self.ios)),
            (
                "stable_pages_dirtied_per_1000_io",
                per(stable_dirtied, self.ios),
            ),
            ("stable_pages_read_per_1000_io", per(stable_read, self.ios)),
            ("messages_per_1000_blocks", per(messages, self.blocks)),
            (
                "heap_delta_bytes_per_block",
                self.counts.heap_delta().div_ceil(self.blocks.max(1)),
            ),
            ("longest_message", longest),
        ])
    }
}
