//! One good block, and the same block with one rule broken.

mod boundaries;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, BlockHash, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness, WitnessMerkleNode, transaction,
};

use super::*;
use crate::block::MAX_BLOCK_WEIGHT;
use crate::delta::DeltaError;

const HEIGHT: u32 = 1000;
const MEDIAN: u32 = 1_700_000_000;
/// 50 bitcoin after six halvings on regtest.
const SUBSIDY: u64 = 78_125_000;
const BITCOIN: u64 = 100_000_000;
const ALL_MONEY: u64 = 21_000_000 * BITCOIN;
/// BIP68's switch for locks in time.
const BY_TIME: u32 = 1 << 22;
const CHECKSIG: u8 = 0xac;

/// A block before it is sealed, and what is known before it.
#[derive(Clone)]
struct World {
    version: i32,
    /// The coinbase; a payment that spends a plain coin; one that spends a coinbase's coin, a
    /// P2WPKH coin with a witness and the payment before.
    txdata: Vec<Transaction>,
    coins: Coins,
    times: Times,
    place: BlockPlace,
    nonce: Vec<Vec<u8>>,
}

const COINBASE: usize = 0;
const PLAIN: usize = 1;
const MIXED: usize = 2;

fn outpoint(name: u8) -> OutPoint {
    OutPoint {
        txid: Txid::from_byte_array([name; 32]),
        vout: u32::from(name),
    }
}

fn input(previous_output: OutPoint) -> TxIn {
    TxIn {
        previous_output,
        sequence: Sequence::from_consensus(0),
        ..TxIn::default()
    }
}

fn pay(satoshi: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
    }
}

fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input,
        output,
    }
}

fn coinbase_script(height: u32) -> ScriptBuf {
    Builder::new()
        .push_int(i64::from(height))
        .push_int(0)
        .into_script()
}

fn good() -> World {
    let coin = |satoshi, height, coinbase, script: ScriptBuf| Coin {
        value: Amount::from_sat(satoshi),
        script,
        height: Height::new(height),
        coinbase,
    };
    let plain = ScriptBuf::from_bytes(vec![0x51]);
    let p2wpkh = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros());
    let coins = [
        (outpoint(1), coin(10 * BITCOIN, 500, false, plain.clone())),
        (outpoint(2), coin(25 * BITCOIN, 900, true, plain)),
        (outpoint(3), coin(BITCOIN, 999, false, p2wpkh)),
    ];
    let mut coinbase_input = input(OutPoint::null());
    coinbase_input.script_sig = coinbase_script(HEIGHT);
    let coinbase = transaction(vec![coinbase_input], vec![pay(SUBSIDY + 3000)]);
    let first = transaction(vec![input(outpoint(1))], vec![pay(10 * BITCOIN - 1000)]);
    let mut segwit_input = input(outpoint(3));
    segwit_input.witness = Witness::from_slice(&[[7; 64].as_slice(), &[2; 33]]);
    let made = OutPoint {
        txid: first.compute_txid(),
        vout: 0,
    };
    let second = transaction(
        vec![input(outpoint(2)), segwit_input, input(made)],
        vec![pay(36 * BITCOIN - 3000)],
    );
    World {
        version: 4,
        txdata: vec![coinbase, first, second],
        coins: Coins(coins.into()),
        times: Times([(499, MEDIAN - 512 * 100)].into()),
        place: BlockPlace {
            network: Network::Regtest,
            height: Height::new(HEIGHT),
            median_time_past: MEDIAN,
        },
        nonce: vec![vec![9; 32]],
    }
}

impl World {
    /// Lets the last transaction spend what the payment before it is named now.
    fn relink(&mut self) {
        let txid = self.txdata[PLAIN].compute_txid();
        self.txdata[MIXED].input[2].previous_output.txid = txid;
    }

    fn coin(&mut self, name: u8) -> &mut Coin {
        self.coins.0.get_mut(&outpoint(name)).unwrap()
    }

