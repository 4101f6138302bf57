use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Txid};
use proptest::prelude::*;

use super::number::{Bytes, compress_amount, put_varint, restore_amount};
use super::*;

/// The generator of secp256k1, whose `y` is even, and its negative's last byte.
const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

fn coin(txid: u8, vout: u32, satoshi: u64, script: &str) -> SnapshotCoin {
    SnapshotCoin {
        outpoint: OutPoint {
            txid: Txid::from_byte_array([txid; 32]),
            vout,
        },
        height: Height::new(700 + vout),
        coinbase: vout == 0,
        satoshi,
        script: ScriptBuf::from_hex(script).unwrap(),
    }
}

fn written(groups: &[Vec<SnapshotCoin>]) -> Vec<u8> {
    let mut out = Vec::new();
    for group in groups {
        write_group(&mut out, group);
    }
    out
}

fn read_all(bytes: &[u8]) -> Result<Vec<SnapshotCoin>, SnapshotError> {
    let mut reader = CoinReader::new(bytes, Position::start());
    let mut coins = Vec::new();
    while let Some(coin) = reader.next_coin()? {
        coins.push(coin);
    }
    assert_eq!(reader.consumed(), bytes.len(), "cut off");
    assert_eq!(reader.position().left, 0);
    Ok(coins)
}

fn groups() -> Vec<Vec<SnapshotCoin>> {
    let twenty = "11".repeat(20);
    vec![
        vec![
            coin(1, 0, 5_000_000_000, &format!("41{:02x}{X}{Y}ac", 4)),
            coin(1, 127, 0, &format!("76a914{twenty}88ac")),
            coin(1, 128, 1, &format!("a914{twenty}87")),
        ],
        vec![coin(2, 7, 2_100_000_000_000_000, &format!("2103{X}ac"))],
        vec![
            coin(3, 16_512, 546, ""),
            coin(3, 70_000, 999_999_999, &format!("0014{twenty}")),
            // Not on the curve, so it stays as it is.
            coin(3, 70_001, 10, &format!("4104{X}{}ac", "00".repeat(32))),
            coin(3, 70_002, 10, &"51".repeat(MAX_SCRIPT_BYTES)),
        ],
    ]
}

#[test]
fn coins_are_read_as_they_were_written_from_every_piece() {
    let bytes = written(&groups());
    let all = groups().concat();
    assert_eq!(read_all(&bytes).unwrap(), all);
    for cut in 0..bytes.len().min(400) {
        let mut first = CoinReader::new(&bytes[..cut], Position::start());
        let mut coins = Vec::new();
        while let Some(coin) = first.next_coin().unwrap() {
            coins.push(coin);
        }
        let mut rest = CoinReader::new(&bytes[first.consumed()..], first.position());
        while let Some(coin) = rest.next_coin().unwrap() {
            coins.push(coin);
        }
        assert_eq!(coins, all, "cut at {cut}");
    }
}

#[test]
fn usual_scripts_take_as_few_bytes_as_bitcoin_core_writes() {
    let twenty = "11".repeat(20);
    let cases = [
        (format!("76a914{twenty}88ac"), format!("00{twenty}")),
        (format!("a914{twenty}87"), format!("01{twenty}")),
        (format!("2102{X}ac"), format!("02{X}")),
        (format!("2103{X}ac"), format!("03{X}")),
        (format!("4104{X}{Y}ac"), format!("04{X}")),
        (format!("0014{twenty}"), format!("1c0014{twenty}")),
        (String::new(), "06".to_owned()),
        // Pushes of other lengths, other codes.
        (
            format!("76a914{twenty}88ad"),
            format!("1f76a914{twenty}88ad"),
        ),
    ];
    for (script, expected) in cases {
        let mut out = Vec::new();
        script::write(&mut out, &hex::decode(&script).unwrap());
        assert_eq!(hex::encode(&out), expected, "{script}");
        let mut bytes = Bytes::new(&out, 0);
        assert_eq!(hex::encode(script::read(&mut bytes).unwrap()), script);
    }
}

#[test]
fn varints_are_bitcoin_cores() {
    // From the description of the format in Bitcoin Core's serialize.h.
    let cases: [(u64, &str); 9] = [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8000"),
        (255, "807f"),
        (256, "8100"),
        (16_383, "fe7f"),
        (16_384, "ff00"),
        (u64::MAX, "80fefefefefefefefe7f"),
    ];
    for (number, expected) in cases {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        assert_eq!(hex::encode(&out), expected);
        assert_eq!(Bytes::new(&out, 0).varint(), Ok(number));
    }
}

