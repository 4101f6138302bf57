//! Against the `bitcoin` crate's own serialisation, and rules that Bitcoin Core states.

use bitcoin::consensus::serialize;
use bitcoin::{Amount, ScriptBuf, TxOut, Txid};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Coin {
    outpoint: OutPoint,
    height: u32,
    coinbase: bool,
    output: TxOut,
}

impl Coin {
    /// What Core hashes, put together from consensus encodings.
    fn bytes(&self) -> Vec<u8> {
        let code = self.height * 2 + u32::from(self.coinbase);
        [
            serialize(&self.outpoint),
            serialize(&code),
            serialize(&self.output),
        ]
        .concat()
    }

    fn given<T>(&self, to: impl FnOnce(&CountedCoin<'_>) -> T) -> T {
        let script = self.output.script_pubkey.as_bytes();
        let (head, tail) = script.split_at(script.len() / 3);
        to(&CountedCoin {
            outpoint: self.outpoint,
            height: Height::new(self.height),
            coinbase: self.coinbase,
            satoshi: self.output.value.to_sat(),
            script: &[head, tail, &[]],
        })
    }
}

fn coin() -> impl Strategy<Value = Coin> {
    let script = prop_oneof![
        vec(any::<u8>(), 0..40),
        (250_usize..260).prop_map(|length| vec![0x51; length]),
        Just(vec![0x51; 10_000]),
    ];
    let output = (any::<u64>(), script).prop_map(|(value, script)| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: ScriptBuf::from_bytes(script),
    });
    (
        any::<[u8; 32]>(),
        any::<u32>(),
        0..1_u32 << 31,
        any::<bool>(),
        output,
    )
        .prop_map(|(txid, vout, height, coinbase, output)| Coin {
            outpoint: OutPoint::new(Txid::from_byte_array(txid), vout),
            height,
            coinbase,
            output,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn coins_hash_as_their_consensus_encodings_do(
        coins in vec(coin(), 0..11), gone in vec(any::<bool>(), 11),
    ) {
        let mut committer = Committer::new(Commitment::default());
        let mut muhash = MuHash::default();
        let (mut satoshi, mut bogosize, mut outputs) = (0, 0, 0);
        for (coin, is_gone) in coins.iter().zip(&gone) {
            let element = Element::of(&coin.bytes());
            let sign = if *is_gone {
                coin.given(|coin| committer.take(coin));
                muhash.remove(&element);
                -1
            } else {
                coin.given(|coin| committer.put(coin));
                muhash.insert(&element);
                1
            };
            outputs += sign;
            satoshi += i128::from(sign) * i128::from(coin.output.value.to_sat());
            bogosize += i128::from(sign) * (50 + coin.output.script_pubkey.len() as i128);
        }
        let commitment = committer.finish();
        prop_assert_eq!(&commitment.muhash, &muhash);
        prop_assert_eq!(commitment.totals, Totals { outputs, satoshi, bogosize });
        prop_assert_eq!(Commitment::from_bytes(&commitment.to_bytes()), commitment);
    }

    #[test]
    fn a_change_does_what_its_coins_do(coins in vec(coin(), 1..9), split in 0_usize..9) {
        let (first, second) = coins.split_at(split.min(coins.len()));
        let committed = |coins: &[Coin]| {
            let mut committer = Committer::new(Commitment::default());
            coins.iter().for_each(|coin| coin.given(|coin| committer.put(coin)));
            committer.finish()
        };
        let mut sum = committed(first);
        sum.combine(&committed(second));
        prop_assert_eq!(sum, committed(&coins));
    }
}

#[test]
fn coinbases_of_the_genesis_block_and_those_replaced_on_mainnet_do_not_count() {
    for network in Network::ALL {
        assert!(!counts(network, Height::ZERO, true), "{network}");
        assert!(counts(network, Height::new(1), true), "{network}");
        for height in [91_722, 91_812] {
            let is_counted = network != Network::Mainnet;
            assert_eq!(
                counts(network, Height::new(height), true),
                is_counted,
                "{network}"
            );
            assert!(counts(network, Height::new(height), false), "{network}");
        }
        for height in [91_842, 91_880] {
            assert!(counts(network, Height::new(height), true), "{network}");
        }
    }
}
