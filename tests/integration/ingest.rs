//! The main job: mainnet blocks 0 to 4521 pushed in, every answer equal to the recomputation.

use millrace_candid::{
    BlockHeaders, Chain, GetBalanceArgs, GetBlockHeadersArgs, GetUtxosArgs, HeaderSelector, Owner,
};
use millrace_tests::coins::CoinSet;
use millrace_tests::compare;
use millrace_tests::setup::Setup;
use serde_bytes::ByteBuf;

use crate::chains::{last_hash, mainnet};

const EXAMPLE: &str = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv";

#[test]
fn pushed_mainnet_blocks_give_every_scripts_true_coins_and_balance() {
    let blocks = mainnet();
    let setup = Setup::mainnet();
    setup.push(&blocks[1..]);
    setup.tick_until_tip(last_hash(blocks));
    assert_eq!(setup.chain(), Chain::Mainnet);

    let compared = setup.assert_equals(&CoinSet::of_chain(blocks).expect("a valid chain"), None);
    assert_eq!(compared, 4_571, "distinct scripts in the file");
    an_address_is_answered_like_its_script(&setup);
    updates_answer_like_queries(&setup);
    headers_are_those_of_the_blocks(&setup);
    blocks_pushed_again_change_nothing(&setup);
}

fn an_address_is_answered_like_its_script(setup: &Setup) {
    let owner = Owner::Address(EXAMPLE.to_owned());
    let balance = setup.balance(&owner, None);
    assert_eq!(balance.balance, 4_975 * 100_000_000);
    assert_eq!(balance.utxo_count, 7);
    let (by_address, tip) = setup.all_utxos(&owner, None, None);
    assert_eq!(by_address.len(), 7);
    assert_eq!(tip.height, 4_521);
    let address: bitcoin::Address<_> = EXAMPLE.parse().expect("a known address");
    let script = address.assume_checked().script_pubkey();
    let (by_script, _) = setup.all_utxos(&compare::owner(&script), None, None);
    assert_eq!(by_address, by_script);
}

fn updates_answer_like_queries(setup: &Setup) {
    let owner = Owner::Address(EXAMPLE.to_owned());
    let utxos = GetUtxosArgs {
        owner: owner.clone(),
        filter: None,
        at_tip: None,
        limit: None,
    };
    let balance = GetBalanceArgs {
        owner,
        min_confirmations: None,
        at_tip: None,
    };
    let headers = GetBlockHeadersArgs {
        select: HeaderSelector::Range {
            start_height: 4_500,
            end_height: None,
        },
        at_tip: None,
    };
    let sender = candid::Principal::anonymous();
    assert_eq!(
        setup.update::<millrace_candid::GetUtxosResult>(sender, "get_utxos", (&utxos,)),
        Ok(setup.get_utxos(&utxos))
    );
    assert_eq!(
        setup.update::<millrace_candid::GetBalanceResult>(sender, "get_balance", (&balance,)),
        Ok(setup.get_balance(&balance))
    );
    assert_eq!(
        setup.update::<millrace_candid::GetBlockHeadersResult>(
            sender,
            "get_block_headers",
            (&headers,)
        ),
        Ok(setup.get_block_headers(&headers))
    );
}

fn headers_are_those_of_the_blocks(setup: &Setup) {
    let blocks = mainnet();
    let mut start_height = 0;
    while (start_height as usize) < blocks.len() {
        let page = headers(
            setup,
            HeaderSelector::Range {
                start_height,
                end_height: None,
            },
        );
        assert_eq!(page.first_height, start_height);
        assert!((1..=1_000).contains(&page.headers.len()));
        for (header, block) in page.headers.iter().zip(&blocks[start_height as usize..]) {
            assert_eq!(header, &bitcoin::consensus::serialize(&block.header));
        }
        start_height += u32::try_from(page.headers.len()).expect("at most 1,000");
    }
    // One far below the anchor, by hash.
    let wanted = &blocks[170];
    let by_hash = headers(
        setup,
        HeaderSelector::Hash(ByteBuf::from(bitcoin::consensus::serialize(
            &wanted.block_hash(),
        ))),
    );
    assert_eq!(by_hash.first_height, 170);
    assert_eq!(
        by_hash.headers,
        [ByteBuf::from(bitcoin::consensus::serialize(&wanted.header))]
    );
}

fn headers(setup: &Setup, select: HeaderSelector) -> BlockHeaders {
    let args = GetBlockHeadersArgs {
        select,
        at_tip: None,
    };
    setup
        .get_block_headers(&args)
        .unwrap_or_else(|error| panic!("{args:?}: {error:?}"))
}

fn blocks_pushed_again_change_nothing(setup: &Setup) {
    let before = setup.snapshot(&[]);
    setup.push(&mainnet()[4_000..]);
    setup.settle();
    assert_eq!(setup.snapshot(&[]), before);
}
