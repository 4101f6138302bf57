//! Eight consecutive real blocks of February 2024, mainnet's 831,328 to 831,335, on a base that holds
//! every coin they spend.
//!
//! The coins they spend from outside are known by name only: base and amounts are made up, scripts are of
//! the kind that the spending input shows. They lie among a million others in one change, as if they had
//! been made long ago. Transactions are mainnet's byte for byte; headers are mined anew on regtest, since
//! nobody has mainnet's headers below them here. Blocks are judged by `proof_of_work`: made-up amounts,
//! heights and times would break rules of `consensus`, whose cost the made-up chains show.
//!
//! The blocks are too large for the repository: `--data` names the folder that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, Network, OutPoint, PubkeyHash, ScriptBuf, ScriptHash, TxIn, Txid, WPubkeyHash,
    WScriptHash, constants,
};
use ic_stable_structures::VectorMemory;
use millrace_candid::{BlockValidation, InitConfig};
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::testing::{BlockDelta, KeyedCoin};
use millrace_store::Store;
use millrace_store::coins::Progress;
use millrace_tests::mining::{self, BlockPlan};
use sha2::{Digest, Sha256};

use crate::base::ios;
use crate::bundle::{About, Bundle};
use crate::mark::config;
use crate::native::Native;
use crate::phase::Phase;
use crate::reads::Rows;
use crate::workload::Bench;

/// The first block's height on mainnet.
const FIRST: u32 = 831_328;

/// Blocks.
const BLOCKS: u32 = 8;

/// Each block is stable once it is connected.
const THRESHOLD: u32 = 1;

/// Coins of the base that the blocks do not spend.
const OTHER_COINS: u64 = 1_000_000;

/// What a made-up coin is worth.
const SATOSHI: u64 = 100_000;

/// Blocks that are taken in natively: genesis and these are the first eight changes, which are merged
/// before, so that the real blocks are the next eight.
const NATIVE_BLOCKS: u32 = 7;

/// Measures taking the blocks in, from receipt until all eight are stable and merged.
///
/// # Errors
/// The folder lacks a block, or a block is refused.
pub fn measure(bench: &Bench) -> Result<Rows> {
    let Some(folder) = &bench.data else {
        println!(
            "real_blocks: not measured, because no folder of real blocks is named (--data DIR with \
             blocks/0831328.bin to 0831335.bin)"
        );
        return Ok(Rows::new());
    };
    let real = read(folder)?;
    let source = format!(
        "{:?}",
        (FIRST, BLOCKS, THRESHOLD, OTHER_COINS, NATIVE_BLOCKS)
    );
    let bundle = Bundle::prepare(bench, "real_blocks", &source, || make(&real, OTHER_COINS))?;
    let mut canister = bundle.canister(bench, settings())?;
    canister.settle()?;
    let mut phase = Phase::default();
    for (count, block) in (1..).zip(&bundle.blocks) {
        let counts = canister
            .take_in(block)
            .with_context(|| format!("real block {}", FIRST + count - 1))?;
        phase.add(ios(block), &counts);
        bench.progress("real_blocks", count, BLOCKS);
    }
    Ok(vec![("real_blocks.taking_in".to_owned(), phase.row())])
}

fn settings() -> InitConfig {
    config(THRESHOLD, BlockValidation::ProofOfWork)
}

fn read(folder: &Path) -> Result<Vec<Block>> {
    (FIRST..FIRST + BLOCKS)
        .map(|height| {
            let path = folder.join(format!("blocks/{height:07}.bin"));
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            deserialize(&bytes).with_context(|| format!("{} is no block", path.display()))
        })
        .collect()
}

fn make(real: &[Block], others: u64) -> Result<Bundle> {
    let mut miner = Chain::default();
    let mut native = Native::install(settings())?;
    let first = miner.empty();
    let coins = base_coins(real, others);
    let (parent, block) = (first.header.prev_blockhash, first.block_hash());
    native = native.between(|memory| {
        let change = BlockDelta {
            block,
            height: Height::new(1),
            spends: BTreeMap::new(),
            puts: coins,
        };
        write_change(memory, parent, &change)
    })?;
    // It finds the change that is there, and keeps it.
    native.take_in(&first)?;
    for _ in 1..NATIVE_BLOCKS {
        native.take_in(&miner.empty())?;
    }
    let blocks = real.iter().map(|block| miner.copy(block)).collect();
    Ok(Bundle {
        image: native.into_image()?,
        blocks,
        about: About::default(),
    })
}

/// Writes a block's change before the block is connected.
fn write_change(
    memory: VectorMemory,
    parent: bitcoin::BlockHash,
    delta: &BlockDelta,
) -> Result<()> {
    let mut store = Store::open(memory)?;
    let (change, bytes) = delta.change();
    store.coins.begin_connect(parent, change)?;
    while store
        .coins
        .connect_step(&delta.block, bytes.as_slice(), 10_000)?
        == Progress::More
    {}
    Ok(())
}

