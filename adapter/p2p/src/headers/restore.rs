//! The way back of a chain that was judged before.

use bitcoin::block::Header;
use bitcoin::{BlockHash, CompactTarget};
use millrace_core::Network;
use millrace_core::header::ChainWork;

use super::HeaderTree;
use super::node::{Node, Place};

/// Most headers that room is made for at once, whatever is announced.
const MAX_RESERVED: usize = 2_000_000;

impl HeaderTree {
    /// Takes in a chain, from height 1 on, that was judged before and that somebody vouches for: a
    /// checksum. No rule is checked again, and only the last header is hashed, since every other one
    /// is named by the next. If the first does not follow the genesis block, nothing is taken in.
    ///
    /// Costs some 100 ns a header.
    pub fn restore(network: Network, headers: impl IntoIterator<Item = Header>) -> Self {
        let mut tree = Self::new(network);
        tree.extend_trusted(headers);
        tree
    }

    /// Takes in headers that follow the tip and that somebody vouches for; see [`Self::restore`].
    /// Nothing is taken in if the first one does not follow the tip. There may be no other branches
    /// nor refused blocks yet.
    pub(super) fn extend_trusted(&mut self, headers: impl IntoIterator<Item = Header>) {
        let mut headers = headers.into_iter().peekable();
        let follows = headers
            .peek()
            .is_some_and(|first| first.prev_blockhash == self.tip_hash());
        if !follows {
            return;
        }
        self.reserve(headers.size_hint().0);
        let mut work = WorkOfBits::default();
        while let Some(header) = headers.next() {
            let hash = match headers.peek() {
                Some(next) => next.prev_blockhash,
                None => header.block_hash(),
            };
            self.append_trusted(&header, hash, work.of(header.bits));
        }
        let tip = self.end().saturating_sub(1);
        if let Some(context) = self.context_at(tip) {
            self.latest = (tip, context);
        }
    }

    /// Makes room for more headers, [`MAX_RESERVED`] at most.
    pub(super) fn reserve(&mut self, more: usize) {
        let more = more.min(MAX_RESERVED);
        self.nodes.reserve(more);
        self.best.reserve(more);
        self.positions.reserve(more, &self.nodes);
    }

    fn append_trusted(&mut self, header: &Header, hash: BlockHash, work: ChainWork) {
        let parent = self.best.last().copied().unwrap_or(0);
        let position = self.end();
        let above = self.at(parent);
        let place = Place {
            hash,
            height: self.tip_height().next(),
            chain_work: self.best_work().saturating_add(work),
        };
        let node = Node::at(header, place, parent, above, position, self.network);
        self.nodes.push(node);
        self.positions.insert(position, &self.nodes);
        self.best.push(position);
    }
}

/// The work of the bits asked for last: they change rarely, and a 256-bit division takes long.
#[derive(Default)]
struct WorkOfBits {
    bits: CompactTarget,
    work: ChainWork,
}

impl WorkOfBits {
    fn of(&mut self, bits: CompactTarget) -> ChainWork {
        if bits != self.bits || self.work == ChainWork::ZERO {
            self.bits = bits;
            self.work = ChainWork::of(bitcoin::Target::from_compact(bits));
        }
        self.work
    }
}