    /// Commits to the witnesses with the `bitcoin` crate's own computation.
    fn commit(&mut self) {
        let block = self.block();
        let root = block
            .witness_root()
            .unwrap_or(WitnessMerkleNode::all_zeros());
        let nonce = self.nonce.first().cloned().unwrap_or_default();
        let hash = Block::compute_witness_commitment(&root, &nonce);
        let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
        script.extend(hash.to_byte_array());
        self.txdata[COINBASE].output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(script),
        });
        self.txdata[COINBASE].input[0].witness = Witness::from_slice(&self.nonce);
    }

    fn block(&self) -> Block {
        Block {
            header: Header {
                version: Version::from_consensus(self.version),
                prev_blockhash: BlockHash::all_zeros(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: MEDIAN + 600,
                bits: Network::Regtest.pow_limit_bits(),
                nonce: 0,
            },
            txdata: self.txdata.clone(),
        }
    }

    fn seal(&self) -> CheckedBlock {
        let mut block = self.block();
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        CheckedBlock::check(block).unwrap()
    }

    fn judge(&self, validation: BlockValidation, budget: usize) -> Verdict {
        let block = self.seal();
        connect(
            &block,
            self.place,
            validation,
            &self.coins,
            &self.times,
            budget,
        )
    }
}

/// Coins that can be read, beside times that cannot.
struct Readable<'a>(&'a Coins);

impl CoinView for Readable<'_> {
    type Error = &'static str;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, &'static str> {
        Ok(self.0.0.get(outpoint).cloned())
    }
}

/// A good block after `change`, committed to its witnesses.
fn with(change: impl FnOnce(&mut World)) -> World {
    let mut world = good();
    change(&mut world);
    world.commit();
    world
}

#[test]
fn the_good_block_connects_wherever_the_work_pauses() {
    let world = with(|_| {});
    let whole = world.judge(BlockValidation::Consensus, usize::MAX).unwrap();
    assert_eq!(whole.delta.spends.len(), 3);
    assert_eq!(whole.fees.rates().len(), 2);
    for budget in 0..12 {
        let paused = world.judge(BlockValidation::Consensus, budget);
        assert_eq!(paused.as_ref(), Ok(&whole), "{budget}");
        assert_eq!(world.judge(BlockValidation::ProofOfWork, budget), paused);
    }
}

/// Judges a changed block: refused under consensus with the rule's error, accepted under proof of
/// work, as the official canister would.
fn breaks(name: &str, change: impl FnOnce(&mut World), rule: impl FnOnce(&ConsensusError) -> bool) {
    let world = with(change);
    let verdict = world.judge(BlockValidation::Consensus, 2);
    let Err(ConnectError::Rule(error)) = verdict else {
        panic!("{name}: {verdict:?}");
    };
    assert!(rule(&error), "{name}: {error:?}");
    assert!(error.condemns_block(), "{name}");
    let lenient = world.judge(BlockValidation::ProofOfWork, 2);
    assert!(lenient.is_ok(), "{name}: {lenient:?}");
}

fn holds(name: &str, change: impl FnOnce(&mut World)) {
    let verdict = with(change).judge(BlockValidation::Consensus, 2);
    assert!(verdict.is_ok(), "{name}: {verdict:?}");
}