/// Every coin the blocks spend that none of them makes, and as many others as are asked for.
fn base_coins(real: &[Block], others: u64) -> BTreeMap<OutPoint, KeyedCoin> {
    let made = real.iter().flat_map(|block| &block.txdata);
    let made: BTreeSet<Txid> = made.map(bitcoin::Transaction::compute_txid).collect();
    let inputs = real.iter().flat_map(|block| block.txdata.iter().skip(1));
    let inputs = inputs.flat_map(|spending| &spending.input);
    let outside = inputs.filter(|input| !made.contains(&input.previous_output.txid));
    let spent = outside.map(|input| (input.previous_output, script(input)));
    let others = (0..others).map(|number| {
        let hash = hash(&[&number.to_le_bytes()]);
        let outpoint = OutPoint {
            txid: Txid::from_byte_array(hash),
            vout: u32::from(hash[0] & 1),
        };
        (outpoint, mining::script(number))
    });
    let coins = spent.chain(others).map(|(outpoint, script)| {
        let coin = Coin {
            value: Amount::from_sat(SATOSHI),
            script,
            height: Height::new(1),
            coinbase: false,
        };
        (outpoint, KeyedCoin::from(coin))
    });
    coins.collect()
}

/// A script of the kind that the input spends, as far as it shows.
fn script(input: &TxIn) -> ScriptBuf {
    let outpoint = input.previous_output;
    let hash = hash(&[outpoint.txid.as_byte_array(), &outpoint.vout.to_le_bytes()]);
    let short: [u8; 20] = hash[..20].try_into().expect("20 of 32 bytes");
    let items = input.witness.len();
    match (input.script_sig.len(), items) {
        (0, 2) if input.witness.last().is_some_and(|key| key.len() == 33) => {
            ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array(short))
        }
        (0, 1) => taproot(&hash),
        (0, 3)
            if input
                .witness
                .last()
                .is_some_and(|last| last.len() % 32 == 1) =>
        {
            taproot(&hash)
        }
        (0, _) => ScriptBuf::new_p2wsh(&WScriptHash::from_byte_array(hash)),
        (_, 0) if input.script_sig.len() < 150 => {
            ScriptBuf::new_p2pkh(&PubkeyHash::from_byte_array(short))
        }
        _ => ScriptBuf::new_p2sh(&ScriptHash::from_byte_array(short)),
    }
}

fn taproot(key: &[u8; 32]) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 0x20], key.as_slice()].concat())
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Regtest blocks, one after the other.
struct Chain {
    tip: bitcoin::block::Header,
    height: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            tip: constants::genesis_block(Network::Regtest).header,
            height: 0,
        }
    }
}

impl Chain {
    /// The next block, with nothing but a coinbase.
    fn empty(&mut self) -> Block {
        self.height += 1;
        let plan = BlockPlan::paying(&mining::script(u64::MAX));
        let block = mining::assemble(&self.tip, self.height, 0, plan);
        self.tip = block.header;
        block
    }

    /// The next block, with all transactions of another one.
    fn copy(&mut self, other: &Block) -> Block {
        self.height += 1;
        let mut header = other.header;
        header.prev_blockhash = self.tip.block_hash();
        header.time = self.tip.time + 600;
        header.bits = self.tip.bits;
        header.nonce = 0;
        mining::solve(&mut header);
        self.tip = header;
        Block {
            header,
            txdata: other.txdata.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use millrace_tests::chain::{Body, MainnetLike, Plan};

    use super::*;

    /// The last three blocks of a chain, which spend coins of blocks before them.
    fn blocks() -> Vec<Block> {
        let plan = Plan {
            seed: 3,
            funding_blocks: 110,
            funding_outputs: 20,
            growth: None,
            blocks: 3,
            body: Body::of(20),
            named: Vec::new(),
            spendable_max: 10_000,
        };
        let chain = MainnetLike::new(plan).skip(110);
        chain.map(|made| made.block).collect()
    }

    #[test]
    fn a_base_holds_what_blocks_spend_from_outside_and_they_connect_on_it() {
        let bundle = make(&blocks(), 1_000).expect("made");
        let mut native = Native::install(settings()).expect("installed");
        native = native
            .between(|memory| {
                memory.borrow_mut().clone_from(&bundle.image);
                Ok(())
            })
            .expect("opened");
        for block in &bundle.blocks {
            native.take_in(block).expect("its coins are there");
        }
        native.app().store().audit().expect("sound");
    }

    #[test]
    fn copies_keep_transactions_and_do_their_own_work() {
        let original = blocks().remove(0);
        let copy = Chain::default().copy(&original);
        assert_eq!(copy.txdata, original.txdata);
        assert!(copy.check_merkle_root());
        copy.header
            .validate_pow(copy.header.target())
            .expect("solved");
        assert_eq!(serialize(&copy).len(), serialize(&original).len());
    }

    #[test]
    fn a_folder_without_the_blocks_is_named() {
        let error = read(Path::new("/nowhere")).expect_err("nothing is there");
        assert!(error.to_string().contains("0831328.bin"), "{error}");
    }
}
