//! The machine that reads a block item by item.

use bitcoin::hashes::Hash;
use bitcoin::{Script, Sequence, Txid};

use super::hashing::{Hashing, Parts};
use super::open::{Fault, Open, Region, p2sh_sigop_cost};
use super::reading::Malformed;
use super::sigops::SigopCounter;
use super::window::{BlockBytes, Window};
use super::{Collected, Lock, ScanError, ScannedBlock, ScannedCoin};
use crate::block::{BlockError, HEADER_BYTES, MAX_BASE_BYTES, MAX_BLOCK_BYTES, decode_header};
use crate::delta::{MAX_SCRIPT_BYTES, is_unspendable};
use crate::script::{SCRIPT_KEY_BYTES, ScriptKey};

/// Bytes of a transaction that count as one input or output.
pub const BYTES_PER_ITEM: usize = 2_000;

const OUTPOINT_BYTES: usize = 36;
const VALUE_BYTES: usize = 8;
pub(super) const FIXED_BYTES: usize = 4;

/// How an output script that commits to witnesses starts: `OP_RETURN`, a push of 36 bytes, a
/// marker. 32 bytes of hash follow; more may.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Bytes of the shortest script that commits to witnesses.
const COMMITMENT_BYTES: usize = COMMITMENT_PREFIX.len() + 32;

/// The lowest transaction version whose sequence numbers are relative lock-times (BIP68). Versions
/// are compared without sign.
const FIRST_LOCKING_VERSION: u32 = 2;

/// Witness items that count as one input or output: they are only stepped over.
const WITNESS_ITEMS_PER_ITEM: usize = 32;

/// What a step of a [`BlockScanner`] led to.
pub enum ScanStep {
    /// The budget ran out; call again.
    More(Box<BlockScanner>),
    /// The whole block, and its structure holds.
    Done(Box<ScannedBlock>),
}

/// A block being read. It holds nothing that cannot be read again: drop it at any time.
#[derive(Clone)]
pub struct BlockScanner {
    pub(super) judges: bool,
    pub(super) window: Window,
    pub(super) found: Collected,
    hashing: Hashing,
    /// Transactions not begun.
    left: u64,
    stage: Stage,
    pub(super) open: Open,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Transaction,
    Input,
    /// A script too long to be of use, of which so many bytes are left.
    InputScript(u64),
    Sequence,
    Outputs,
    Output,
    OutputScript(u64),
    /// The number of witness items of the next input.
    Witness,
    /// The length of a witness item.
    Item,
    ItemBytes(u64),
    LockTime,
}

pub(super) type Scan<T, E> = Result<T, ScanError<E>>;

impl BlockScanner {
    /// Starts to read a block. `judges` is whether rules of transactions are to be judged, ids
    /// with witness data hashed and signature operations counted: what
    /// [`crate::consensus::BlockValidation::Consensus`] needs.
    ///
    /// # Errors
    /// [`ScanError`] when there is no header or no transaction.
    pub fn start<B: BlockBytes + ?Sized>(source: &B, judges: bool) -> Scan<Self, B::Error> {
        let length = source.length() as usize;
        if length > MAX_BLOCK_BYTES {
            return Err(ScanError::Block(BlockError::TooLong { length }));
        }
        let mut window = Window::default();
        window.refill(source).map_err(ScanError::Bytes)?;
        let header = decode_header(window.take(HEADER_BYTES));
        let header = header.ok_or(ScanError::Block(BlockError::NoHeader { length }))?;
        let mut scanner = Self {
            judges,
            window,
            found: Collected::new(header),
            hashing: Hashing::default(),
            left: 0,
            stage: Stage::Transaction,
            open: Open::new(0, 0, 0),
        };
        scanner.left = scanner.number(source)?;
        scanner.found.base_bytes = scanner.window.offset() as usize;
        scanner.window.settle();
        if scanner.left == 0 {
            let hash = scanner.found.hash;
            return Err(ScanError::Block(BlockError::Empty { hash }));
        }
        Ok(scanner)
    }

