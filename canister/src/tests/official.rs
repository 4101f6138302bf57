//! The official endpoints: charges, pages, confirmations, headers, fees.

use super::regtest::*;
use super::setup::*;
use crate::official::{Mode, Refusal};
use bitcoin::hashes::Hash;
use millrace_candid::official::{
    Fees, GetBalanceRequest, GetBlockHeadersRequest, GetCurrentFeePercentilesRequest,
    GetUtxosRequest, NetworkInRequest, UtxosFilterInRequest,
};
use millrace_candid::{Flag, InitConfig, SetConfigRequest};
use serde_bytes::ByteBuf;

pub fn utxos_request(filter: Option<UtxosFilterInRequest>) -> GetUtxosRequest {
    GetUtxosRequest {
        address: OWNER.to_owned(),
        network: NetworkInRequest::regtest,
        filter,
    }
}

pub fn balance_request(min_confirmations: Option<u32>) -> GetBalanceRequest {
    GetBalanceRequest {
        address: OWNER.to_owned(),
        network: NetworkInRequest::Regtest,
        min_confirmations,
    }
}

pub fn headers_request(start_height: u32, end_height: Option<u32>) -> GetBlockHeadersRequest {
    GetBlockHeadersRequest {
        start_height,
        end_height,
        network: NetworkInRequest::regtest,
    }
}

fn fees_request() -> GetCurrentFeePercentilesRequest {
    GetCurrentFeePercentilesRequest {
        network: NetworkInRequest::regtest,
    }
}

fn priced() -> InitConfig {
    InitConfig {
        fees: Some(prices()),
        ..regtest()
    }
}

#[test]
fn reads_charge_what_the_official_canister_charges() {
    // What ten instructions cost, the maximum, what is charged besides the base. The pretended
    // counter moves on by TICK each time it is read: once in each call.
    let metered = [
        (7, 1_000_000_000, u128::from(TICK / 10 * 7)),
        (1, 1_000_000_000, u128::from(TICK / 10)),
        (0, 1_000_000_000, 0),
        // Never more than the maximum.
        (7, 10_000, 8_000),
    ];
    for (price, maximum, expected) in metered {
        let mut canister = Canister::new(InitConfig {
            fees: Some(Fees {
                get_utxos_base: 2_000,
                get_utxos_cycles_per_ten_instructions: price,
                get_utxos_maximum: maximum,
                get_block_headers_base: 2_000,
                get_block_headers_cycles_per_ten_instructions: price,
                get_block_headers_maximum: maximum,
                ..prices()
            }),
            ..regtest()
        });
        canister.feed_blocks(&chain(3));
        let Canister { app, world, .. } = &mut canister;
        let purse = Purse::with(2_000_000_000);
        world.instructions.set(0);
        app.bitcoin_get_utxos(world, &purse, utxos_request(None))
            .unwrap();
        assert_eq!(purse.taken.get(), 2_000 + expected, "coins at {price}");

        let purse = Purse::with(2_000_000_000);
        world.instructions.set(0);
        app.bitcoin_get_block_headers(world, &purse, &headers_request(0, None))
            .unwrap();
        assert_eq!(purse.taken.get(), 2_000 + expected, "headers at {price}");
    }

    let mut canister = Canister::new(priced());
    let Canister { app, .. } = &mut canister;

    let purse = Purse::with(200);
    app.bitcoin_get_balance(&purse, balance_request(None))
        .unwrap();
    assert_eq!(purse.taken.get(), 20);

    let purse = Purse::with(300);
    app.bitcoin_get_current_fee_percentiles(&purse, &fees_request())
        .unwrap();
    assert_eq!(purse.taken.get(), 30);
}

#[test]
fn a_refused_read_keeps_the_base_price_and_one_without_enough_cycles_takes_nothing() {
    let mut canister = Canister::new(priced());
    let Canister { app, world, .. } = &mut canister;
    let purse = Purse::with(1_000_000_000);
    let mut request = utxos_request(None);
    request.address = "nobody".to_owned();
    let refusal = app.bitcoin_get_utxos(world, &purse, request).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Reject("get_utxos failed: MalformedAddress".to_owned())
    );
    assert_eq!(purse.taken.get(), 1_000);

    let purse = Purse::with(199);
    let refusal = app.bitcoin_get_balance(&purse, balance_request(None));
    assert_eq!(
        refusal,
        Err(Refusal::Trap(
            "Received 199 cycles. 200 cycles are required.".to_owned()
        ))
    );
    assert_eq!(purse.taken.get(), 0);
}

