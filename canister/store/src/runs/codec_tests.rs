//! Everything leaves hold reads back as it was, and no bytes make reading fail otherwise than with
//! a typed error.

use bitcoin::{Amount, ScriptBuf};
use ic_stable_structures::{Memory, VectorMemory};
use millrace_core::Height;
use proptest::prelude::*;

use super::coin_entry::{
    CoinChange, CoinEntry, EntryKind, MAX_COIN_ENTRY_BYTES, PutCoin, RawEntry,
};
use super::extent::{Appender, Extent};
use super::header::{RunHeader, RunKind};
use super::key::{OutpointKey, Place, ScriptKey};
use super::leaf::{self, LEAF_BYTES, LEAF_ROOM, LeafBuilder};
use super::number::{self, Input, MAX_WIDE_BYTES};
use super::script_entry::{
    BalanceChange, ListChange, MAX_PART_HEAD_BYTES, MAX_SCRIPT_ENTRY_BYTES, PartHead, ScriptEntry,
};
use super::script_form::{MAX_INLINE_BYTES, ScriptForm};
use crate::StoreError;

fn script() -> impl Strategy<Value = ScriptBuf> {
    let wrap = |head: &'static [u8], length: usize, tail: &'static [u8]| {
        prop::collection::vec(any::<u8>(), length)
            .prop_map(move |body| ScriptBuf::from_bytes([head, &body, tail].concat()))
    };
    prop_oneof![
        wrap(&[0x76, 0xa9, 0x14], 20, &[0x88, 0xac]),
        wrap(&[0xa9, 0x14], 20, &[0x87]),
        wrap(&[0x00, 0x14], 20, &[]),
        wrap(&[0x00, 0x20], 32, &[]),
        wrap(&[0x51, 0x20], 32, &[]),
        wrap(&[0x21], 33, &[0xac]),
        prop::collection::vec(any::<u8>(), 0..=MAX_INLINE_BYTES).prop_map(ScriptBuf::from_bytes),
    ]
}

fn form() -> impl Strategy<Value = ScriptForm> {
    prop_oneof![
        8 => script().prop_map(|script| ScriptForm::of(&script)),
        1 => (any::<u64>(), 0..=10_000u32)
            .prop_map(|(offset, length)| ScriptForm::Overflow { offset, length }),
    ]
}

fn number_of_any_size() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        number_of_any_size(),
        (1..=21_000_000u64).prop_map(|coins| coins * 100_000_000),
        Just(u64::MAX),
    ]
    .prop_map(Amount::from_sat)
}

fn put_coin() -> impl Strategy<Value = PutCoin> {
    (any::<u32>(), any::<bool>(), amount(), form()).prop_map(|(height, coinbase, value, script)| {
        PutCoin {
            height: Height::new(height),
            coinbase,
            value,
            script,
        }
    })
}

fn outpoint() -> impl Strategy<Value = OutpointKey> {
    // Few ids, so that neighbours often share one.
    (0..4u8, any::<u32>()).prop_map(|(id, vout)| OutpointKey {
        txid: [id; 32],
        vout,
    })
}

fn coin_entry() -> impl Strategy<Value = CoinEntry> {
    let change = prop_oneof![
        put_coin().prop_map(CoinChange::Put),
        put_coin().prop_map(CoinChange::Replace),
        Just(CoinChange::Spend),
    ];
    (outpoint(), change).prop_map(|(outpoint, change)| CoinEntry { outpoint, change })
}

fn script_entry() -> impl Strategy<Value = ScriptEntry> {
    let change = prop_oneof![
        Just(ListChange::Spend),
        (amount(), any::<bool>()).prop_map(|(value, coinbase)| ListChange::Put { value, coinbase }),
    ];
    (0..3u32, outpoint(), change).prop_map(|(height, outpoint, change)| ScriptEntry {
        place: Place::new(Height::new(height << 30), outpoint),
        change,
    })
}

fn read_coins(body: &[u8]) -> Result<Vec<CoinEntry>, StoreError> {
    let mut input = Input::new("test", body);
    let mut entries: Vec<CoinEntry> = Vec::new();
    while input.left() > 0 {
        let before = entries.last().map(|entry| entry.outpoint.txid);
        entries.push(CoinEntry::decode(before.as_ref(), &mut input)?);
    }
    Ok(entries)
}

fn read_list(body: &[u8]) -> Result<Vec<ScriptEntry>, StoreError> {
    let mut input = Input::new("test", body);
    let mut entries: Vec<ScriptEntry> = Vec::new();
    while input.left() > 0 {
        let before = entries.last().map(|entry| entry.place);
        entries.push(ScriptEntry::decode(before.as_ref(), &mut input)?);
    }
    Ok(entries)
}