    /// Reads up to `budget` inputs and outputs (at least one, so that every call progresses). A
    /// transaction counts as one more, and one for each [`BYTES_PER_ITEM`] of it.
    ///
    /// Ids are hashed four at a time, some hundred together. The last step also costs a double SHA-256 for
    /// each transaction, and a sort of their ids.
    ///
    /// # Errors
    /// [`ScanError`]; see [`BlockError::condemns_header`].
    pub fn step<B: BlockBytes + ?Sized>(
        mut self,
        source: &B,
        budget: usize,
    ) -> Scan<ScanStep, B::Error> {
        let mut spent = 0;
        let mut items = 0;
        while self.stage != Stage::Transaction || self.left > 0 {
            if spent + items / WITNESS_ITEMS_PER_ITEM >= budget.max(1) {
                return Ok(ScanStep::More(Box::new(self)));
            }
            let from = self.window.offset();
            let is_item = matches!(self.stage, Stage::Item);
            self.item(source)?;
            let bytes = (self.window.offset() - from) as usize;
            if is_item {
                items += 1;
            } else {
                spent += 1;
            }
            spent += bytes / BYTES_PER_ITEM;
        }
        let block = self.finish(source)?;
        Ok(ScanStep::Done(Box::new(block)))
    }

    fn finish<B: BlockBytes + ?Sized>(mut self, source: &B) -> Scan<ScannedBlock, B::Error> {
        let used = self.window.offset() as usize;
        let length = source.length() as usize;
        let hash = self.found.hash;
        if used != length {
            return Err(ScanError::Block(BlockError::TrailingBytes {
                hash,
                used,
                trailing: length.saturating_sub(used),
            }));
        }
        self.hashing.finish(&mut self.found);
        self.found.check().map_err(ScanError::Block)
    }