#[test]
fn queries_are_free_and_never_replicated() {
    let canister = Canister::new(priced());
    let app = &canister.app;
    assert!(
        app.bitcoin_get_utxos_query(Mode::Query, utxos_request(None))
            .is_ok()
    );
    assert_eq!(
        app.bitcoin_get_balance_query(Mode::Query, balance_request(None)),
        Ok(0)
    );
    let refused = |method| Refusal::Reject(format!("{method} cannot be called in replicated mode"));
    assert_eq!(
        app.bitcoin_get_utxos_query(Mode::Replicated, utxos_request(None)),
        Err(refused("get_utxos_query"))
    );
    assert_eq!(
        app.bitcoin_get_balance_query(Mode::Replicated, balance_request(None)),
        Err(refused("get_balance_query"))
    );
}

#[test]
fn pages_of_72_bytes_name_the_next_coin_and_stay_at_their_tip() {
    let mut canister = Canister::new(regtest());
    let values: Vec<u64> = (1..=1_500).collect();
    let first = block(&genesis(), 1, 0, &values, &[]);
    let second = block(&first, 2, 0, &[7; 600], &[]);
    canister.feed_blocks(&[first.clone(), second.clone()]);
    let get = |canister: &Canister, filter| {
        let request = utxos_request(filter);
        canister
            .app
            .bitcoin_get_utxos(&canister.world, &Purse::with(0), request)
            .unwrap()
    };
    let page = get(&canister, None);
    assert_eq!(page.utxos.len(), 1_000);
    assert_eq!(page.tip_block_hash, second.block_hash().to_byte_array());
    assert_eq!(page.tip_height, 2);
    let next = page.next_page.unwrap();
    let txid = first.txdata[0].compute_txid();
    let mut expected = second.block_hash().to_byte_array().to_vec();
    expected.extend((!1u32).to_be_bytes());
    expected.extend(txid.to_byte_array());
    expected.extend(400u32.to_le_bytes());
    assert_eq!(next, expected, "600 coins of block 2, then 400 of block 1");

    let third = block(&second, 3, 0, &[5], &[]);
    canister.feed_blocks(&[third]);
    let mut all = page.utxos;
    let mut filter = Some(UtxosFilterInRequest::page(next));
    while filter.is_some() {
        let page = get(&canister, filter);
        assert_eq!(page.tip_height, 2);
        all.extend(page.utxos);
        filter = page.next_page.map(UtxosFilterInRequest::Page);
    }
    let order: Vec<(u32, u32)> = all
        .iter()
        .map(|utxo| (utxo.height, utxo.outpoint.vout))
        .collect();
    let expected = (0..600).map(|vout| (2, vout));
    let expected = expected.chain((0..1_500).map(|vout| (1, vout)));
    assert_eq!(order, expected.collect::<Vec<_>>());
}

#[test]
fn confirmations_leave_out_the_newest_blocks() {
    let mut canister = Canister::new(regtest());
    canister.feed_blocks(&chain(5));
    for (min, tip, balance) in [
        (None, 5, 15_000),
        (Some(0), 5, 15_000),
        (Some(1), 5, 15_000),
        (Some(2), 4, 10_000),
        (Some(5), 1, 1_000),
        (Some(6), 0, 0),
    ] {
        let found = canister
            .app
            .bitcoin_get_balance(&Purse::with(0), balance_request(min));
        assert_eq!(found, Ok(balance), "{min:?}");
        for filter in [
            min.map(UtxosFilterInRequest::min_confirmations),
            min.map(UtxosFilterInRequest::MinConfirmations),
        ] {
            let page = canister.app.bitcoin_get_utxos(
                &canister.world,
                &Purse::with(0),
                utxos_request(filter),
            );
            let page = page.unwrap();
            assert_eq!(page.tip_height, tip, "{min:?}");
            let sum: u64 = page.utxos.iter().map(|utxo| utxo.value).sum();
            assert_eq!(sum, balance, "{min:?}");
        }
    }
}