/// Bitcoin Core's `compress_tests.cpp` has these pairs.
#[test]
fn amounts_are_compressed_as_bitcoin_core_does() {
    let coin = 100_000_000;
    for (satoshi, compressed) in [
        (0, 0x0),
        (1, 0x1),
        (coin / 100, 0x7),
        (coin, 0x9),
        (50 * coin, 0x32),
        (21_000_000 * coin, 0x0140_6f40),
    ] {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        number::put_varint(&mut expected, compressed);
        number::put_amount(&mut found, Amount::from_sat(satoshi));
        assert_eq!(found, expected, "{satoshi}");
    }
}

#[test]
fn numbers_that_are_too_large_or_padded_are_refused() {
    let padded = [0x80, 0x00];
    let endless = [0xff; MAX_WIDE_BYTES + 1];
    let over_64 = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    for bytes in [padded.as_slice(), &endless, &over_64, &[]] {
        let error = Input::new("test", bytes).varint().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { what: "test", .. }));
    }
    let over_32 = [0xff, 0xff, 0xff, 0xff, 0x10];
    assert!(Input::new("test", &over_32).varint_u32().is_err());
    // The largest digits with nine zeros are no 64-bit amount.
    let mut amount = Vec::new();
    number::put_wide(&mut amount, 1 + u128::from(u64::MAX) * 10 + 9);
    assert!(Input::new("test", &amount).amount().is_err());
}

#[test]
fn a_leaf_takes_what_fits_and_is_empty_after_it_is_finished() {
    let mut builder = LeafBuilder::default();
    builder.push(&[7; LEAF_ROOM - 1]).unwrap();
    assert!(matches!(
        builder.push(&[8; 2]),
        Err(StoreError::BeyondEnd { .. })
    ));
    builder.push(&[9]).unwrap();
    let memory = VectorMemory::default();
    memory.grow(1);
    let mut out = Appender::new(Extent {
        start: 0,
        length: 2 * LEAF_BYTES as u64,
    });
    builder.finish(&memory, &mut out).unwrap();
    // Nothing was pushed since: not a leaf any run has.
    assert!(builder.is_empty() && builder.room() == LEAF_ROOM);
    builder.finish(&memory, &mut out).unwrap();
    out.flush(&memory).unwrap();
    let mut leaf = [0; LEAF_BYTES];
    memory.read(0, &mut leaf);
    let (entries, body) = leaf::open("test", &leaf).unwrap();
    assert_eq!((entries, body.len(), body.last()), (2, LEAF_ROOM, Some(&9)));
    memory.read(LEAF_BYTES as u64, &mut leaf);
    assert!(leaf::open("test", &leaf).is_err());
}

#[test]
fn a_change_that_cannot_follow_another_is_damage() {
    use EntryKind::{Put, Replace, Spend};
    for (older, newer) in [(Put, Put), (Replace, Put), (Spend, Spend), (Spend, Replace)] {
        assert!(older.then(newer).is_err(), "{older:?} {newer:?}");
    }
    assert_eq!(Put.then(Spend), Ok(None));
    assert_eq!(Spend.then(Put), Ok(Some(Replace)));
    assert_eq!(Replace.then(Spend), Ok(Some(Spend)));
    assert_eq!(Replace.then(Replace), Ok(Some(Replace)));
    assert_eq!(Put.then(Replace), Ok(Some(Put)));
}