    /// Takes the next item, whichever it is.
    fn item<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        match self.stage {
            Stage::Transaction => self.begin(source),
            Stage::Input => self.input(source),
            Stage::InputScript(left) => {
                self.stage = match self.pass(source, left)? {
                    0 => {
                        self.open.sigops =
                            self.open.sigops.saturating_add(self.open.counter.total());
                        Stage::Sequence
                    }
                    left => Stage::InputScript(left),
                };
                Ok(())
            }
            Stage::Sequence => self.sequence(source),
            Stage::Outputs => self.outputs(source),
            Stage::Output => self.output(source),
            Stage::OutputScript(left) => {
                self.stage = match self.pass(source, left)? {
                    0 => {
                        self.open.sigops =
                            self.open.sigops.saturating_add(self.open.counter.total());
                        self.after_output()
                    }
                    left => Stage::OutputScript(left),
                };
                Ok(())
            }
            Stage::Witness => self.witness(source),
            Stage::Item => self.witness_item(source),
            Stage::ItemBytes(left) => {
                self.stage = match self.pass(source, left)? {
                    0 => self.after_item(),
                    left => Stage::ItemBytes(left),
                };
                Ok(())
            }
            Stage::LockTime => self.end(source),
        }
    }

    fn begin<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.left -= 1;
        let offset = self.window.offset();
        self.open = Open::new(offset, self.found.inputs.len(), self.found.coins.len());
        self.need(source, FIXED_BYTES + 2)?;
        self.open.version = self.fixed();
        if let [0, flag, ..] = *self.window.rest() {
            if flag != 1 {
                return Err(self.malformed(Malformed::Flag(offset, flag)));
            }
            self.open.is_segwit = true;
            self.enter(source, Region::Witness)?;
            self.window.take(2);
            self.open.witness_bytes = 2;
            self.enter(source, Region::Base)?;
        }
        self.open.inputs = self.number(source)?;
        if self.open.inputs == 0 {
            return Err(self.malformed(Malformed::NoInputs(offset)));
        }
        self.open.left = self.open.inputs;
        self.stage = Stage::Input;
        Ok(())
    }

    fn input<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.open.left -= 1;
        self.need(source, OUTPOINT_BYTES)?;
        let outpoint = self.window.take(OUTPOINT_BYTES);
        let txid = outpoint.first_chunk().copied().unwrap_or_default();
        let vout = outpoint.last_chunk().copied().unwrap_or_default();
        let (txid, vout) = (Txid::from_byte_array(txid), u32::from_le_bytes(vout));
        let is_null = vout == u32::MAX && txid == Txid::all_zeros();
        self.open.is_coinbase = is_null && self.open.inputs == 1;
        if is_null && !self.open.is_coinbase {
            self.open.blame(Fault::NullInput);
        }
        let length = self.number(source)?;
        if length > MAX_SCRIPT_BYTES as u64 {
            self.long_input(txid, vout, length);
            return Ok(());
        }
        self.need(source, length as usize + FIXED_BYTES)?;
        let script = self.window.take(length as usize);
        let mut input = self.open.input(self.found.transactions.len(), txid, vout);
        if self.judges {
            let sigops = SigopCounter::count(script, false);
            self.open.sigops = self.open.sigops.saturating_add(sigops);
            input.p2sh_sigop_cost = p2sh_sigop_cost(script);
        }
        if self.open.is_coinbase {
            self.found.note_coinbase(script, &mut self.open);
        } else if self.keeps_records() {
            self.found.inputs.push(input);
        }
        self.sequence(source)
    }

    /// An input script that cannot be executed is passed over: only its operations count.
    fn long_input(&mut self, txid: Txid, vout: u32, length: u64) {
        let script_bytes = length as usize;
        if self.open.is_coinbase {
            self.found.note_coinbase(&[], &mut self.open);
            self.open.fault = Some(Fault::CoinbaseScript {
                length: script_bytes,
            });
        } else {
            self.open.blame(Fault::ScriptTooLong {
                length: script_bytes,
            });
            let input = self.open.input(self.found.transactions.len(), txid, vout);
            if self.keeps_records() {
                self.found.inputs.push(input);
            }
        }
        self.open.counter = SigopCounter::new(false);
        self.stage = Stage::InputScript(length);
    }

    fn sequence<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.need(source, FIXED_BYTES)?;
        let sequence = self.fixed();
        self.open.ignores_lock_time &= sequence == Sequence::MAX.to_consensus_u32();
        if self.open.version >= FIRST_LOCKING_VERSION
            && !self.open.is_coinbase
            && let Some(input) = self.found.inputs.last_mut()
        {
            input.sequence = sequence;
        }
        self.stage = match self.open.left {
            0 => Stage::Outputs,
            _ => Stage::Input,
        };
        Ok(())
    }

    fn outputs<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.open.left = self.number(source)?;
        if self.open.left == 0 {
            self.open.blame(Fault::NoOutputs);
        }
        self.stage = match self.open.left {
            0 => self.after_outputs(),
            _ => Stage::Output,
        };
        Ok(())
    }

    fn output<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.open.left -= 1;
        self.need(source, VALUE_BYTES)?;
        let value = self.window.take(VALUE_BYTES).first_chunk().copied();
        let satoshi = u64::from_le_bytes(value.unwrap_or_default());
        self.open.add_output(satoshi);
        let length = self.number(source)?;
        if length > MAX_SCRIPT_BYTES as u64 {
            // Nobody can spend it, but it may commit to witnesses, however long it is.
            self.need(source, COMMITMENT_BYTES)?;
            self.note_commitment();
            self.open.counter = SigopCounter::new(false);
            self.stage = Stage::OutputScript(length);
            return Ok(());
        }
        self.need(source, length as usize)?;
        if length >= COMMITMENT_BYTES as u64 {
            self.note_commitment();
        }
        let keeps_records = self.keeps_records();
        let script_offset = self.window.offset();
        let script = self.window.take(length as usize);
        if self.judges {
            let sigops = SigopCounter::count(script, false);
            self.open.sigops = self.open.sigops.saturating_add(sigops);
        }
        let script = Script::from_bytes(script);
        if !is_unspendable(script) && keeps_records {
            self.found.coins.push(ScannedCoin {
                transaction: self.found.transactions.len() as u32,
                vout: (self.open.outputs - 1) as u32,
                satoshi,
                script_offset,
                script_bytes: length as u32,
                script: ScriptKey([0; SCRIPT_KEY_BYTES]),
                lock: Lock::of(script.as_bytes()),
                coinbase: self.open.is_coinbase,
            });
            let index = self.found.coins.len() - 1;
            self.hashing
                .add_script(index, script.as_bytes(), &mut self.found.coins);
        }
        self.stage = self.after_output();
        Ok(())
    }

    /// Notes the witness commitment that the script at hand makes, if it is the coinbase's and makes
    /// one. The last one counts (BIP141).
    fn note_commitment(&mut self) {
        if self.found.transactions.is_empty()
            && let Some(rest) = self.window.rest().strip_prefix(&COMMITMENT_PREFIX)
            && let Some(hash) = rest.first_chunk()
        {
            self.found.witness.commitment = Some(*hash);
        }
    }

    /// Returns whether records of inputs and coins are of use: not of a block that is too large even
    /// without its witness data.
    fn keeps_records(&self) -> bool {
        let open = self.window.offset() - self.open.offset - self.open.witness_bytes;
        self.found.base_bytes + open as usize <= MAX_BASE_BYTES
    }

    const fn after_output(&mut self) -> Stage {
        match self.open.left {
            0 => self.after_outputs(),
            _ => Stage::Output,
        }
    }

    const fn after_outputs(&mut self) -> Stage {
        if self.open.is_segwit {
            self.open.left = self.open.inputs;
            Stage::Witness
        } else {
            Stage::LockTime
        }
    }

    fn witness<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        if self.open.witness_at.is_none() {
            self.open.witness_at = Some(self.window.offset());
        }
        self.enter(source, Region::Witness)?;
        self.open.left -= 1;
        let from = self.window.offset();
        self.open.items = self.number(source)?;
        self.open.witness_bytes += self.window.offset() - from;
        self.open.has_witness |= self.open.items > 0;
        if self.found.transactions.is_empty() && self.open.left + 1 == self.open.inputs {
            let items = u32::try_from(self.open.items).unwrap_or(u32::MAX);
            self.found.witness.nonce_items = items;
        }
        self.stage = self.next_item();
        Ok(())
    }

    fn witness_item<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.open.items -= 1;
        let from = self.window.offset();
        let length = self.number(source)?;
        self.open.witness_bytes += self.window.offset() - from;
        self.open.counter = SigopCounter::new(true);
        let is_nonce = self.found.transactions.is_empty()
            && self.open.left + 1 == self.open.inputs
            && self.open.items + 1 == u64::from(self.found.witness.nonce_items);
        if is_nonce {
            self.found.witness.nonce_bytes = u32::try_from(length).unwrap_or(u32::MAX);
            if length == 32 {
                self.need(source, 32)?;
                let nonce = self.window.rest().first_chunk().copied();
                self.found.witness.nonce = nonce.unwrap_or_default();
            }
        }
        // Most items are short and at hand.
        self.stage = if length <= self.window.ready() as u64 {
            self.pass(source, length)?;
            self.after_item()
        } else {
            Stage::ItemBytes(length)
        };
        Ok(())
    }

    fn after_item(&mut self) -> Stage {
        if self.open.items == 0 && self.judges {
            self.open.note_witness_script(&mut self.found.inputs);
        }
        self.next_item()
    }

    const fn next_item(&mut self) -> Stage {
        match (self.open.items, self.open.left) {
            (0, 0) => Stage::LockTime,
            (0, _) => Stage::Witness,
            _ => Stage::Item,
        }
    }

    fn end<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        self.enter(source, Region::Base)?;
        if self.open.is_segwit && !self.open.has_witness {
            return Err(self.malformed(Malformed::NoWitness(self.open.offset)));
        }
        self.need(source, FIXED_BYTES)?;
        let lock_time = self.fixed();
        let is_hashed = self.open.engines.is_some();
        if is_hashed {
            self.flush(source)?;
        } else {
            // However long it became with these bytes: they follow the witness data, where hashing what
            // was read does not look for them.
            self.window.settle();
        }
        let bytes = self.window.offset() - self.open.offset;
        let index = self.found.txids.len();
        self.found
            .close(&mut self.open, bytes, lock_time, self.judges);
        if !is_hashed {
            let parts = Parts {
                offset: self.open.offset,
                bytes,
                witness_at: self.open.witness_at,
            };
            let added = self
                .hashing
                .add(source, index, parts, self.judges, &mut self.found);
            added.map_err(ScanError::Bytes)?;
        }
        self.stage = Stage::Transaction;
        Ok(())
    }
}
