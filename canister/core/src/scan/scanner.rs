//! The machine that reads a block item by item.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Amount, Sequence, Txid};

use super::sigops::{SigopCounter, last_push};
use super::window::{BlockBytes, Window};
use super::{
    CoinbaseStart, Collected, Lock, MERKLE_PAIR_BYTES, ScanError, ScannedBlock, ScannedCoin,
    ScannedInput, ScannedTransaction,
};
use crate::block::{BlockError, HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};
use crate::consensus::{ConsensusError, MAX_COINBASE_SCRIPT_BYTES, MIN_COINBASE_SCRIPT_BYTES};
use crate::delta::MAX_SCRIPT_BYTES;
use crate::script::{ScriptHash, ScriptKey};

/// Bytes of a transaction that count as one input or output.
pub const BYTES_PER_ITEM: usize = 2_000;

const OUTPOINT_BYTES: usize = 36;
const VALUE_BYTES: usize = 8;
const FIXED_BYTES: usize = 4;

/// How an output script that commits to witnesses starts: `OP_RETURN`, a push of 36 bytes, a
/// marker. 32 bytes of hash follow; more may.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

const OP_RETURN: u8 = 0x6a;

/// Cost of an operation outside of witness data (BIP141).
const BASE_FACTOR: u32 = 4;

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
    judges: bool,
    window: Window,
    found: Collected,
    /// Transactions not begun.
    left: u64,
    stage: Stage,
    open: Open,
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

/// Which hash the bytes being taken are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    /// Both ids.
    Base,
    /// The id with witness data only.
    Witness,
}

/// The transaction being read.
#[derive(Clone)]
struct Open {
    offset: u32,
    version: u32,
    is_segwit: bool,
    region: Region,
    base: sha256::HashEngine,
    whole: sha256::HashEngine,
    /// Bytes of marker, flag and witnesses.
    witness_bytes: u32,
    /// Inputs, or outputs, or witnesses not begun; at last 0.
    left: u64,
    inputs: u64,
    is_coinbase: bool,
    ignores_lock_time: bool,
    has_witness: bool,
    /// Index of its first input among the block's.
    first_input: usize,
    first_coin: usize,
    outputs: u64,
    output_satoshi: u128,
    sigops: u32,
    /// Items of the witness at hand not begun.
    items: u64,
    /// Whether the item at hand may be a script.
    counter: SigopCounter,
    fault: Option<Fault>,
}

/// A broken rule of a transaction whose id is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NoOutputs,
    OutputValue { vout: usize, satoshi: u64 },
    OutputTotal { satoshi: u128 },
    NullInput,
    ScriptTooLong { length: usize },
    CoinbaseScript { length: usize },
}

/// Why bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Malformed {
    #[error("it ends within a transaction, after {0} bytes")]
    Ends(u32),
    #[error("a number at byte {0} is written longer than it need be")]
    NotMinimal(u32),
    #[error("the transaction at byte {0} has the unknown flag {1}")]
    Flag(u32, u8),
    #[error("the transaction at byte {0} has witness data but no inputs")]
    NoInputs(u32),
    #[error("the transaction at byte {0} says it has witness data and has none")]
    NoWitness(u32),
}