#[test]
fn metadata_is_read_back_or_says_what_is_wrong() {
    let metadata = Metadata {
        network: Network::Signet,
        base: BlockHash::from_byte_array([7; 32]),
        coins: 1_234_567_890_123,
    };
    let bytes = metadata.encode();
    assert_eq!(Metadata::decode(&bytes, Network::Signet), Ok(metadata));
    let read = |bytes: &[u8]| Metadata::decode(bytes, Network::Signet).unwrap_err();
    assert_eq!(
        read(&bytes[..50]),
        SnapshotError::Short {
            given: 50,
            needed: 51
        }
    );
    let mut other = bytes;
    other[4] = 0;
    assert!(matches!(read(&other), SnapshotError::NoSnapshot { .. }));
    let mut other = bytes;
    other[5] = 1;
    assert_eq!(read(&other), SnapshotError::Version { found: 1 });
    let wrong = Metadata::decode(&bytes, Network::Mainnet).unwrap_err();
    assert!(
        matches!(wrong, SnapshotError::OtherNetwork { .. }),
        "{wrong}"
    );
}

#[test]
fn impossible_coins_are_damage() {
    let head = format!("{}01", "22".repeat(32));
    let cases = [
        (format!("{}00", "22".repeat(32)), "has no coins"),
        (format!("{head}feffffffff"), "no output has such an index"),
        (
            format!("{head}ffffffffff00000000"),
            "longer than it need be",
        ),
        (format!("{head}fd1000"), "longer than it need be"),
        (format!("{head}00{}", "ff".repeat(11)), "longer"),
        (format!("{head}00fefefefe7f0006"), "no block has the height"),
        (
            format!("{head}0000{}06", "80fefefefefefefefe7f"),
            "more than there can be",
        ),
        (format!("{head}000000cd17"), "cannot be spent"),
        (
            format!("{head}00000004{}", "ff".repeat(32)),
            "not on the curve",
        ),
    ];
    for (bytes, expected) in cases {
        let bytes = hex::decode(&bytes).unwrap();
        match CoinReader::new(&bytes, Position::start()).next_coin() {
            Err(SnapshotError::Coin { at: 0, what }) => {
                assert!(what.contains(expected), "{what} for {expected}");
            }
            other => panic!("{other:?} for {expected}"),
        }
    }
}

#[test]
fn the_hash_goes_on_from_its_stored_form() {
    let coins = groups().concat();
    let mut whole = SerializedHash::default();
    let mut stored = SerializedHash::default();
    let mut plain = Vec::new();
    for coin in &coins {
        coin.counted(|coin| {
            whole.put(coin);
            stored.put(coin);
            let mut bytes = Vec::new();
            coin.write(&mut bytes);
            plain.extend(bytes);
        });
        stored = SerializedHash::from_bytes(&stored.to_bytes()).unwrap();
    }
    let expected = bitcoin::hashes::sha256d::Hash::hash(&plain);
    assert_eq!(whole.finish().0, expected.to_byte_array());
    assert_eq!(stored.finish().to_string(), expected.to_string());
}

#[test]
fn known_sets_are_named_as_they_are_printed() {
    for network in Network::ALL {
        for set in assumed(network) {
            assert!(set.block.parse::<BlockHash>().is_ok());
            assert_eq!(hex::decode(set.hash_serialized).unwrap().len(), 32);
        }
    }
    assert_eq!(assumed(Network::Mainnet).len(), 4);
}

proptest! {
    #[test]
    fn any_amount_is_restored(satoshi in 0..=2_100_000_000_000_000_u64, zeros in 0..10_u32) {
        let satoshi = satoshi / 10_u64.pow(zeros) * 10_u64.pow(zeros);
        prop_assert_eq!(restore_amount(compress_amount(satoshi)), Some(satoshi));
    }

    #[test]
    fn any_bytes_are_coins_or_damage_or_cut_off(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = CoinReader::new(&bytes, Position::start());
        while let Ok(Some(coin)) = reader.next_coin() {
            prop_assert!(coin.satoshi <= 2_100_000_000_000_000);
        }
        prop_assert!(reader.consumed() <= bytes.len());
    }

    #[test]
    fn any_script_is_read_back(script in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut out = Vec::new();
        script::write(&mut out, &script);
        prop_assert_eq!(script::read(&mut Bytes::new(&out, 0)), Ok(script));
    }
}
