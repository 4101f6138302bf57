//! Paging through an owner of 2,016 coins, while the chain goes on and at any page size.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_candid::{GetUtxosArgs, InitConfig, InitNetwork, ReadError, UtxosFilter};
use millrace_tests::compare;
use millrace_tests::setup::{Setup, hash_of, pushed};
use serde_bytes::ByteBuf;

use crate::chains::{alternate, alternate_script, both, last_hash, mainnet};

/// A canister with the alternate branch as its chain and nothing of it stable.
fn with_alternate_branch() -> Setup {
    let setup = Setup::new(InitConfig {
        stability_threshold: Some(3_000u32.into()),
        ..pushed(InitNetwork::Mainnet)
    });
    setup.push(alternate());
    setup.tick_until_tip(last_hash(alternate()));
    setup
}

#[test]
fn pages_of_any_size_join_to_all_2016_coins_in_order() {
    let setup = with_alternate_branch();
    let coins = both().coins_at(last_hash(alternate())).by_script();
    let wanted = compare::as_utxos(&coins[&alternate_script()]);
    assert_eq!(wanted.len(), 2_016);
    let owner = compare::owner(&alternate_script());
    for limit in [None, Some(1_000), Some(999), Some(250), Some(1)] {
        // One coin per page takes 2,016 calls; its first pages show the same.
        let (utxos, tip) = match limit {
            Some(1) => first_pages(&setup, 1, 30),
            limit => setup.all_utxos(&owner, None, limit),
        };
        assert_eq!(tip.height, 2_016);
        assert_eq!(utxos, wanted[..utxos.len()], "limit {limit:?}");
        assert!(limit == Some(1) || utxos.len() == wanted.len());
    }
    // The default and the largest page hold 1,000 coins: three calls.
    assert_eq!(page_sizes(&setup, None), [1_000, 1_000, 16]);
}

#[test]
fn a_page_continues_at_its_own_tip_after_a_reorg() {
    let setup = with_alternate_branch();
    let first = setup.get_utxos(&args(None, None)).expect("a good question");
    let page = first.next_page.expect("1,016 coins are left");

    // The real branch gets more work: work counts one per block, four for the alternate's last.
    setup.push(&mainnet()[1..=2_100]);
    setup.tick_until_tip(mainnet()[2_100].block_hash());
    let owner = compare::owner(&alternate_script());
    assert_eq!(setup.balance(&owner, None).utxo_count, 0);

    let second = setup
        .get_utxos(&args(Some(page.clone()), None))
        .expect("the tip the page was made at is still held");
    assert_eq!(second.utxos.len(), 1_000);
    assert_eq!(hash_of(&second.tip.hash), last_hash(alternate()));
    assert!(second.utxos[0].height < first.utxos[999].height);

    let other_tip = setup.tip();
    assert_eq!(
        setup.get_utxos(&args(Some(page), Some(other_tip))),
        Err(ReadError::PageForOtherTip {
            page_tip: ByteBuf::from(last_hash(alternate()).to_byte_array()),
            at_tip: ByteBuf::from(other_tip.to_byte_array()),
        })
    );
}

fn args(page: Option<ByteBuf>, at_tip: Option<BlockHash>) -> GetUtxosArgs {
    GetUtxosArgs {
        owner: compare::owner(&alternate_script()),
        filter: page.map(UtxosFilter::Page),
        at_tip: at_tip.map(|hash| ByteBuf::from(hash.to_byte_array())),
        limit: None,
    }
}

fn page_sizes(setup: &Setup, limit: Option<u32>) -> Vec<usize> {
    let mut args = GetUtxosArgs {
        limit,
        ..args(None, None)
    };
    let mut sizes = Vec::new();
    loop {
        let page = setup.get_utxos(&args).expect("a good question");
        sizes.push(page.utxos.len());
        match page.next_page {
            None => return sizes,
            Some(next) => args.filter = Some(UtxosFilter::Page(next)),
        }
    }
}

fn first_pages(
    setup: &Setup,
    limit: u32,
    pages: usize,
) -> (Vec<millrace_candid::Utxo>, millrace_candid::BlockId) {
    let mut args = GetUtxosArgs {
        limit: Some(limit),
        ..args(None, None)
    };
    let mut utxos = Vec::new();
    let mut page = setup.get_utxos(&args).expect("a good question");
    for _ in 1..pages {
        args.filter = page.next_page.take().map(UtxosFilter::Page);
        assert!(args.filter.is_some(), "more coins than pages");
        utxos.append(&mut page.utxos);
        page = setup.get_utxos(&args).expect("a good question");
    }
    utxos.append(&mut page.utxos);
    (utxos, page.tip)
}