type Scan<T, E> = Result<T, ScanError<E>>;

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
    /// The last step also costs a double SHA-256 for each transaction, and a sort of their ids.
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

    fn finish<B: BlockBytes + ?Sized>(self, source: &B) -> Scan<ScannedBlock, B::Error> {
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
            self.enter(Region::Witness);
            self.window.take(2);
            self.open.witness_bytes = 2;
            self.enter(Region::Base);
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
        } else if !self.found.is_too_large() {
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
            if !self.found.is_too_large() {
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
            self.open.counter = SigopCounter::new(false);
            self.stage = Stage::OutputScript(length);
            return Ok(());
        }
        self.need(source, length as usize)?;
        let script_offset = self.window.offset();
        let script = self.window.take(length as usize);
        if self.judges {
            let sigops = SigopCounter::count(script, false);
            self.open.sigops = self.open.sigops.saturating_add(sigops);
        }
        let is_first = self.found.transactions.is_empty();
        if is_first
            && let Some(rest) = script.strip_prefix(&COMMITMENT_PREFIX)
            && let Some(hash) = rest.first_chunk()
        {
            self.found.witness.commitment = Some(*hash);
        }
        if script.first() != Some(&OP_RETURN) && !self.found.is_too_large() {
            self.found.coins.push(ScannedCoin {
                transaction: self.found.transactions.len() as u32,
                vout: (self.open.outputs - 1) as u32,
                satoshi,
                script_offset,
                script_bytes: length as u32,
                script: ScriptKey::from(&ScriptHash::of(bitcoin::Script::from_bytes(script))),
                lock: Lock::of(script),
                coinbase: self.open.is_coinbase,
            });
        }
        self.stage = self.after_output();
        Ok(())
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
        self.enter(Region::Witness);
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
        self.enter(Region::Base);
        if self.open.is_segwit && !self.open.has_witness {
            return Err(self.malformed(Malformed::NoWitness(self.open.offset)));
        }
        self.need(source, FIXED_BYTES)?;
        let lock_time = self.fixed();
        self.flush();
        let bytes = self.window.offset() - self.open.offset;
        self.found
            .close(&mut self.open, bytes, lock_time, self.judges);
        self.stage = Stage::Transaction;
        Ok(())
    }

    /// Passes over up to `left` bytes, no more than the window holds; returns how many are left.
    fn pass<B: BlockBytes + ?Sized>(&mut self, source: &B, left: u64) -> Scan<u64, B::Error> {
        if left > 0 && self.window.ready() == 0 {
            self.need(source, 1)?;
        }
        let now = left.min(self.window.ready() as u64);
        let is_counted = self.judges && (self.open.region == Region::Base || self.open.items == 0);
        let bytes = self.window.take(now as usize);
        if is_counted {
            self.open.counter.push(bytes);
        }
        if self.open.region == Region::Witness {
            self.open.witness_bytes += now as u32;
        }
        Ok(left - now)
    }

    /// Makes sure that the next `count` bytes are at hand.
    fn need<B: BlockBytes + ?Sized>(&mut self, source: &B, count: usize) -> Scan<(), B::Error> {
        if self.window.ready() >= count {
            return Ok(());
        }
        self.flush();
        self.window.refill(source).map_err(ScanError::Bytes)?;
        if self.window.ready() < count {
            return Err(self.malformed(Malformed::Ends(source.length())));
        }
        Ok(())
    }

    /// Takes four bytes that are at hand.
    fn fixed(&mut self) -> u32 {
        let bytes = self.window.take(FIXED_BYTES).first_chunk().copied();
        u32::from_le_bytes(bytes.unwrap_or_default())
    }

    /// Takes a number in Bitcoin's variable length.
    fn number<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<u64, B::Error> {
        self.need(source, 1)?;
        let first = self.window.take(1).first().copied().unwrap_or_default();
        let (bytes, least) = match first {
            0xfd => (2, 0xfd),
            0xfe => (4, 0x1_0000),
            0xff => (8, 0x1_0000_0000),
            short => return Ok(u64::from(short)),
        };
        let offset = self.window.offset() - 1;
        self.need(source, bytes)?;
        let digits = self.window.take(bytes).iter().rev();
        let number = digits.fold(0, |number, digit| number << 8 | u64::from(*digit));
        if number < least {
            return Err(self.malformed(Malformed::NotMinimal(offset)));
        }
        Ok(number)
    }

    fn enter(&mut self, region: Region) {
        if self.open.region != region {
            self.flush();
            self.open.region = region;
        }
    }

    /// Hashes what was taken since the last time.
    fn flush(&mut self) {
        let bytes = self.window.pending();
        if self.open.region == Region::Base {
            self.open.base.input(bytes);
        }
        if self.judges && self.open.is_segwit {
            self.open.whole.input(bytes);
        }
        self.window.settle();
    }

    fn malformed<E>(&self, reason: Malformed) -> ScanError<E> {
        ScanError::Block(BlockError::Malformed {
            hash: self.found.hash,
            reason: reason.to_string(),
        })
    }
}

/// The lowest transaction version whose sequence numbers are relative lock-times (BIP68). Versions
/// are compared without sign.
const FIRST_LOCKING_VERSION: u32 = 2;

/// Returns what an input script costs if it unlocks a P2SH coin (BIP16, BIP141); a P2WSH program
/// within costs what its witness does, which is not known yet, and is told by [`NESTED_P2WSH`].
fn p2sh_sigop_cost(script: &[u8]) -> u32 {
    let Some(redeem) = last_push(script) else {
        return 0;
    };
    match Lock::of(redeem) {
        Lock::WitnessKeyHash => 1,
        Lock::WitnessScriptHash => NESTED_P2WSH,
        Lock::ScriptHash | Lock::Other => {
            SigopCounter::count(redeem, true).saturating_mul(BASE_FACTOR)
        }
    }
}

/// Stands for a cost that the witness will tell. No redeem script is long enough to cost as much.
const NESTED_P2WSH: u32 = u32::MAX;