#[test]
fn coinbase_rules() {
    use ConsensusError as E;
    breaks(
        "old version",
        |w| w.version = 3,
        |e| {
            matches!(
                e,
                E::OldVersion {
                    version: 3,
                    required: 4,
                    ..
                }
            )
        },
    );
    breaks(
        "a second coinbase",
        |w| {
            let mut again = w.txdata[COINBASE].clone();
            again.output[0].value = Amount::ZERO;
            w.txdata.push(again);
        },
        |e| matches!(e, E::ExtraCoinbase { .. }),
    );
    let with_script = |script: Vec<u8>| {
        move |w: &mut World| w.txdata[COINBASE].input[0].script_sig = ScriptBuf::from_bytes(script)
    };
    let mut longest = coinbase_script(HEIGHT).into_bytes();
    longest.resize(100, 0);
    holds("a script of 100 bytes", with_script(longest.clone()));
    longest.push(0);
    breaks("a long script", with_script(longest), |e| {
        matches!(e, E::CoinbaseScript { length: 101 })
    });
    breaks("a short script", with_script(vec![0]), |e| {
        matches!(e, E::CoinbaseScript { length: 1 })
    });
    for (name, script) in [
        ("another height", coinbase_script(HEIGHT + 1).into_bytes()),
        ("a padded height", vec![3, 0xe8, 3, 0]),
    ] {
        breaks(
            name,
            with_script(script),
            |e| matches!(e, E::CoinbaseHeight { height, .. } if height.get() == HEIGHT),
        );
    }
    breaks(
        "a satoshi too much",
        |w| w.txdata[COINBASE].output[0].value += Amount::ONE_SAT,
        |e| {
            *e == E::CoinbaseValue {
                taken: u128::from(SUBSIDY) + 3001,
                subsidy: SUBSIDY,
                fees: 3000,
            }
        },
    );
    holds("a satoshi left", |w| {
        w.txdata[COINBASE].output[0].value -= Amount::ONE_SAT
    });
}

#[test]
fn transaction_shape_rules() {
    use ConsensusError as E;
    breaks(
        "no outputs",
        |w| {
            w.txdata.truncate(2);
            w.txdata[PLAIN].output.clear();
        },
        |e| matches!(e, E::NoOutputs { .. }),
    );
    breaks(
        "a long input script",
        |w| {
            w.txdata[PLAIN].input[0].script_sig = ScriptBuf::from_bytes(vec![0; 10_001]);
            w.relink();
        },
        |e| matches!(e, E::ScriptTooLong { length: 10_001, .. }),
    );
    // What follows breaks coin rules as well, so no validation lets it pass.
    let refused = |change: fn(&mut World)| {
        let world = with(change);
        assert!(world.judge(BlockValidation::ProofOfWork, 2).is_err());
        world.judge(BlockValidation::Consensus, 2).unwrap_err()
    };
    let error = refused(|w| w.txdata[PLAIN].input.push(input(outpoint(1))));
    assert!(matches!(
        error,
        ConnectError::Rule(E::DuplicateInput { outpoint: spent, .. }) if spent == outpoint(1)
    ));
    let error = refused(|w| w.txdata[PLAIN].input.push(input(OutPoint::null())));
    assert!(matches!(error, ConnectError::Rule(E::NullInput { .. })));
}

#[test]
fn amount_rules() {
    use ConsensusError as E;
    let plain_output = |satoshi| {
        move |w: &mut World| {
            w.txdata[PLAIN].output[0].value = Amount::from_sat(satoshi);
            w.relink();
        }
    };
    for satoshi in [ALL_MONEY + 1, u64::MAX] {
        breaks(
            "too much for an output",
            plain_output(satoshi),
            |e| matches!(e, E::OutputValue { vout: 0, satoshi: found, .. } if *found == satoshi),
        );
    }
    breaks(
        "too much for all outputs",
        |w| {
            w.txdata[PLAIN].output = vec![pay(ALL_MONEY), pay(1)];
            w.relink();
        },
        |e| matches!(e, E::OutputTotal { .. }),
    );
    breaks(
        "too much for all inputs",
        |w| w.coin(2).value = Amount::from_sat(ALL_MONEY),
        |e| matches!(e, E::InputTotal { .. }),
    );
    breaks(
        "created value",
        plain_output(10 * BITCOIN + 1),
        |e| matches!(e, E::CreatesValue { inputs, outputs, .. } if inputs + 1 == *outputs),
    );
    breaks(
        "too much for all fees",
        |w| {
            w.coin(1).value = Amount::from_sat(ALL_MONEY);
            w.coin(2).value = Amount::from_sat(ALL_MONEY - 11 * BITCOIN);
        },
        |e| matches!(e, E::FeeTotal { .. }),
    );
}

