//! Snapshots through the canister's own methods: one canister's set, taken in by another one, which then
//! goes on like the first.

use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Txid};
use candid::Principal;
use millrace_candid::{
    BeginSnapshotImportArgs, CoinOfSet, Flag, GetCoinsArgs, GetStatusArgs, GetUtxoSetInfoArgs,
    InclusionProof, InitConfig, PartOutcome, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs,
    ReadError, SetConfigRequest, SnapshotError, SnapshotImport, VerifyTxInclusionArgs,
};
use millrace_core::snapshot::{
    METADATA_BYTES, Metadata, SerializedHash, SnapshotCoin, write_group,
};
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use super::regtest::*;
use super::setup::*;
use crate::snapshot::{Caller, MAX_PIECE_BYTES};
use crate::tick::Work;

fn committing() -> InitConfig {
    InitConfig {
        stability_threshold: Some(4u8.into()),
        utxo_set_commitment: Some(Flag::Enabled),
        ..regtest()
    }
}

const CONTROLLER: Caller = Caller {
    principal: Principal::management_canister(),
    is_controller: true,
};

/// All coins at a block, read in pages of a few.
fn coins_at(canister: &Canister, tip: BlockHash) -> Vec<CoinOfSet> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let args = GetCoinsArgs {
            after,
            at_tip: Some(ByteBuf::from(tip.to_byte_array())),
            limit: Some(7),
        };
        let page = canister.app.get_coins(&args).unwrap();
        assert!(page.coins.len() <= 7);
        all.extend(page.coins);
        after = page.next;
        if after.is_none() {
            assert_eq!(page.total, all.len() as u64);
            return all;
        }
    }
}