#[test]
fn a_fork_of_equal_length_does_not_hide_coins_of_the_best_chain() {
    // There the official canister's unfiltered list stops below the fork, against its interface's
    // words, and its balance does not.
    let mut canister = Canister::new(regtest());
    let best = chain(2);
    let fork = block(&best[0], 2, 9, &[1], &[]);
    canister.feed_blocks(&best);
    canister.feed_blocks(&[fork]);
    for (min, height, expected) in [(None, 2, 3_000), (Some(1), 2, 3_000), (Some(2), 1, 1_000)] {
        let filter = min.map(UtxosFilterInRequest::min_confirmations);
        let page =
            canister
                .app
                .bitcoin_get_utxos(&canister.world, &Purse::with(0), utxos_request(filter));
        let page = page.unwrap();
        let sum: u64 = page.utxos.iter().map(|utxo| utxo.value).sum();
        assert_eq!((page.tip_height, sum), (height, expected), "{min:?}");
        let balance = canister
            .app
            .bitcoin_get_balance(&Purse::with(0), balance_request(min));
        assert_eq!(balance, Ok(expected), "{min:?}");
    }
}

/// The official canister lists the anchor's header twice while it pauses at retiring it.
#[test]
fn reads_at_any_step_of_connecting_and_retiring_show_each_header_and_coin_once() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        budgets: Some(millrace_candid::Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        disable_api_if_not_fully_synced: Some(Flag::Disabled),
        ..regtest()
    });
    let coins = 200;
    let mut parent = genesis();
    let blocks: Vec<_> = (1..=8)
        .map(|height| {
            parent = block(&parent, height, 0, &vec![u64::from(height); coins], &[]);
            parent.clone()
        })
        .collect();
    for block in &blocks {
        canister.push_bytes(&bitcoin::consensus::serialize(block));
    }
    let mut beats = 0;
    while canister.tip().1 < 8 || canister.app.plan().is_some() {
        canister.heartbeat();
        beats += 1;
        assert!(beats < 2_000, "stuck at {:?}", canister.tip());
        let (_, tip) = canister.tip();
        let Canister { app, world, .. } = &canister;
        let purse = Purse::with(0);
        let found = app.bitcoin_get_block_headers(world, &purse, &headers_request(0, None));
        let mut expected = vec![genesis().header];
        expected.extend(blocks[..tip as usize].iter().map(|block| block.header));
        let expected: Vec<ByteBuf> = expected
            .iter()
            .map(|header| ByteBuf::from(bitcoin::consensus::serialize(header)))
            .collect();
        assert_eq!(found.unwrap().block_headers, expected, "at {tip}");

        let owner = millrace_candid::Owner::Address(OWNER.to_owned());
        let listed = canister.all_utxos(&owner, None);
        let mut outpoints: Vec<_> = listed.iter().map(|utxo| &utxo.outpoint).collect();
        outpoints.sort_by_key(|outpoint| (outpoint.txid.clone(), outpoint.vout));
        outpoints.dedup();
        assert_eq!(outpoints.len(), listed.len(), "none comes twice");
        assert_eq!(listed.len(), tip as usize * coins);
        let sum: u64 = listed.iter().map(|utxo| utxo.value).sum();
        let balance = canister
            .app
            .bitcoin_get_balance(&purse, balance_request(None));
        assert_eq!(balance, Ok(sum));
    }
    assert!(beats >= 40, "{beats} steps seen");
    assert!(canister.app.get_blockchain_info().height - canister.app.store().tree.len() as u32 > 3);
}

#[test]
fn a_transaction_on_two_forks_has_the_height_it_has_on_the_chain_read() {
    let mut canister = Canister::new(regtest());
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let twice = [payment(&[coinbase_coin(&first)], &[4_000])];
    let early = block(&first, 2, 1, &[], &twice);
    let second = block(&first, 2, 2, &[], &[]);
    let late = block(&second, 3, 2, &[], &twice);
    canister.feed_blocks(&[first, early.clone(), second, late]);
    let page =
        canister
            .app
            .bitcoin_get_utxos(&canister.world, &Purse::with(0), utxos_request(None));
    let page = page.unwrap();
    assert_eq!((page.utxos.len(), page.utxos[0].height), (1, 3));
    let at_early = canister.app.get_utxos(&millrace_candid::GetUtxosArgs {
        owner: millrace_candid::Owner::Address(OWNER.to_owned()),
        filter: None,
        at_tip: Some(crate::convert::hash(early.block_hash())),
        limit: None,
    });
    assert_eq!(at_early.unwrap().utxos[0].height, 2);
}