#[test]
fn coin_rules() {
    use ConsensusError as E;
    breaks(
        "a coinbase of 99 blocks ago",
        |w| w.coin(2).height = Height::new(HEIGHT - 99),
        |e| {
            matches!(e, E::Immature { outpoint: spent, made, .. }
            if *spent == outpoint(2) && made.get() == HEIGHT - 99)
        },
    );
    breaks(
        "the genesis coinbase",
        |w| w.coin(1).height = Height::ZERO,
        |e| matches!(e, E::SpendsGenesis { .. }),
    );
    let world = with(|w| {
        w.coins.0.remove(&outpoint(2));
    });
    for validation in [BlockValidation::Consensus, BlockValidation::ProofOfWork] {
        let error = world.judge(validation, 2).unwrap_err();
        assert!(
            matches!(error, ConnectError::Coins(DeltaError::MissingCoin { .. })),
            "{error}"
        );
        assert!(error.condemns_block());
        assert!(!error.suspects_carrier());
    }
    // BIP30: the coinbase's name is taken.
    let mut world = with(|_| {});
    let taken = OutPoint {
        txid: world.txdata[COINBASE].compute_txid(),
        vout: 0,
    };
    let coin = world.coin(1).clone();
    world.coins.0.insert(taken, coin);
    assert_eq!(
        world.judge(BlockValidation::Consensus, 2),
        Err(ConnectError::Coins(DeltaError::OverwritesUnspent {
            outpoint: taken
        }))
    );
}

#[test]
fn lock_time_rules() {
    use ConsensusError as E;
    let locked = |lock_time: u32| {
        move |w: &mut World| {
            w.txdata[PLAIN].lock_time = LockTime::from_consensus(lock_time);
            w.relink();
        }
    };
    holds("the height before", locked(HEIGHT - 1));
    breaks("this height", locked(HEIGHT), |e| {
        matches!(
            e,
            E::NotFinal {
                lock_time: HEIGHT,
                ..
            }
        )
    });
    holds("before the median", locked(MEDIAN - 1));
    // BIP113: the block's own time is later, but does not count.
    breaks("the median", locked(MEDIAN), |e| {
        matches!(e, E::NotFinal { cutoff: MEDIAN, .. })
    });
    holds("final sequence numbers", |w| {
        w.txdata[PLAIN].input[0].sequence = Sequence::MAX;
        locked(HEIGHT + 5)(w);
    });
    // Before BIP113 the block's time counts.
    let mut early = with(|w| {
        locked(MEDIAN + 599)(w);
        w.place.network = Network::Mainnet;
        w.place.height = Height::new(419_327);
        w.txdata[COINBASE].input[0].script_sig = coinbase_script(419_327);
        // Segwit is not active either.
        w.txdata[MIXED].input[1].witness = Witness::new();
        w.nonce.clear();
    });
    assert!(early.judge(BlockValidation::Consensus, 2).is_ok());
    early.txdata[COINBASE].input[0].script_sig = coinbase_script(419_328);
    early.place.height = Height::new(419_328);
    let error = early.judge(BlockValidation::Consensus, 2).unwrap_err();
    assert!(
        matches!(error, ConnectError::Rule(E::NotFinal { .. })),
        "{error}"
    );
}