struct File {
    metadata: Metadata,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

fn file(base: BlockHash, coins: &[CoinOfSet]) -> File {
    let coins = coins.iter().map(|coin| SnapshotCoin {
        outpoint: OutPoint {
            txid: Txid::from_slice(&coin.outpoint.txid).unwrap(),
            vout: coin.outpoint.vout,
        },
        height: Height::new(coin.height),
        coinbase: coin.coinbase,
        satoshi: coin.value,
        script: ScriptBuf::from_bytes(coin.script.to_vec()),
    });
    let coins: Vec<SnapshotCoin> = coins.filter(|coin| coin.height > Height::ZERO).collect();
    let metadata = Metadata {
        network: Network::Regtest,
        base,
        coins: coins.len() as u64,
    };
    let mut bytes = metadata.encode().to_vec();
    let mut hash = SerializedHash::default();
    for group in coins.chunk_by(|one, other| one.outpoint.txid == other.outpoint.txid) {
        write_group(&mut bytes, group);
        for coin in group {
            coin.counted(|coin| hash.put(coin));
        }
    }
    File {
        metadata,
        bytes,
        digest: hash.finish().0,
    }
}

fn begin(canister: &mut Canister, file: &File, caller: Caller) -> Result<(), SnapshotError> {
    let args = BeginSnapshotImportArgs {
        metadata: ByteBuf::from(file.metadata.encode()),
        hash_serialized: Some(ByteBuf::from(file.digest)),
    };
    let begun = canister
        .app
        .begin_snapshot_import(&canister.world, caller, &args);
    begun.map(drop)
}

fn push_headers(canister: &mut Canister, first: u32, headers: &[Header]) -> SnapshotImport {
    let args = PushSnapshotHeadersArgs {
        first_height: first,
        headers: ByteBuf::from(headers.iter().flat_map(serialize).collect::<Vec<u8>>()),
    };
    let pushed = canister
        .app
        .push_snapshot_headers(&canister.world, CONTROLLER, &args);
    pushed.unwrap()
}

fn push_coins(canister: &mut Canister, file: &File) -> Result<SnapshotImport, SnapshotError> {
    let offset = METADATA_BYTES as u64;
    let args = PushSnapshotCoinsArgs {
        offset,
        bytes: ByteBuf::from(&file.bytes[METADATA_BYTES..]),
    };
    canister
        .app
        .push_snapshot_coins(&canister.world, CONTROLLER, &args)
}

/// A canister with a chain, a snapshot of its stable set, and the chain's blocks.
fn original() -> (Canister, File, Vec<Block>) {
    let mut canister = Canister::new(committing());
    let blocks = chain(40);
    canister.feed_blocks(&blocks);
    let base = canister.app.store().tree.root_hash();
    let file = file(base, &coins_at(&canister, base));
    (canister, file, blocks)
}

fn headers(blocks: &[Block]) -> Vec<Header> {
    blocks.iter().map(|block| block.header).collect()
}

fn info(canister: &Canister, height: Option<u32>) -> millrace_candid::GetUtxoSetInfoResult {
    canister
        .app
        .get_utxo_set_info(&GetUtxoSetInfoArgs { height })
}

#[test]
fn a_canister_that_took_in_a_snapshot_goes_on_like_the_one_it_came_from() {
    let (first, file, blocks) = original();
    let mut second = Canister::new(committing());
    begin(&mut second, &file, CONTROLLER).unwrap();
    second.heartbeat();
    push_headers(&mut second, 1, &headers(&blocks));
    second.upgrade();
    let merging = push_coins(&mut second, &file).unwrap();
    assert!(
        matches!(merging, SnapshotImport::Merging { .. }),
        "{merging:?}"
    );
    assert_eq!(
        coins_error(&second),
        ReadError::NotSynced {
            height: 0,
            best_header_height: first.app.store().anchor_height().get()
        }
    );
    second.settle();
    second.audit();
    let anchor = first.app.store().anchor_height();
    assert!(matches!(
        second.app.get_snapshot_import(),
        SnapshotImport::Complete { base } if base.height == anchor.get()
    ));
    let base = file.metadata.base;
    assert_eq!(coins_at(&second, base), coins_at(&first, base));
    let height = Some(anchor.get());
    assert_eq!(info(&second, height), info(&first, height));
    // How many transactions older blocks have is not known, so that a proof in one is no confirmation.
    let at = anchor.get() as usize - 1;
    let args = VerifyTxInclusionArgs {
        txid: ByteBuf::from(blocks[at].txdata[0].compute_txid().to_byte_array()),
        proof: InclusionProof::Branch {
            block: ByteBuf::from(base.to_byte_array()),
            position: 0,
            siblings: vec![],
        },
        at_tip: None,
    };
    let proven = second.app.verify_tx_inclusion(&args).unwrap();
    assert_eq!((proven.confirmations, proven.transactions), (0, None));
    let proven = first.app.verify_tx_inclusion(&args).unwrap();
    assert_eq!((proven.confirmations, proven.transactions), (4, Some(1)));
    // Blocks after it come as they would anywhere.
    second.feed_blocks(&blocks[anchor.get() as usize..]);
    assert_eq!(second.tip(), first.tip());
    let tip = first.tip().0;
    assert_eq!(coins_at(&second, tip), coins_at(&first, tip));
    let more: Vec<Block> = chain(60)[40..].to_vec();
    second.feed_blocks(&more);
    second.upgrade();
    second.settle();
    second.audit();
    let mut first = first;
    first.feed_blocks(&more);
    first.settle();
    let tip = first.tip().0;
    assert_eq!(second.tip(), first.tip());
    assert_eq!(coins_at(&second, tip), coins_at(&first, tip));
    assert_eq!(info(&second, None), info(&first, None));
}

fn coins_error(canister: &Canister) -> ReadError {
    let args = GetCoinsArgs::default();
    canister.app.get_coins(&args).unwrap_err()
}

#[test]
fn while_a_snapshot_comes_in_nothing_else_does_and_it_can_be_discarded() {
    let (_, file, blocks) = original();
    let mut canister = Canister::new(committing());
    begin(&mut canister, &file, CONTROLLER).unwrap();
    push_headers(&mut canister, 1, &headers(&blocks)[..5]);
    let outcome = canister.push_bytes(&serialize(&blocks[0]));
    assert_eq!(outcome, PartOutcome::NoRoom);
    canister.settle();
    canister.audit();
    let at_genesis = GetCoinsArgs {
        at_tip: Some(ByteBuf::from(
            canister.app.store().tree.root_hash().to_byte_array(),
        )),
        ..GetCoinsArgs::default()
    };
    let hidden = canister.app.get_coins(&at_genesis);
    assert!(
        matches!(hidden, Err(ReadError::NotSynced { .. })),
        "{hidden:?}"
    );
    let status = canister.app.get_status(&GetStatusArgs::default());
    assert_eq!(status.unwrap().tip.height, 0);
    let stranger = Caller {
        principal: Principal::anonymous(),
        is_controller: false,
    };
    let refused = canister.app.discard_snapshot_import(stranger);
    assert!(matches!(refused, Err(SnapshotError::NotAController { .. })));
    let discarded = canister.app.discard_snapshot_import(CONTROLLER);
    assert_eq!(discarded, Ok(SnapshotImport::None));
    canister.audit();
    canister.feed_blocks(&blocks);
    assert_eq!(canister.tip().1, 40);
    let late = begin(&mut canister, &file, CONTROLLER);
    assert!(
        matches!(late, Err(SnapshotError::NotEmpty { height: 40 })),
        "{late:?}"
    );
}

#[test]
fn who_may_and_what_is_wanted_is_said() {
    let (_, file, blocks) = original();
    let mut canister = Canister::new(committing());
    let stranger = Caller {
        principal: Principal::from_slice(&[9; 5]),
        is_controller: false,
    };
    let refused = begin(&mut canister, &file, stranger);
    assert!(
        matches!(refused, Err(SnapshotError::NotAnAdapter { .. })),
        "{refused:?}"
    );
    let unknown = BeginSnapshotImportArgs {
        metadata: ByteBuf::from(file.metadata.encode()),
        hash_serialized: None,
    };
    let (app, world) = (&mut canister.app, &canister.world);
    let refused = app.begin_snapshot_import(world, CONTROLLER, &unknown);
    assert!(
        matches!(refused, Err(SnapshotError::UnknownBase { .. })),
        "{refused:?}"
    );
    let other = BeginSnapshotImportArgs {
        metadata: ByteBuf::from(
            Metadata {
                network: Network::Mainnet,
                ..file.metadata
            }
            .encode(),
        ),
        hash_serialized: None,
    };
    let refused = app.begin_snapshot_import(world, CONTROLLER, &other);
    assert!(
        matches!(refused, Err(SnapshotError::WrongNetwork { .. })),
        "{refused:?}"
    );
    let refused = app.push_snapshot_headers(
        world,
        CONTROLLER,
        &PushSnapshotHeadersArgs {
            first_height: 1,
            headers: ByteBuf::from(vec![0; 81]),
        },
    );
    assert!(matches!(
        refused,
        Err(SnapshotError::MalformedHeaders {
            given_bytes: 81,
            ..
        })
    ));
    let early = push_coins(&mut canister, &file);
    assert_eq!(
        early,
        Err(SnapshotError::NotWanted {
            standing: SnapshotImport::None
        })
    );
    begin(&mut canister, &file, CONTROLLER).unwrap();
    push_headers(&mut canister, 1, &headers(&blocks));
    let long = PushSnapshotCoinsArgs {
        offset: 51,
        bytes: ByteBuf::from(vec![0; MAX_PIECE_BYTES + 1]),
    };
    let (app, world) = (&mut canister.app, &canister.world);
    let refused = app.push_snapshot_coins(world, CONTROLLER, &long);
    assert!(
        matches!(refused, Err(SnapshotError::BadPiece { .. })),
        "{refused:?}"
    );
    canister
        .app
        .set_config(SetConfigRequest {
            syncing: Some(Flag::Disabled),
            ..SetConfigRequest::default()
        })
        .unwrap();
    let busy = push_coins(&mut canister, &file);
    assert!(matches!(busy, Err(SnapshotError::Busy { .. })), "{busy:?}");
}

#[test]
fn a_merge_that_never_ends_is_halted_until_the_next_upgrade() {
    let (_, file, blocks) = original();
    let mut canister = Canister::new(committing());
    begin(&mut canister, &file, CONTROLLER).unwrap();
    push_headers(&mut canister, 1, &headers(&blocks));
    push_coins(&mut canister, &file).unwrap();
    assert_eq!(canister.app.plan(), Some(Work::Import));
    for _ in 0..PATIENCE {
        canister.watchdog();
    }
    canister.settle();
    let standing = canister.app.get_snapshot_import();
    assert!(
        matches!(standing, SnapshotImport::Merging { .. }),
        "{standing:?}"
    );
    assert_eq!(canister.app.plan(), None);
    assert!(!canister.status().synced);
    canister.upgrade();
    canister.settle();
    let standing = canister.app.get_snapshot_import();
    assert!(
        matches!(standing, SnapshotImport::Complete { .. }),
        "{standing:?}"
    );
    canister.audit();
}
