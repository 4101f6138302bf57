//! Upgrades at every step of the work: answers before and after are equal, the work goes on to the
//! same end, and opening costs by the number of blocks, not by their size.

use super::regtest::*;
use super::setup::*;
use crate::convert;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, TxOut};
use ic_stable_structures::Memory;
use millrace_candid::{
    BlockPart, BlockSelector, Budgets, GetBalanceArgs, GetBalancesArgs, GetBlockArgs,
    GetBlockHeadersArgs, GetChainTipsArgs, GetFeePercentilesArgs, GetOutpointsArgs, GetStatusArgs,
    GetStatusResult, GetTransactionArgs, GetTransactionStatusArgs, GetTransactionsToRelayArgs,
    GetUtxosArgs, HeaderSelector, InclusionProof, InitConfig, Owner, SendTransactionArgs,
    UtxosFilter, VerifyTxInclusionArgs,
};
use millrace_core::tree::BlockStatus;
use millrace_store::cells::Watch;
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;

/// Everything that is asked: what every typed read answers at every tip, for these blocks.
fn answers(canister: &Canister, blocks: &[Block]) -> Vec<String> {
    let app = &canister.app;
    let tree = &app.store().tree;
    let connected = tree.hashes().filter(|hash| {
        let node = tree.get(hash);
        node.is_some_and(|node| node.status() == BlockStatus::Connected)
    });
    let mut tips: Vec<Option<ByteBuf>> = connected.map(|hash| Some(convert::hash(*hash))).collect();
    tips.push(None);
    let mut out = vec![
        format!("{:?}", app.get_blockchain_info()),
        format!("{:?}", app.get_config()),
        format!("{:?}", canister.feed_state(vec![blocks[0].block_hash()])),
        format!(
            "{:?}",
            app.get_transactions_to_relay(adapter(), &GetTransactionsToRelayArgs::default())
        ),
    ];
    for at_tip in tips {
        out.extend(answers_at(canister, blocks, &at_tip));
    }
    out
}

fn answers_at(canister: &Canister, blocks: &[Block], at_tip: &Option<ByteBuf>) -> Vec<String> {
    let app = &canister.app;
    let at_tip = || at_tip.clone();
    let owner = || Owner::Address(OWNER.to_owned());
    let utxos = |filter| GetUtxosArgs {
        owner: owner(),
        filter,
        at_tip: at_tip(),
        limit: Some(2),
    };
    let first_page = app.get_utxos(&utxos(None));
    let page = first_page
        .as_ref()
        .ok()
        .and_then(|page| page.next_page.clone());
    let mut out = vec![
        format!("{:?}", app.get_utxos(&utxos(page.map(UtxosFilter::Page)))),
        format!("{first_page:?}"),
        format!(
            "{:?}",
            app.get_utxos(&utxos(Some(UtxosFilter::MinConfirmations(2))))
        ),
        format!("{:?}", status(app, &GetStatusArgs { at_tip: at_tip() })),
        format!(
            "{:?}",
            app.get_chain_tips(&GetChainTipsArgs { at_tip: at_tip() })
        ),
        format!(
            "{:?}",
            app.get_fee_percentiles(&GetFeePercentilesArgs { at_tip: at_tip() })
        ),
    ];
    for min_confirmations in [None, Some(2)] {
        let at_tip = at_tip();
        out.push(format!(
            "{:?}",
            app.get_balance(&GetBalanceArgs {
                owner: owner(),
                min_confirmations,
                at_tip
            })
        ));
    }
    out.push(format!(
        "{:?}",
        app.get_balances(&GetBalancesArgs {
            owners: vec![owner(), Owner::Script(ByteBuf::from([0x51]))],
            min_confirmations: None,
            at_tip: at_tip(),
        })
    ));
    let select = HeaderSelector::Range {
        start_height: 0,
        end_height: None,
    };
    out.push(format!(
        "{:?}",
        app.get_block_headers(&GetBlockHeadersArgs {
            select,
            at_tip: at_tip()
        })
    ));
    for block in blocks {
        let hash = convert::hash(block.block_hash());
        for transaction in &block.txdata {
            let txid = ByteBuf::from(transaction.compute_txid().to_byte_array());
            let outpoint = millrace_candid::OutPoint {
                txid: txid.clone(),
                vout: 0,
            };
            out.extend([
                format!(
                    "{:?}",
                    app.get_outpoints(&GetOutpointsArgs {
                        outpoints: vec![outpoint],
                        at_tip: at_tip(),
                    })
                ),
                format!(
                    "{:?}",
                    app.get_transaction(&GetTransactionArgs {
                        txid: txid.clone(),
                        block: None,
                        at_tip: at_tip(),
                    })
                ),
                format!(
                    "{:?}",
                    app.get_transaction_status(&GetTransactionStatusArgs {
                        txid: txid.clone(),
                        at_tip: at_tip(),
                    })
                ),
                format!(
                    "{:?}",
                    app.verify_tx_inclusion(&VerifyTxInclusionArgs {
                        txid,
                        proof: InclusionProof::Branch {
                            block: hash.clone(),
                            position: 0,
                            siblings: vec![],
                        },
                        at_tip: at_tip(),
                    })
                ),
            ]);
        }
        out.push(format!(
            "{:?}",
            app.get_block(&GetBlockArgs {
                select: BlockSelector::Hash(hash),
                offset: None,
                max_bytes: None,
                at_tip: at_tip(),
            })
        ));
    }
    out
}

