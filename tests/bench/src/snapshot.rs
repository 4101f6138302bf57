//! What taking a snapshot in costs: a set of made-up coins, with transactions, scripts and amounts like
//! mainnet's, without and with a commitment to it.

use anyhow::{Context, Result, bail};
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, OutPoint, ScriptBuf, TxMerkleNode, Txid};
use candid::encode_one;
use millrace_candid::{
    BeginSnapshotImportArgs, BlockValidation, Flag, InitConfig, PushSnapshotCoinsArgs,
    PushSnapshotHeadersArgs, SnapshotError, SnapshotImport,
};
use millrace_core::snapshot::{
    CoinReader, METADATA_BYTES, Metadata, Position, SerializedHash, SnapshotCoin, write_coin,
    write_group_head,
};
use millrace_core::{Height, Network};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;

use crate::canister::{Canister, succeeded};
use crate::counts::{Counts, Row, per, row};
use crate::mark::config;
use crate::reads::Rows;
use crate::workload::Bench;

/// Bytes of one message.
const PIECE_BYTES: usize = 1_900_000;

/// Depth of stability.
const THRESHOLD: u32 = 144;

/// Calls that may be refused because merges are behind, before the benchmark gives up.
const PATIENCE: u32 = 100_000;

struct File {
    metadata: Metadata,
    header: Header,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

/// Makes a file of about so many coins.
fn file(count: usize) -> File {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let genesis = Network::Regtest.genesis_block().header;
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: genesis.block_hash(),
        merkle_root: TxMerkleNode::from_byte_array([1; 32]),
        time: genesis.time + 600,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    // Two thirds of mainnet's transactions with coins have one; some payouts have hundreds.
    let mut txids: Vec<[u8; 32]> = (0..count * 10 / 17).map(|_| rng.random()).collect();
    txids.sort_unstable();
    let (mut body, mut hash, mut coins) = (Vec::new(), SerializedHash::default(), 0);
    for txid in txids {
        let outputs = match rng.random_range(0..1_000) {
            0..670 => 1,
            670..900 => 2,
            900..998 => rng.random_range(3..8),
            _ => rng.random_range(50..150),
        };
        let txid = Txid::from_byte_array(txid);
        write_group_head(&mut body, &txid, outputs);
        for vout in 0..outputs as u32 {
            let digits = rng.random_range(3..10);
            let coin = SnapshotCoin {
                outpoint: OutPoint { txid, vout },
                height: Height::new(1),
                coinbase: rng.random_bool(0.005),
                satoshi: rng.random_range(546..10_u64.pow(digits)),
                script: script(&mut rng),
            };
            write_coin(&mut body, &coin);
            coin.counted(|coin| hash.put(coin));
        }
        coins += outputs;
    }
    let metadata = Metadata {
        network: Network::Regtest,
        base: header.block_hash(),
        coins,
    };
    let bytes = [metadata.encode().as_slice(), &body].concat();
    File {
        metadata,
        header,
        bytes,
        digest: hash.finish().0,
    }
}

/// A script of a kind that is as frequent as on mainnet; a third are used more than once.
fn script(rng: &mut ChaCha8Rng) -> ScriptBuf {
    let mut key = [0; 32];
    if rng.random_bool(0.33) {
        let common: u32 = rng.random_range(0..5_000);
        key[..4].copy_from_slice(&common.to_le_bytes());
    } else {
        rng.fill(&mut key);
    }
    let short = &key[..20];
    let bytes = match rng.random_range(0..100) {
        0..28 => [&[0x76, 0xa9, 0x14], short, &[0x88, 0xac]].concat(),
        28..38 => [&[0xa9, 0x14], short, &[0x87]].concat(),
        38..62 => [&[0x00, 0x14], short].concat(),
        62..66 => [&[0x00, 0x20], &key[..]].concat(),
        66..99 => [&[0x51, 0x20], &key[..]].concat(),
        _ => [&[0x51, 0x21, 2], &key[..], &[0x51, 0xae]].concat(),
    };
    ScriptBuf::from_bytes(bytes)
}

/// Takes 100,000 coins in, without and with a commitment.
///
/// # Errors
/// The canister refuses something.
pub fn measure_quick(bench: &Bench) -> Result<Rows> {
    let file = file(100_000);
    let mut rows = measure(bench, &file, Flag::Disabled, "snapshot_quick.off")?;
    rows.extend(measure(bench, &file, Flag::Enabled, "snapshot_quick.on")?);
    Ok(rows)
}

/// Takes 1,000,000 coins in, with a commitment.
///
/// # Errors
/// The canister refuses something.
pub fn measure_million(bench: &Bench) -> Result<Rows> {
    measure(bench, &file(1_000_000), Flag::Enabled, "snapshot_1_m.on")
}

fn measure(bench: &Bench, file: &File, commitment: Flag, name: &str) -> Result<Rows> {
    let settings = InitConfig {
        utxo_set_commitment: Some(commitment),
        ..config(THRESHOLD, BlockValidation::Consensus)
    };
    let mut canister = Canister::install(&bench.module, settings)?;
    begin(&mut canister, file)?;
    canister.records()?;
    let (mut pushed, mut merged) = (Counts::default(), Counts::default());
    let mut busy = 0;
    let (mut at, mut position) = (METADATA_BYTES, Position::start());
    while at < file.bytes.len() {
        // As the adapter does: pieces end where coins end.
        let rest = file.bytes.get(at..).unwrap_or_default();
        let mut reader = CoinReader::new(rest.get(..PIECE_BYTES).unwrap_or(rest), position);
        while reader.next_coin()?.is_some() {}
        let args = PushSnapshotCoinsArgs {
            offset: at as u64,
            bytes: ByteBuf::from(rest.get(..reader.consumed()).unwrap_or_default()),
        };
        let reply = canister.update("push_snapshot_coins", encode_one(args)?)?;
        let result: Result<SnapshotImport, SnapshotError> = candid::decode_one(&reply)?;
        match result {
            Ok(_) => (at, position) = (at + reader.consumed(), reader.position()),
            Err(SnapshotError::Busy { .. }) if busy < PATIENCE => {
                busy += 1;
                canister.tick();
            }
            Err(error) => bail!("{name}: {error:?}"),
        }
        for record in canister.records()? {
            if record.method == "push_snapshot_coins" {
                pushed.join(&Counts::of_work(&[record]));
            } else {
                merged.join(&Counts::of_work(&[record]));
            }
        }
    }
    merged.join(&canister.settle()?);
    let standing: SnapshotImport = canister.ask("get_snapshot_import", ())?;
    if !matches!(standing, SnapshotImport::Complete { .. }) {
        bail!("{name}: {standing:?}");
    }
    let coins = file.metadata.coins;
    let sizes = canister.sizes()?;
    Ok(vec![
        (format!("{name}.push"), per_coin(&pushed, coins)),
        (format!("{name}.merge"), per_coin(&merged, coins)),
        (
            format!("{name}.memory"),
            row(&[
                ("coins", coins),
                ("file_bytes", file.bytes.len() as u64),
                ("heap_bytes", sizes.heap_bytes),
                ("stable_bytes_per_coin", sizes.stable_bytes.div_ceil(coins)),
            ]),
        ),
    ])
}

fn begin(canister: &mut Canister, file: &File) -> Result<()> {
    let args = BeginSnapshotImportArgs {
        metadata: ByteBuf::from(file.metadata.encode()),
        hash_serialized: Some(ByteBuf::from(file.digest)),
    };
    let reply = canister.update("begin_snapshot_import", encode_one(args)?)?;
    succeeded::<SnapshotImport, SnapshotError>(&reply).context("begin_snapshot_import")?;
    let args = PushSnapshotHeadersArgs {
        first_height: 1,
        headers: ByteBuf::from(bitcoin::consensus::serialize(&file.header)),
    };
    let reply = canister.update("push_snapshot_headers", encode_one(args)?)?;
    succeeded::<SnapshotImport, SnapshotError>(&reply).context("push_snapshot_headers")?;
    Ok(())
}

fn per_coin(counts: &Counts, coins: u64) -> Row {
    row(&[
        ("instructions_per_coin", counts.instructions.div_ceil(coins)),
        ("messages", counts.messages),
        ("longest_message", counts.longest),
        ("heap_pages_per_1000_coins", per(counts.heap_dirtied, coins)),
        (
            "stable_pages_dirtied_per_1000_coins",
            per(counts.stable_dirtied, coins),
        ),
        (
            "stable_pages_read_per_1000_coins",
            per(counts.stable_read, coins),
        ),
    ])
}
