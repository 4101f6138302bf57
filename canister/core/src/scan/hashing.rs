//! Hashes transaction ids and script keys four at a time, once so many wait.

use std::mem::take;

use bitcoin::Txid;
use bitcoin::hashes::Hash;

use super::window::BlockBytes;
use super::{Collected, ScannedCoin};
use crate::script::{ScriptHash, ScriptKey};
use crate::sha256::{
    BLOCK_BYTES, Block, Digest, LANES, SHORT_BYTES, blocks_of, digests, digests_of_digests, pad,
    short_block,
};

/// Longest transaction whose id waits for others, in bytes; a longer one is hashed as it is read.
pub(super) const LONG_BYTES: u32 = 16 * 1024;

/// Bytes of messages that wait, at most, before one more: enough that those hashed together are of
/// like length.
const BATCH_BYTES: usize = 48 * 1024;

/// Which ids a message gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    Txid,
    Wtxid,
    /// There is no witness data.
    Both,
}

/// A message that waits.
#[derive(Clone, Copy, Debug)]
struct Job {
    transaction: u32,
    ids: Ids,
    /// Where it begins, and its length, in blocks.
    first: usize,
    blocks: usize,
}

/// Where a transaction is, and its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) offset: u32,
    pub(super) bytes: u32,
    /// Where its witness data begins, if it has the form that has some.
    pub(super) witness_at: Option<u32>,
}

/// Hashes to be computed: messages of up to 80 KiB.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashing {
    /// Padded messages, one after another.
    messages: Vec<u8>,
    jobs: Vec<Job>,
    /// Scripts with the indices of their coins; fewer than four.
    scripts: Vec<(usize, Block)>,
}

impl Hashing {
    /// Takes the transaction at `index`, whose ids are computed later; the one with witness data only
    /// if it is wanted.
    pub(super) fn add<B: BlockBytes + ?Sized>(
        &mut self,
        source: &B,
        index: usize,
        parts: Parts,
        wants_wtxid: bool,
        found: &mut Collected,
    ) -> Result<(), B::Error> {
        let Parts {
            offset,
            bytes,
            witness_at,
        } = parts;
        let end = offset + bytes;
        match witness_at {
            None => {
                let ids = if wants_wtxid { Ids::Both } else { Ids::Txid };
                self.push(source, index, ids, &[(offset, end)])?;
            }
            Some(witness_at) => {
                let base = [
                    (offset, offset + 4),
                    (offset + 6, witness_at),
                    (end - 4, end),
                ];
                self.push(source, index, Ids::Txid, &base)?;
                if wants_wtxid {
                    self.push(source, index, Ids::Wtxid, &[(offset, end)])?;
                }
            }
        }
        if self.messages.len() >= BATCH_BYTES {
            self.hash_ids(found);
        }
        Ok(())
    }

    fn push<B: BlockBytes + ?Sized>(
        &mut self,
        source: &B,
        index: usize,
        ids: Ids,
        ranges: &[(u32, u32)],
    ) -> Result<(), B::Error> {
        let from = self.messages.len();
        let length: u32 = ranges.iter().map(|(start, end)| end - start).sum();
        let blocks = blocks_of(length as usize);
        self.messages.resize(from + blocks * BLOCK_BYTES, 0);
        let mut rest = self.messages.get_mut(from..).unwrap_or_default();
        for (start, end) in ranges {
            let (part, later) = rest.split_at_mut((end - start) as usize);
            source.read(*start, part)?;
            rest = later;
        }
        let padded = self.messages.get_mut(from..).unwrap_or_default();
        pad(padded, length as usize);
        self.jobs.push(Job {
            transaction: index as u32,
            ids,
            first: from / BLOCK_BYTES,
            blocks,
        });
        Ok(())
    }

    /// Takes the script of the coin at `index`, whose key is computed later.
    pub(super) fn add_script(&mut self, index: usize, script: &[u8], coins: &mut [ScannedCoin]) {
        if script.len() > SHORT_BYTES {
            if let Some(coin) = coins.get_mut(index) {
                coin.script = ScriptKey::from(&ScriptHash::of_parts(&[script]));
            }
            return;
        }
        self.scripts.push((index, short_block(script)));
        if self.scripts.len() == LANES {
            self.hash_scripts(coins);
        }
    }

    /// Computes all that waits.
    pub(super) fn finish(&mut self, found: &mut Collected) {
        self.hash_ids(found);
        self.hash_scripts(&mut found.coins);
    }

    fn hash_ids(&mut self, found: &mut Collected) {
        let mut jobs = take(&mut self.jobs);
        jobs.sort_unstable_by_key(|job| job.blocks);
        let (blocks, _) = self.messages.as_chunks::<BLOCK_BYTES>();
        for four in jobs.chunks(LANES) {
            let mut messages: [&[Block]; LANES] = [&[]; LANES];
            for (message, job) in messages.iter_mut().zip(four) {
                let range = job.first..job.first + job.blocks;
                *message = blocks.get(range).unwrap_or_default();
            }
            let ids = digests_of_digests(digests(messages));
            for (job, id) in four.iter().zip(ids) {
                found.note_id(job.transaction as usize, job.ids, id);
            }
        }
        jobs.clear();
        self.jobs = jobs;
        self.messages.clear();
    }

    fn hash_scripts(&mut self, coins: &mut [ScannedCoin]) {
        let empty = [0; BLOCK_BYTES];
        let mut blocks = [&empty; LANES];
        for (slot, (_, block)) in blocks.iter_mut().zip(&self.scripts) {
            *slot = block;
        }
        let keys = digests(blocks.map(std::slice::from_ref));
        for ((index, _), key) in self.scripts.iter().zip(keys) {
            if let Some(coin) = coins.get_mut(*index) {
                coin.script = ScriptKey::from(&ScriptHash::from_bytes(key));
            }
        }
        self.scripts.clear();
    }
}

impl Collected {
    fn note_id(&mut self, index: usize, ids: Ids, id: Digest) {
        if ids != Ids::Wtxid
            && let Some(txid) = self.txids.get_mut(index)
        {
            *txid = Txid::from_byte_array(id);
        }
        // The coinbase holds the commitment and cannot be under it.
        if ids != Ids::Txid
            && index > 0
            && let Some(wtxid) = self.wtxids.get_mut(index)
        {
            *wtxid = id;
        }
    }
}