/// Returns the status without what the last messages were, and how often their budgets were used up: a
/// new version has run none, and touches one item at a time at first.
fn status<M: Memory>(app: &crate::App<M>, args: &GetStatusArgs) -> GetStatusResult {
    let mut status = app.get_status(args);
    if let Ok(status) = &mut status {
        let limits = &mut status.limits;
        limits.last_heartbeat_instructions = 0;
        limits.last_heartbeat_stable_pages = 0;
        limits.stable_pages_in_ten_minutes = 0;
        limits.low_on_cycles = false;
        limits.low_on_memory = false;
        limits.cautious = false;
        limits.instructions_hit = 0;
        limits.stable_pages_hit = 0;
    }
    status
}

/// Beats until nothing is left to do. Before each beat, an upgraded copy must answer as the canister
/// does, and end with the same answers. Returns how many beats that took, and the kinds of work.
fn beat_and_compare(canister: &mut Canister, blocks: &[Block]) -> (usize, BTreeSet<String>) {
    let (mut beats, mut works) = (0, BTreeSet::new());
    let mut ends = Vec::new();
    loop {
        let before = answers(canister, blocks);
        let mut copy = canister.upgraded_copy();
        assert_eq!(answers(&copy, blocks), before, "beat {beats}");
        copy.audit();
        copy.settle();
        copy.audit();
        ends.push(answers(&copy, blocks));
        let work = canister.app.plan();
        if work.is_none() && canister.app.store().queue.is_empty() {
            break;
        }
        let name = work.map(|work| format!("{work:?}"));
        let kind = |name: &str| name.split('(').next().map(str::to_owned);
        works.extend(name.as_deref().and_then(kind));
        canister.heartbeat();
        beats += 1;
        assert!(beats < 1_000);
    }
    let end = answers(canister, blocks);
    for (beat, other) in ends.iter().enumerate() {
        assert_eq!(*other, end, "upgraded before beat {beat}");
    }
    (beats, works)
}