#[test]
fn percentiles_are_computed_ahead_unless_configured_otherwise() {
    for (flag, is_ahead) in [(Flag::Disabled, true), (Flag::Enabled, false)] {
        let mut canister = Canister::new(InitConfig {
            lazily_evaluate_fee_percentiles: Some(flag),
            ..regtest()
        });
        canister.feed_blocks(&chain(2));
        let (tip, _) = canister.tip();
        let computed = canister.app.store().fee_cache.tip();
        assert_eq!(computed == Some(tip), is_ahead, "{flag:?}");
    }
}

#[test]
fn headers_come_a_hundred_at_a_time_with_the_height_of_the_last() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(10u8.into()),
        ..regtest()
    });
    let blocks = chain(150);
    canister.feed_blocks(&blocks);
    for (start, end, last, count) in [
        (0, None, 99, 100),
        (60, None, 150, 91),
        (1, Some(149), 100, 100),
        (150, Some(150), 150, 1),
        (100, Some(120), 120, 21),
    ] {
        let found = canister
            .app
            .bitcoin_get_block_headers(
                &canister.world,
                &Purse::with(0),
                &headers_request(start, end),
            )
            .unwrap();
        assert_eq!(
            (found.tip_height, found.block_headers.len()),
            (last, count),
            "{start} to {end:?}"
        );
        let top = bitcoin::consensus::serialize(&blocks[last as usize - 1].header);
        assert_eq!(found.block_headers.last(), Some(&ByteBuf::from(top)));
    }
}

#[test]
fn fee_percentiles_are_those_of_the_newest_transactions_and_survive_an_upgrade() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(3u8.into()),
        ..regtest()
    });
    let get = |canister: &mut Canister| {
        let purse = Purse::with(0);
        let app = &mut canister.app;
        app.bitcoin_get_current_fee_percentiles(&purse, &fees_request())
            .unwrap()
    };
    assert_eq!(get(&mut canister), Vec::<u64>::new());
    let first = block(&genesis(), 1, 0, &[10_000; 5], &[]);
    let coin = |vout| bitcoin::OutPoint {
        vout,
        ..coinbase_coin(&first)
    };
    // One input and one output: 60 bytes, and fees of 60 to 300 satoshi.
    let paid: Vec<_> = (0..5)
        .map(|vout| payment(&[coin(vout)], &[10_000 - 60 * (u64::from(vout) + 1)]))
        .collect();
    let size = paid[0].vsize() as u64;
    let second = block(&first, 2, 0, &[1], &paid);
    canister.feed_blocks(&[first, second.clone()]);
    canister.audit();
    let rates = |vout: u64| 60 * 1_000 * (vout + 1) / size;
    let expected: Vec<u64> = (0..=100u64)
        .map(|percent| rates((percent * 5).div_ceil(100).saturating_sub(1)))
        .collect();
    assert_eq!(get(&mut canister), expected);
    canister.upgrade();
    assert_eq!(get(&mut canister), expected);

    // Blocks without transactions push that one out of the unstable ones: the last answer stands.
    let mut parent = second;
    for height in 3..10 {
        let next = block(&parent, height, 0, &[1], &[]);
        canister.feed_blocks(std::slice::from_ref(&next));
        parent = next;
    }
    canister.upgrade();
    canister.audit();
    assert_eq!(get(&mut canister), expected);
}

#[test]
fn settings_of_the_official_configuration_are_changed_and_told() {
    let mut canister = Canister::new(regtest());
    let fees = Fees {
        get_balance: 9,
        ..Fees::default()
    };
    let change = SetConfigRequest {
        fees: Some(fees.clone()),
        api_access: Some(Flag::Disabled),
        burn_cycles: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(change).unwrap();
    canister.upgrade();
    let config = canister.app.get_config();
    assert_eq!((config.fees, config.api_access), (fees, Flag::Disabled));
    assert!(canister.app.burns_cycles());
}