impl Open {
    fn new(offset: u32, first_input: usize, first_coin: usize) -> Self {
        Self {
            offset,
            version: 0,
            is_segwit: false,
            region: Region::Base,
            base: Txid::engine(),
            whole: Txid::engine(),
            witness_bytes: 0,
            left: 0,
            inputs: 0,
            is_coinbase: false,
            ignores_lock_time: true,
            has_witness: false,
            first_input,
            first_coin,
            outputs: 0,
            output_satoshi: 0,
            sigops: 0,
            items: 0,
            counter: SigopCounter::new(true),
            fault: None,
        }
    }

    fn input(&self, transaction: usize, txid: Txid, vout: u32) -> ScannedInput {
        ScannedInput {
            txid,
            vout,
            transaction: transaction as u32,
            sequence: Sequence::MAX.to_consensus_u32(),
            p2sh_sigop_cost: 0,
            witness_sigops: 0,
        }
    }

    const fn blame(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }

    /// A negative amount of the wire format reads as one above all money.
    fn add_output(&mut self, satoshi: u64) {
        let max = Amount::MAX_MONEY.to_sat();
        if satoshi > max {
            let vout = self.outputs as usize;
            self.blame(Fault::OutputValue { vout, satoshi });
        }
        self.output_satoshi += u128::from(satoshi);
        if self.output_satoshi > u128::from(max) {
            let satoshi = self.output_satoshi;
            self.blame(Fault::OutputTotal { satoshi });
        }
        self.outputs += 1;
    }

    /// Gives the input whose witness ended the operations of the witness's last item.
    fn note_witness_script(&self, inputs: &mut [ScannedInput]) {
        let index = self.first_input as u64 + self.inputs - self.left - 1;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(input) = inputs.get_mut(index).filter(|_| !self.is_coinbase) {
            input.witness_sigops = self.counter.total();
        }
    }
}

impl Fault {
    fn of(self, txid: Txid) -> ConsensusError {
        match self {
            Self::NoOutputs => ConsensusError::NoOutputs { txid },
            Self::OutputValue { vout, satoshi } => ConsensusError::OutputValue {
                txid,
                vout,
                satoshi,
            },
            Self::OutputTotal { satoshi } => ConsensusError::OutputTotal { txid, satoshi },
            Self::NullInput => ConsensusError::NullInput { txid },
            Self::ScriptTooLong { length } => ConsensusError::ScriptTooLong { txid, length },
            Self::CoinbaseScript { length } => ConsensusError::CoinbaseScript { length },
        }
    }
}

impl Collected {
    /// Notes how a coinbase's script starts.
    fn note_coinbase(&mut self, script: &[u8], open: &mut Open) {
        let length = script.len();
        if !(MIN_COINBASE_SCRIPT_BYTES..=MAX_COINBASE_SCRIPT_BYTES).contains(&length) {
            open.blame(Fault::CoinbaseScript { length });
        }
        let mut start = [0; 8];
        for (slot, byte) in start.iter_mut().zip(script) {
            *slot = *byte;
        }
        if !self.is_too_large() {
            self.coinbases.push(CoinbaseStart {
                transaction: self.transactions.len() as u32,
                script_bytes: length as u32,
                start,
            });
        }
    }

    /// Takes a transaction whose last byte was hashed.
    fn close(&mut self, open: &mut Open, bytes: u32, lock_time: u32, judges: bool) {
        let engine = |engine: &mut sha256::HashEngine| std::mem::replace(engine, Txid::engine());
        let txid = Txid::from_engine(engine(&mut open.base));
        let index = self.txids.len();
        if judges {
            // The coinbase holds the commitment and cannot be under it.
            self.wtxids.push(match (index, open.is_segwit) {
                (0, _) => [0; 32],
                (_, true) => Txid::from_engine(engine(&mut open.whole)).to_byte_array(),
                (_, false) => txid.to_byte_array(),
            });
            self.own_sigop_cost += u64::from(open.sigops) * u64::from(BASE_FACTOR);
            if self.fault.is_none() {
                self.fault = open.fault.map(|fault| fault.of(txid));
            }
        }
        self.txids.push(txid);
        if open.has_witness && self.witness.first.is_none() {
            self.witness.first = Some(index as u32);
        }
        for input in self.inputs.iter_mut().skip(open.first_input) {
            if input.p2sh_sigop_cost == NESTED_P2WSH {
                input.p2sh_sigop_cost = input.witness_sigops;
            }
        }
        let base_bytes = bytes - open.witness_bytes;
        self.base_bytes += base_bytes as usize;
        self.has_merkle_pair |= base_bytes == MERKLE_PAIR_BYTES;
        if index == 0 || !self.is_too_large() {
            self.transactions.push(ScannedTransaction {
                offset: open.offset,
                bytes,
                base_bytes,
                lock_time,
                first_coin: open.first_coin as u32,
                output_satoshi: open.output_satoshi,
                is_coinbase: open.is_coinbase,
                ignores_lock_time: open.ignores_lock_time,
            });
        }
    }
}
