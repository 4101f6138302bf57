//! One header of the tree, without what its parent tells.
//!
//! A [`HeaderContext`] of 208 bytes carries the past that its children are judged by. In a tree the
//! past is at hand, so a node keeps the header alone, and the context is put together when needed.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use millrace_core::header::{
    ChainWork, HeaderContext, MEDIAN_TIME_SPAN, PeriodStart, TrustedHeader,
};
use millrace_core::network::PERIOD_BLOCKS;
use millrace_core::{Height, Network};

use super::HeaderTree;

/// A header and its place; positions are those in the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    hash: BlockHash,
    merkle_root: TxMerkleNode,
    version: Version,
    time: u32,
    bits: CompactTarget,
    nonce: u32,
    height: Height,
    /// The genesis node names itself.
    parent: u32,
    /// The first header of the difficulty period.
    period: u32,
    /// The latest header of the period that did not use the 20-minute rule.
    regular: u32,
    chain_work: ChainWork,
}

impl Node {
    pub(super) fn genesis(context: &HeaderContext) -> Self {
        let header = context.header();
        Self {
            hash: context.hash(),
            merkle_root: header.merkle_root,
            version: header.version,
            time: header.time,
            bits: header.bits,
            nonce: header.nonce,
            height: context.height(),
            parent: 0,
            period: 0,
            regular: 0,
            chain_work: context.chain_work(),
        }
    }

    /// Makes the node of a judged header.
    pub(super) fn new(
        context: &HeaderContext,
        parent: u32,
        above: Option<&Self>,
        position: u32,
        network: Network,
    ) -> Self {
        let place = Place {
            hash: context.hash(),
            height: context.height(),
            chain_work: context.chain_work(),
        };
        Self::at(context.header(), place, parent, above, position, network)
    }

    /// Makes a node of a header and what was found out about it.
    pub(super) fn at(
        header: &Header,
        place: Place,
        parent: u32,
        above: Option<&Self>,
        position: u32,
        network: Network,
    ) -> Self {
        let starts_period = place.height.get().is_multiple_of(PERIOD_BLOCKS);
        let is_regular = starts_period || header.bits != network.pow_limit_bits();
        // What the period's other headers share with their parent.
        let period = above.filter(|_| !starts_period).map(|above| above.period);
        let regular = above.filter(|_| !is_regular).map(|above| above.regular);
        Self {
            hash: place.hash,
            merkle_root: header.merkle_root,
            version: header.version,
            time: header.time,
            bits: header.bits,
            nonce: header.nonce,
            height: place.height,
            parent,
            period: period.unwrap_or(position),
            regular: regular.unwrap_or(position),
            chain_work: place.chain_work,
        }
    }

    pub(super) const fn hash(&self) -> BlockHash {
        self.hash
    }

    pub(super) const fn height(&self) -> Height {
        self.height
    }

    pub(super) const fn time(&self) -> u32 {
        self.time
    }

    pub(super) const fn parent(&self) -> u32 {
        self.parent
    }

    pub(super) const fn chain_work(&self) -> ChainWork {
        self.chain_work
    }
}

/// What a header does not say itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) hash: BlockHash,
    pub(super) height: Height,
    pub(super) chain_work: ChainWork,
}

impl HeaderTree {
    /// Returns the header at a position.
    pub(super) fn header_of(&self, position: u32) -> Option<Header> {
        let node = self.at(position)?;
        let prev_blockhash = if position == 0 {
            BlockHash::all_zeros()
        } else {
            self.at(node.parent)?.hash
        };
        Some(Header {
            version: node.version,
            prev_blockhash,
            merkle_root: node.merkle_root,
            time: node.time,
            bits: node.bits,
            nonce: node.nonce,
        })
    }

    /// Returns what children of a position are judged by. Costs O(1) for the header accepted last,
    /// and one hash and ten steps for any other.
    pub(super) fn context_at(&self, position: u32) -> Option<HeaderContext> {
        let (latest, context) = &self.latest;
        if *latest == position {
            return Some(*context);
        }
        let node = self.at(position)?;
        let period = self.at(node.period)?;
        Some(HeaderContext::trusted(&TrustedHeader {
            header: self.header_of(position)?,
            height: node.height,
            chain_work: node.chain_work,
            earlier_times: self.times_before(node),
            period: PeriodStart {
                time: period.time,
                bits: period.bits,
            },
            last_regular_bits: self.at(node.regular)?.bits,
        }))
    }

    /// Returns the times of the headers before one, oldest first, as many as matter.
    fn times_before(&self, node: &Node) -> Vec<u32> {
        let count = (node.height.get() as usize).min(MEDIAN_TIME_SPAN - 1);
        let mut times = Vec::with_capacity(count);
        let mut current = node.parent;
        for _ in 0..count {
            let Some(node) = self.at(current) else {
                break;
            };
            times.push(node.time);
            current = node.parent;
        }
        times.reverse();
        times
    }
}
