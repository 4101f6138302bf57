//! The last value, or the last height, at which a rule lets a block pass, and the one after.

use super::*;

/// The good block on mainnet at `height`, without witness data, after `change`.
fn on_mainnet(height: u32, change: impl FnOnce(&mut World)) -> World {
    let mut world = with(|w| {
        w.place.network = Network::Mainnet;
        w.place.height = Height::new(height);
        w.txdata[COINBASE].input[0].script_sig = coinbase_script(height);
        w.txdata[MIXED].input[1].witness = Witness::new();
        w.nonce.clear();
        change(w);
    });
    world.txdata[COINBASE].input[0].witness = Witness::new();
    world
}

fn rule(world: &World) -> Result<(), ConsensusError> {
    match world.judge(BlockValidation::Consensus, 2) {
        Ok(_) => Ok(()),
        Err(ConnectError::Rule(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn coinbases_name_their_height_from_227_931_on() {
    let nameless = |height| {
        on_mainnet(height, |w| {
            w.txdata[COINBASE].input[0].script_sig = ScriptBuf::from_bytes(vec![1, 7, 1, 7]);
        })
    };
    assert_eq!(rule(&nameless(227_930)), Ok(()));
    let refused = rule(&nameless(227_931));
    assert!(
        matches!(refused, Err(ConsensusError::CoinbaseHeight { height, .. }) if height.get() == 227_931),
        "{refused:?}"
    );
    assert_eq!(rule(&on_mainnet(227_931, |_| ())), Ok(()));
}

#[test]
fn witness_data_counts_from_481_824_on() {
    let with_witness = |height| {
        let mut world = good();
        world.place.network = Network::Mainnet;
        world.place.height = Height::new(height);
        world.txdata[COINBASE].input[0].script_sig = coinbase_script(height);
        world.commit();
        world
    };
    // The commitment is an output like any other there, and commits to nothing.
    let refused = rule(&with_witness(481_823));
    assert!(
        matches!(refused, Err(ConsensusError::UnexpectedWitness { .. })),
        "{refused:?}"
    );
    assert_eq!(rule(&with_witness(481_824)), Ok(()));
}

#[test]
fn relative_locks_count_from_419_328_on() {
    for (height, is_locked) in [(419_327, false), (419_328, true)] {
        let world = on_mainnet(height, |w| {
            w.coin(3).height = Height::new(height - 5);
            w.txdata[MIXED].input[1].sequence = Sequence::from_height(6);
        });
        let refused = rule(&world);
        let found = matches!(
            refused,
            Err(ConsensusError::LockedByHeight { until, .. }) if until.get() == height + 1
        );
        assert_eq!(
            (found, refused.is_ok()),
            (is_locked, !is_locked),
            "{refused:?}"
        );
    }
}

#[test]
fn a_block_may_cost_80_000_signature_operations() {
    let checksigs = |count: usize| {
        with(|w| {
            // A coin whose script costs nothing instead of the P2WPKH one.
            w.coin(3).script = ScriptBuf::from_bytes(vec![0x51]);
            w.txdata[MIXED].output.push(TxOut {
                value: Amount::ZERO,
                script_pubkey: ScriptBuf::from_bytes(vec![CHECKSIG; count]),
            });
        })
    };
    assert_eq!(rule(&checksigs(20_000)), Ok(()));
    let cost = 80_004;
    let refused = rule(&checksigs(20_001));
    assert_eq!(refused, Err(ConsensusError::SigopCost { cost }));
}

#[test]
fn an_output_and_a_transaction_may_hold_all_money() {
    let paying = |outputs: Vec<TxOut>| {
        let paying = transaction(vec![input(outpoint(1))], outputs);
        super::super::real::judge_alone(paying)
    };
    assert_eq!(paying(vec![pay(ALL_MONEY)]), Ok(()));
    assert_eq!(paying(vec![pay(ALL_MONEY - 1), pay(1)]), Ok(()));
    let refused = paying(vec![pay(0), pay(ALL_MONEY + 1)]);
    assert!(matches!(
        refused,
        Err(ConsensusError::OutputValue { vout: 1, satoshi, .. }) if satoshi == ALL_MONEY + 1
    ));
    let refused = paying(vec![pay(ALL_MONEY), pay(1)]);
    assert!(matches!(
        refused,
        Err(ConsensusError::OutputTotal { satoshi, .. }) if satoshi == u128::from(ALL_MONEY) + 1
    ));
    // Spent as a whole, too.
    let rich = with(|w| {
        w.coin(1).value = Amount::from_sat(ALL_MONEY);
        w.txdata[PLAIN].output[0].value = Amount::from_sat(ALL_MONEY);
        w.relink();
        w.txdata[MIXED].input.pop();
        w.txdata[MIXED].output[0].value = Amount::from_sat(26 * BITCOIN - 3_000);
    });
    assert_eq!(rule(&rich), Ok(()));
}