#[test]
fn answers_before_and_after_an_upgrade_are_equal_at_every_step() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..regtest()
    });
    // Blocks that spend earlier coins, a fork of two, and one more block in two parts.
    let mut blocks = chain(2);
    for height in 3..10 {
        let parent = blocks[height - 2].clone();
        let spent = coinbase_coin(&blocks[height - 3]);
        let payment = payment(&[spent], &[400, 300]);
        blocks.push(block(&parent, height as u32, 0, &[50], &[payment]));
    }
    let fork = block(&blocks[2], 4, 9, &[60], &[]);
    let fork = [fork.clone(), block(&fork, 5, 9, &[61], &[])];
    let sent = payment(&[coinbase_coin(&blocks[8])], &[40]);
    let last = block(&blocks[8], 10, 0, &[70], std::slice::from_ref(&sent));
    let all: Vec<Block> = blocks.iter().chain(&fork).chain([&last]).cloned().collect();

    let Canister { app, world, .. } = &mut canister;
    let transaction = ByteBuf::from(serialize(&sent));
    let args = SendTransactionArgs { transaction };
    app.send_transaction(world, &Purse::with(0), args).unwrap();
    let bytes = serialize(&last);
    let part = |offset: usize, bytes: &[u8], size: usize| BlockPart {
        hash: convert::hash(last.block_hash()),
        size: size as u32,
        offset: offset as u32,
        bytes: ByteBuf::from(bytes),
    };
    let whole_parts = |blocks: &[Block]| -> Vec<BlockPart> {
        let bytes = blocks.iter().map(serialize);
        bytes.map(|bytes| whole(&bytes)).collect()
    };
    let mut parts = whole_parts(&blocks[..5]);
    parts.extend(whole_parts(&fork));
    parts.push(part(0, &bytes[..100], bytes.len()));
    canister.push_parts(parts);
    // One block of the queue at a time, so that it is found half drained.
    canister.app.store.cells.set_watch(Watch {
        cautious: 7,
        ..Watch::default()
    });
    let (beats, mut works) = beat_and_compare(&mut canister, &all);
    // Seven queued blocks, and seven that are scanned, looked up, judged and stored.
    assert!(beats >= 7 + 3 * 7, "{beats}");
    assert!(
        canister
            .app
            .store()
            .tree
            .get(&fork[1].block_hash())
            .is_some()
    );

    // With these the chain leaves the fork behind for good, and its first eight blocks become stable.
    canister.push_parts(whole_parts(&blocks[5..]));
    works.extend(beat_and_compare(&mut canister, &all).1);
    let expected = ["Compact", "Connect", "Retire"];
    assert_eq!(works.iter().collect::<Vec<_>>(), expected);
    assert!(
        canister
            .app
            .store()
            .tree
            .get(&fork[1].block_hash())
            .is_none()
    );
    assert_eq!(canister.tip().1, 9);
    let half = canister.feed_state(vec![]).half_received;
    assert_eq!(half[0].received, 100);

    canister.push_parts(vec![part(100, &bytes[100..], bytes.len())]);
    beat_and_compare(&mut canister, &all);
    assert_eq!(canister.tip(), (last.block_hash(), 10));
    let percentiles = canister.app.store().fee_cache.tip();
    assert_eq!(
        percentiles,
        Some(last.block_hash()),
        "computed with the tip"
    );
}

/// So many blocks on the genesis block, each with a transaction that has these outputs.
fn blocks_with(count: u32, outputs: impl Fn(&mut Vec<TxOut>)) -> Vec<Block> {
    let mut blocks = vec![block(&genesis(), 1, 0, &[1_000], &[])];
    for height in 2..=count {
        let parent = &blocks[blocks.len() - 1];
        let spent: OutPoint = coinbase_coin(parent);
        let mut transaction = payment(&[spent], &[]);
        outputs(&mut transaction.output);
        let next = block(parent, height, 0, &[1_000], &[transaction]);
        blocks.push(next);
    }
    blocks
}

#[test]
fn opening_reads_by_the_number_of_unstable_blocks_and_not_by_their_size() {
    // Below the depth at which regtest's oldest block is stable whatever the threshold.
    let count = 499;
    let opened = |blocks: &[Block]| {
        let mut canister = Canister::new(InitConfig {
            stability_threshold: Some(5_000u32.into()),
            ..regtest()
        });
        canister.feed_blocks(blocks);
        let store = canister.app.store();
        assert_eq!(store.tree.connected_count(), blocks.len() + 1);
        let bytes: usize = blocks.iter().map(|block| serialize(block).len()).sum();
        canister.upgrade();
        (bytes, canister.app.store().pages().pages_read().get())
    };
    let (small_bytes, small) = opened(&blocks_with(count, |_| ()));
    let (large_bytes, large) = opened(&blocks_with(count, |outputs| {
        // 18 kB that make no coins, and some coins.
        let mut script = vec![0x6a];
        script.resize(9_000, 0);
        let nothing = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(script),
        };
        outputs.extend([nothing.clone(), nothing]);
        let coin = TxOut {
            value: Amount::from_sat(1),
            script_pubkey: owner_script(),
        };
        outputs.extend(vec![coin; 12]);
    }));
    assert!(large_bytes > 40 * small_bytes);
    assert!(large <= small + small / 5, "{small} and {large} pages");
    // The first page of each of a block's two runs, and records.
    assert!(small <= 1_300, "{small} pages for {count} blocks");
    let (_, fewer) = opened(&blocks_with(100, |_| ()));
    assert!(fewer < small, "{fewer} and {small} pages");
}

#[test]
fn an_upgrade_itself_reads_the_header_page_alone() {
    let mut canister = Canister::new(regtest());
    canister.feed_blocks(&chain(30));
    let memory = millrace_store::counting::CountingMemory::new(canister.copied_memory());
    assert!(memory.size() > 0);
    millrace_store::layout::check(&memory).unwrap();
    assert!(memory.pages_read().get() <= 2);
    assert_eq!(memory.pages_written().get(), 0);
}