#[test]
fn relative_lock_rules() {
    use ConsensusError as E;
    let relative = |sequence: u32| {
        move |w: &mut World| {
            w.txdata[PLAIN].input[0].sequence = Sequence::from_consensus(sequence);
            w.relink();
        }
    };
    // The coin is of height 500.
    holds("500 blocks", relative(500));
    breaks("501 blocks", relative(501), |e| {
        matches!(e, E::LockedByHeight { until, height, .. }
            if until.get() == 1001 && height.get() == HEIGHT)
    });
    // The median before the coin was 100 units of 512 s ago.
    holds("100 units", relative(BY_TIME | 100));
    breaks("101 units", relative(BY_TIME | 101), |e| {
        matches!(e, E::LockedByTime { until, median: MEDIAN, .. }
            if *until == u64::from(MEDIAN) + 512)
    });
    let one_second_later = |w: &mut World| {
        w.times.0.insert(499, MEDIAN - 512 * 100 + 1);
        relative(BY_TIME | 100)(w);
    };
    breaks(
        "a second too early",
        one_second_later,
        |e| matches!(e, E::LockedByTime { until, .. } if *until == u64::from(MEDIAN) + 1),
    );
    holds("switched off", relative(1 << 31 | 501));
    let of_version = |version: i32| {
        move |w: &mut World| {
            w.txdata[PLAIN].version = transaction::Version(version);
            relative(501)(w);
        }
    };
    holds("version 1", of_version(1));
    // Versions have no sign in BIP68.
    breaks("version -1", of_version(-1), |e| {
        matches!(e, E::LockedByHeight { .. })
    });

    // A coin of the same block is locked from the parent's time on, which is known.
    let inside = |sequence: u32| {
        move |w: &mut World| {
            w.txdata[MIXED].input[2].sequence = Sequence::from_consensus(sequence);
        }
    };
    holds("no wait in time inside a block", inside(BY_TIME));
    breaks("one unit inside a block", inside(BY_TIME | 1), |e| {
        matches!(e, E::LockedByTime { .. })
    });
    breaks("one block inside a block", inside(1), |e| {
        matches!(e, E::LockedByHeight { .. })
    });

    let broken = with(relative(BY_TIME | 100));
    let block = broken.seal();
    let validation = BlockValidation::Consensus;
    let connector = BlockConnector::start(block.scanned(), broken.place, validation).unwrap();
    let error = connector
        .step(&Readable(&broken.coins), &Broken, 100)
        .unwrap_err();
    assert_eq!(error, ConnectError::Times("a header is damaged"));
    assert!(!error.condemns_block());

    let mut world = with(relative(BY_TIME | 100));
    world.times.0.clear();
    let error = world.judge(BlockValidation::Consensus, 2).unwrap_err();
    assert_eq!(
        error,
        ConnectError::UnknownMedianTime {
            height: Height::new(499)
        }
    );
    assert!(!error.condemns_block());
}