proptest! {
    #[test]
    fn numbers_read_back(a in number_of_any_size(), b in any::<i128>(), shift in 0..127u32, c in amount()) {
        let b = b >> shift;
        let mut bytes = Vec::new();
        number::put_varint(&mut bytes, a);
        number::put_signed(&mut bytes, b);
        number::put_amount(&mut bytes, c);
        let mut input = Input::new("test", &bytes);
        prop_assert_eq!(input.varint(), Ok(a));
        prop_assert_eq!(input.signed(), Ok(b));
        prop_assert_eq!(input.amount(), Ok(c));
        prop_assert_eq!(input.left(), 0);
    }

    #[test]
    fn scripts_read_back(script in script()) {
        let form = ScriptForm::of(&script);
        prop_assert_eq!(form.script(), Some(script));
        prop_assert!(form.overflow().is_empty());
    }

    #[test]
    fn coin_entries_read_back(entries in prop::collection::vec(coin_entry(), 1..20)) {
        let mut body = Vec::new();
        let mut before = None;
        for entry in &entries {
            let start = body.len();
            entry.encode(before.as_ref(), &mut body);
            before = Some(entry.outpoint.txid);
            prop_assert!(body.len() - start <= MAX_COIN_ENTRY_BYTES);
        }
        let (mut rest, mut txid) = (body.as_slice(), [0; 32]);
        for entry in &entries {
            let raw = RawEntry::read(rest).unwrap();
            txid = raw.txid.copied().unwrap_or(txid);
            prop_assert_eq!((txid, raw.vout), (entry.outpoint.txid, entry.outpoint.vout));
            let mut again = Vec::new();
            raw.encode(raw.kind().0, raw.txid, &mut again);
            prop_assert_eq!(&again, &rest[..raw.length]);
            for end in 0..raw.length {
                prop_assert_eq!(RawEntry::read(&rest[..end]), None);
            }
            rest = &rest[raw.length..];
        }
        prop_assert_eq!(rest, [0; 0]);
        prop_assert_eq!(read_coins(&body), Ok(entries));
        // Cut off anywhere, what is left reads as a shorter list or as damage.
        for end in 0..body.len() {
            let _ = read_coins(&body[..end]).is_ok();
        }
    }

    #[test]
    fn script_entries_read_back(entries in prop::collection::vec(script_entry(), 1..20)) {
        let mut body = Vec::new();
        let mut before = None;
        for entry in &entries {
            let start = body.len();
            entry.encode(before.as_ref(), &mut body);
            before = Some(entry.place);
            prop_assert!(body.len() - start <= MAX_SCRIPT_ENTRY_BYTES);
        }
        prop_assert_eq!(read_list(&body), Ok(entries));
        for end in 0..body.len() {
            let _ = read_list(&body[..end]).is_ok();
        }
    }

    #[test]
    fn part_heads_read_back(
        key in any::<[u8; 20]>(),
        sums in proptest::option::of((any::<i128>(), any::<i64>())),
        goes_on in any::<bool>(),
        entries in 1..2_000u32,
        bytes in 0..2_000u32,
    ) {
        let change = sums.map(|(satoshi, coins)| BalanceChange { satoshi, coins });
        let head = PartHead { key: ScriptKey(key), change, goes_on, entries, bytes };
        let mut out = Vec::new();
        head.encode(&mut out);
        prop_assert!(out.len() <= MAX_PART_HEAD_BYTES);
        out.extend(vec![0; bytes as usize]);
        prop_assert_eq!(PartHead::decode(&mut Input::new("test", &out)), Ok(head));
    }

    #[test]
    fn garbage_is_damage_or_something_that_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(entries) = read_coins(&bytes) {
            prop_assert!(entries.len() <= bytes.len());
        }
        if let Ok(entries) = read_list(&bytes) {
            prop_assert!(entries.len() <= bytes.len());
        }
        let mut input = Input::new("test", &bytes);
        if let Ok(head) = PartHead::decode(&mut input) {
            let mut again = Vec::new();
            head.encode(&mut again);
            prop_assert_eq!(again.as_slice(), &bytes[..bytes.len() - input.left()]);
        }
        let mut leaf = bytes.clone();
        leaf.resize(LEAF_BYTES, 0);
        if let Ok((_, body)) = leaf::open("test", &leaf) {
            let _ = (read_coins(body).is_ok(), read_list(body).is_ok());
        }
        prop_assert!(RunHeader::decode(&bytes).is_err(), "no magic");
    }

    #[test]
    fn headers_read_back_and_changed_ones_never_overlap(
        at in 0..128usize, byte in any::<u8>(), leaves in 0..9u32, blocks in 1..9u32,
    ) {
        let header = RunHeader {
            kind: RunKind::Scripts,
            leaves,
            filter_blocks: blocks,
            entries: 5,
            keys: 4,
            puts: 3,
            spends: 2,
            entry_bytes: 100,
            overflow_bytes: 7,
            fences_at: 128 + 64 * u64::from(blocks),
            overflow_at: 128 + 64 * u64::from(blocks) + 80,
            leaves_at: 2048,
        };
        let mut bytes = header.encode();
        prop_assert_eq!(RunHeader::decode(&bytes), Ok(header));
        bytes[at] = byte;
        if let Ok(changed) = RunHeader::decode(&bytes) {
            prop_assert!(changed.overflow_at >= changed.fences_at + u64::from(changed.leaves) * 8);
            prop_assert!(changed.leaves_at >= changed.overflow_at + changed.overflow_bytes);
        }
    }
}