/// Witness data can be damaged by whoever carries a good block: nothing here condemns it.
#[test]
fn witness_rules() {
    use ConsensusError as E;
    let refused = |world: &World, rule: &dyn Fn(&E) -> bool| {
        let error = world.judge(BlockValidation::Consensus, 2).unwrap_err();
        assert!(
            matches!(&error, ConnectError::Rule(e) if rule(e)),
            "{error}"
        );
        assert!(!error.condemns_block());
        assert!(error.suspects_carrier());
        assert!(world.judge(BlockValidation::ProofOfWork, 2).is_ok());
    };
    let mut world = with(|_| {});
    world.txdata[COINBASE].output.pop();
    let first = world.txdata[COINBASE].compute_txid();
    refused(&world, &|e| *e == E::UnexpectedWitness { txid: first });

    for (nonce, items, length) in [
        (vec![vec![9; 31]], 1, 31),
        (vec![vec![9; 32], vec![]], 2, 32),
        (vec![], 0, 0),
    ] {
        let world = with(|w| w.nonce = nonce);
        refused(&world, &|e| *e == E::WitnessNonce { items, length });
    }

    let mut world = with(|_| {});
    world.txdata[MIXED].input[1].witness.push([0]);
    refused(&world, &|e| matches!(e, E::WitnessCommitment { .. }));
    // Too many operations in a forged witness are the carrier's, not the block's.
    let p2wsh = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::all_zeros());
    world.coin(3).script = p2wsh;
    world.txdata[MIXED].input[1]
        .witness
        .push(vec![CHECKSIG; 90_000]);
    refused(&world, &|e| matches!(e, E::WitnessCommitment { .. }));

    // The last of several commitments counts.
    let mut world = with(|_| {});
    let decoy = TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(
            [vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], vec![1; 32]].concat(),
        ),
    };
    world.txdata[COINBASE].output.insert(1, decoy.clone());
    assert!(world.judge(BlockValidation::Consensus, 2).is_ok());
    world.txdata[COINBASE].output.push(decoy.clone());
    refused(&world, &|e| matches!(e, E::WitnessCommitment { .. }));

    // However much follows it in its script.
    let lengthen = |output: &mut TxOut| {
        let mut script = output.script_pubkey.to_bytes();
        script.resize(40_000, 0);
        output.script_pubkey = ScriptBuf::from_bytes(script);
    };
    let mut world = with(|_| {});
    lengthen(world.txdata[COINBASE].output.last_mut().unwrap());
    assert!(world.judge(BlockValidation::Consensus, 2).is_ok());
    let mut decoy = decoy;
    lengthen(&mut decoy);
    world.txdata[COINBASE].output.push(decoy);
    refused(&world, &|e| matches!(e, E::WitnessCommitment { .. }));
}

/// What the witness data weighs is the block's own only once the commitment holds.
#[test]
fn a_block_that_is_too_heavy_is_condemned_where_its_commitment_holds() {
    let padded = |length: usize| {
        move |w: &mut World| {
            w.txdata[MIXED].input[1].witness = Witness::from_slice(&[vec![0; length]]);
        }
    };
    // The length of the item takes five bytes in each.
    let other = with(padded(1_000_000)).seal().weight() - 1_000_000;
    let most = usize::try_from(MAX_BLOCK_WEIGHT - other).unwrap();
    holds("4,000,000", padded(most));

    let weight = MAX_BLOCK_WEIGHT + 1;
    let heavy = with(padded(most + 1));
    for (validation, committed) in [
        (BlockValidation::Consensus, true),
        (BlockValidation::ProofOfWork, false),
    ] {
        let error = heavy.judge(validation, 2).unwrap_err();
        let expected = ConsensusError::TooHeavy { weight, committed };
        assert_eq!(error, ConnectError::Rule(expected));
        assert_eq!(error.condemns_block(), committed);
        assert_eq!(error.suspects_carrier(), !committed);
    }
    let mut forged = with(|_| {});
    padded(most + 1)(&mut forged);
    let error = forged.judge(BlockValidation::Consensus, 2).unwrap_err();
    assert!(error.suspects_carrier(), "{error}");
}

#[test]
fn signature_operations_cost_at_most_80_000() {
    // The P2WPKH coin costs one.
    let checksigs = |count: usize| {
        move |w: &mut World| {
            w.txdata[MIXED].output.push(TxOut {
                value: Amount::ZERO,
                script_pubkey: ScriptBuf::from_bytes(vec![CHECKSIG; count]),
            });
        }
    };
    holds("79,997", checksigs(19_999));
    breaks("80,001", checksigs(20_000), |e| {
        matches!(e, ConsensusError::SigopCost { cost: 80_001 })
    });
}

#[test]
fn created_value_pays_no_fee_under_proof_of_work() {
    let world = with(|w| {
        w.txdata[PLAIN].output[0].value = Amount::from_sat(11 * BITCOIN);
        w.relink();
    });
    let connected = world.judge(BlockValidation::ProofOfWork, 2).unwrap();
    assert_eq!(connected.fees.rates()[0].get(), 0);
    assert!(connected.fees.rates()[1].get() > 0);
}
