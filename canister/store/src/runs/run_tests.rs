//! Runs read back what was written: by key, from a key on, in order; and damaged ones never do
//! more than give an error.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, ScriptBuf};
use ic_stable_structures::{Memory, VectorMemory};
use millrace_core::Height;
use proptest::prelude::*;

use super::coin_cursor::{CoinCursor, LeafCache, find_coin, find_in_leaves};
use super::coin_entry::{CoinChange, CoinEntry, PutCoin};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::header::RunKind;
use super::key::{OutpointKey, Place, ScriptKey};
use super::run::Run;
use super::script_cursor::{ScriptCursor, find_group};
use super::script_entry::{BalanceChange, ListChange, ScriptEntry};
use super::script_form::ScriptForm;
use super::script_writer::ScriptWriter;
use super::writer::RunPlan;
use crate::StoreError;
use crate::counting::CountingMemory;

/// Where the runs of these tests begin: not at the front, to find offsets taken for addresses.
const START: u64 = 3 * 4096;

fn hash(number: u32) -> [u8; 32] {
    sha256::Hash::hash(&number.to_le_bytes()).to_byte_array()
}

/// Puts, spends and replacements, with neighbours of one transaction and long scripts.
fn coins(count: u32) -> BTreeMap<OutpointKey, CoinChange> {
    let coin = |number: u32| PutCoin {
        height: Height::new(number),
        coinbase: number.is_multiple_of(9),
        value: Amount::from_sat(u64::from(number) * 1_000),
        script: if number.is_multiple_of(50) {
            ScriptForm::of(&ScriptBuf::from_bytes(vec![
                number as u8;
                129 + number as usize % 9_000
            ]))
        } else {
            ScriptForm::P2wpkh([number as u8; 20])
        },
    };
    let entry = |number: u32| {
        let outpoint = OutpointKey {
            txid: hash(number / 3),
            vout: number % 3,
        };
        let change = match number % 4 {
            0 => CoinChange::Spend,
            1 => CoinChange::Replace(coin(number)),
            _ => CoinChange::Put(coin(number)),
        };
        (outpoint, change)
    };
    (0..count).map(entry).collect()
}

fn write_coins(memory: &VectorMemory, coins: &BTreeMap<OutpointKey, CoinChange>) -> Run {
    let entries = || {
        coins.iter().map(|(outpoint, change)| CoinEntry {
            outpoint: *outpoint,
            change: change.clone(),
        })
    };
    let mut plan = RunPlan::default();
    let mut before = None;
    for entry in entries() {
        let script = entry.change.coin().map(|coin| match &coin.script {
            ScriptForm::Plain(script) => script.len() as u32,
            other => other.script().unwrap().len() as u32,
        });
        plan = plan.and(CoinWriter::bound(
            before == Some(entry.outpoint.txid),
            script,
        ));
        before = Some(entry.outpoint.txid);
    }
    let extent = room(memory, plan.length(RunKind::Coins));
    let mut writer = CoinWriter::new(extent, &plan).unwrap();
    for entry in entries() {
        writer.push(memory, entry).unwrap();
    }
    writer.finish(memory).unwrap()
}

/// Makes room, and fills it with what an older run could have left.
fn room(memory: &VectorMemory, length: u64) -> Extent {
    let pages = (START + length).div_ceil(65_536) + 1;
    memory.grow(pages - memory.size());
    memory.write(0, &vec![0xa5; (pages * 65_536) as usize]);
    Extent {
        start: START,
        length,
    }
}

/// Groups of which one has thousands of entries.
fn groups(count: u32, hot_entries: u32) -> BTreeMap<ScriptKey, Vec<ScriptEntry>> {
    let list = |entries: u32| {
        let entry = |number: u32| ScriptEntry {
            place: Place::new(
                Height::new(900_000 - number / 4),
                OutpointKey {
                    txid: [(number % 4 / 2) as u8; 32],
                    vout: number % 2,
                },
            ),
            change: if number % 5 == 4 {
                ListChange::Spend
            } else {
                ListChange::Put {
                    value: Amount::from_sat(u64::from(number)),
                    coinbase: number % 7 == 6,
                }
            },
        };
        (0..entries).map(entry).collect()
    };
    let key = |number: u32| ScriptKey(*hash(number).first_chunk().unwrap());
    (0..count)
        .map(|number| {
            (
                key(number),
                list(if number == 1 {
                    hot_entries
                } else {
                    1 + number % 3
                }),
            )
        })
        .collect()
}

fn sum(entries: &[ScriptEntry]) -> BalanceChange {
    // Enough to tell groups apart: spends do not name their amounts.
    BalanceChange {
        satoshi: -(entries.len() as i128),
        coins: entries.len() as i64,
    }
}

fn write_groups(memory: &VectorMemory, groups: &BTreeMap<ScriptKey, Vec<ScriptEntry>>) -> Run {
    let entries = groups.values().flat_map(|list| 0..list.len());
    let plans = entries.map(|at| ScriptWriter::bound(at == 0));
    let plan = plans.fold(RunPlan::default(), RunPlan::and);
    let extent = room(memory, plan.length(RunKind::Scripts));
    let mut writer = ScriptWriter::new(extent, &plan).unwrap();
    for (key, list) in groups {
        writer.begin_group(memory, *key, sum(list)).unwrap();
        for entry in list {
            writer.push(memory, entry).unwrap();
        }
    }
    writer.finish(memory).unwrap()
}

fn read_coins(memory: &VectorMemory, mut cursor: CoinCursor) -> Result<Vec<CoinEntry>, StoreError> {
    let mut entries = Vec::new();
    while let Some(entry) = cursor.next(memory)? {
        entries.push(entry);
    }
    Ok(entries)
}

type Groups = BTreeMap<ScriptKey, (BalanceChange, Vec<ScriptEntry>)>;

fn read_groups(memory: &VectorMemory, run: &Run) -> Result<Groups, StoreError> {
    let mut cursor = ScriptCursor::start(run);
    let mut groups = BTreeMap::new();
    while let Some((key, change)) = cursor.next_group(memory)? {
        let mut list = Vec::new();
        while let Some(entry) = cursor.next_entry(memory)? {
            list.push(entry);
        }
        groups.insert(key, (change, list));
    }
    Ok(groups)
}

#[test]
fn a_coin_run_reads_back_in_order_and_by_outpoint() {
    for count in [0, 1, 44, 700, 9_000] {
        let memory = VectorMemory::default();
        let coins = coins(count);
        let run = write_coins(&memory, &coins);
        let found = read_coins(&memory, CoinCursor::start(&run)).unwrap();
        let found: BTreeMap<_, _> = found.into_iter().map(|e| (e.outpoint, e.change)).collect();
        assert!(found == coins, "{count}");
        for (outpoint, change) in &coins {
            let found = find_coin(&memory, &run, outpoint).unwrap();
            assert_eq!(found.as_ref(), Some(change), "{outpoint:?} of {count}");
        }
        let header = run.header();
        assert_eq!(header.entries, u64::from(count));
        assert_eq!(header.keys, u64::from(count));
        assert_eq!(Run::open(&memory, run.extent(), RunKind::Coins), Ok(run));
        assert!(Run::open(&memory, run.extent(), RunKind::Scripts).is_err());
    }
}

#[test]
fn iteration_starts_at_any_outpoint() {
    let memory = VectorMemory::default();
    let coins = coins(3_000);
    let run = write_coins(&memory, &coins);
    for number in 0..500 {
        let from = OutpointKey {
            txid: hash(number * 7),
            vout: number % 5,
        };
        let mut cursor = CoinCursor::seek(&memory, &run, &from).unwrap();
        let expected = coins.range(from..).next().map(|(outpoint, _)| *outpoint);
        let found = cursor.peek(&memory).unwrap().map(|entry| entry.outpoint);
        assert_eq!(found, expected);
        let rest = read_coins(&memory, cursor).unwrap();
        assert_eq!(rest.len(), coins.range(from..).count());
    }
}

#[test]
fn a_filter_never_denies_a_key_and_seldom_admits_another() {
    let memory = VectorMemory::default();
    let run = write_coins(&memory, &coins(30_000));
    let key = |number| OutpointKey {
        txid: hash(number),
        vout: 0,
    };
    let maybe = |number| run.may_contain(&memory, &key(number).digest()).unwrap();
    assert!((0..10_000).all(maybe));
    let others = (10_000..30_000).filter(|number| maybe(*number)).count();
    assert!((20..400).contains(&others), "{others} of 20,000");
}

#[test]
fn outputs_of_one_transaction_over_many_leaves_are_found_with_few_reads() {
    // Two thousand outputs of each of a few ids that begin alike: all leaves share one fence.
    let ids = (0..10u8).map(|id| {
        let mut txid = [9; 32];
        txid[31] = id;
        txid
    });
    let spends = ids.flat_map(|txid| (0..2_000).map(move |vout| OutpointKey { txid, vout }));
    let coins: BTreeMap<_, _> = spends.map(|key| (key, CoinChange::Spend)).collect();
    let memory = VectorMemory::default();
    let run = write_coins(&memory, &coins);
    assert!(run.header().leaves >= 30);
    let memory = CountingMemory::new(memory);
    for outpoint in coins.keys().step_by(7) {
        memory.reset();
        let found = find_coin(&memory, &run, outpoint).unwrap();
        assert_eq!(found, Some(CoinChange::Spend), "{outpoint:?}");
        // Filter and fences, six halvings, the leaf.
        assert!(memory.pages_read().get() <= 9, "{outpoint:?}");
    }
    let absent = OutpointKey {
        vout: 2_000,
        ..*coins.keys().next().unwrap()
    };
    assert_eq!(find_coin(&memory, &run, &absent), Ok(None));
}

#[test]
fn a_script_run_reads_back_in_order_and_by_key() {
    for (count, hot) in [(0, 0), (1, 0), (2, 5_000), (3_000, 9_000)] {
        let memory = VectorMemory::default();
        let groups = groups(count, hot);
        let run = write_groups(&memory, &groups);
        let found = read_groups(&memory, &run).unwrap();
        let expected: Groups = groups
            .iter()
            .map(|(key, list)| (*key, (sum(list), list.clone())))
            .collect();
        assert!(found == expected, "{count}");
        for (key, list) in &groups {
            let mut group = find_group(&memory, &run, key).unwrap().unwrap();
            assert_eq!(group.change, sum(list));
            let first = group.cursor.next_entry(&memory).unwrap();
            assert_eq!(first.as_ref(), list.first());
        }
        let absent = ScriptKey(*hash(count + 1).first_chunk().unwrap());
        assert!(find_group(&memory, &run, &absent).unwrap().is_none());
        assert_eq!(run.header().entries, u64::from(count));
    }
}

#[test]
fn a_group_over_many_leaves_is_entered_at_any_place() {
    let memory = VectorMemory::default();
    let groups = groups(500, 9_000);
    let run = write_groups(&memory, &groups);
    let (key, list) = groups.iter().max_by_key(|(_, list)| list.len()).unwrap();
    for at in (0..list.len()).step_by(37) {
        let mut cursor = find_group(&memory, &run, key).unwrap().unwrap().cursor;
        cursor.skip_to(&memory, &list[at].place).unwrap();
        for expected in &list[at..list.len().min(at + 100)] {
            assert_eq!(cursor.next_entry(&memory).unwrap().as_ref(), Some(expected));
        }
    }
    let mut cursor = find_group(&memory, &run, key).unwrap().unwrap().cursor;
    let after = Place::new(Height::new(0), list[0].place.outpoint);
    cursor.skip_to(&memory, &after).unwrap();
    assert_eq!(cursor.next_entry(&memory), Ok(None));
    // The group after it is still there.
    let next = groups
        .range(*key..)
        .nth(1)
        .map(|(key, list)| (*key, sum(list)));
    assert_eq!(cursor.next_group(&memory).unwrap(), next);
}

#[test]
fn a_range_beyond_memory_is_an_error() {
    let memory = VectorMemory::default();
    memory.grow(1);
    for (start, length) in [(65_500, 4096), (65_536, 0), (u64::MAX, u64::MAX)] {
        let extent = Extent { start, length };
        let opened = Run::open(&memory, extent, RunKind::Coins);
        assert!(
            matches!(opened, Err(StoreError::BeyondEnd { .. })),
            "{opened:?}"
        );
        assert!(extent.write(&memory, 0, &[0; 1_000]).is_err());
        assert_eq!(extent.read(&memory, 0, &mut []), Ok(()));
    }
}

#[test]
fn writers_refuse_what_is_out_of_order_and_what_was_not_planned() {
    let memory = VectorMemory::default();
    let plan = RunPlan {
        keys: 1,
        entry_bytes: 100,
        overflow_bytes: 0,
    };
    let extent = room(&memory, plan.length(RunKind::Scripts));
    let short = Extent {
        length: extent.length - 1,
        ..extent
    };
    assert!(ScriptWriter::new(short, &plan).is_err());
    let spend = |number: u32| CoinEntry {
        outpoint: OutpointKey {
            txid: [number.to_be_bytes()[3]; 32],
            vout: number,
        },
        change: CoinChange::Spend,
    };
    let mut writer = CoinWriter::new(extent, &plan).unwrap();
    writer.push(&memory, spend(2)).unwrap();
    assert!(writer.push(&memory, spend(2)).is_err());
    assert!(writer.push(&memory, spend(1)).is_err());
    // One leaf of room, and more entries than fit.
    let refused = (3..250).find_map(|number| writer.push(&memory, spend(number)).err());
    let refused = refused.or_else(|| writer.finish(&memory).err());
    assert!(
        matches!(refused, Some(StoreError::BeyondEnd { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_group_whose_entries_are_gone_leaves_nothing_unless_its_sum_says_otherwise() {
    let memory = VectorMemory::default();
    let plan = RunPlan {
        keys: 2,
        entry_bytes: 200,
        overflow_bytes: 0,
    };
    let extent = room(&memory, plan.length(RunKind::Scripts));
    let mut writer = ScriptWriter::new(extent, &plan).unwrap();
    let zero = BalanceChange::default();
    writer
        .begin_group(&memory, ScriptKey([1; 20]), zero)
        .unwrap();
    let run = writer.finish(&memory).unwrap();
    assert_eq!((run.header().entries, run.header().leaves), (0, 0));
    let mut writer = ScriptWriter::new(extent, &plan).unwrap();
    let some = BalanceChange {
        satoshi: 1,
        coins: 0,
    };
    writer
        .begin_group(&memory, ScriptKey([1; 20]), some)
        .unwrap();
    assert!(matches!(
        writer.finish(&memory),
        Err(StoreError::Damaged { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damage_anywhere_is_an_error_or_other_entries(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<bool>(),
    ) {
        let memory = VectorMemory::default();
        let run = write_coins(&memory, &coins(300));
        damage(&memory, &run, &changes);
        if let Ok(run) = Run::open(&memory, run.extent(), RunKind::Coins) {
            let _ = read_coins(&memory, CoinCursor::start(&run)).is_ok();
            for number in 0..50 {
                let key = OutpointKey { txid: hash(number), vout: 1 };
                let _ = find_coin(&memory, &run, &key).is_ok();
            }
        }
        let memory = VectorMemory::default();
        let run = write_groups(&memory, &groups(60, 300));
        damage(&memory, &run, &changes);
        let extent = run.extent();
        let length = if cut { extent.length / 2 } else { extent.length };
        if let Ok(run) = Run::open(&memory, Extent { length, ..extent }, RunKind::Scripts) {
            let _ = read_groups(&memory, &run).is_ok();
            for number in 0..60 {
                let key = ScriptKey(*hash(number).first_chunk().unwrap());
                if let Ok(Some(mut group)) = find_group(&memory, &run, &key) {
                    let place = Place::new(Height::new(899_980), OutpointKey { txid: [0; 32], vout: 0 });
                    let _ = group.cursor.skip_to(&memory, &place).is_ok();
                }
            }
        }
    }
}

fn damage(memory: &VectorMemory, run: &Run, changes: &[(prop::sample::Index, u8)]) {
    for (at, byte) in changes {
        let at = at.index(run.extent().length as usize) as u64;
        memory.write(run.extent().start + at, &[*byte]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn look_ups_that_share_a_leaf_find_what_single_ones_do(
        outputs in prop::collection::vec((any::<u8>(), 1..300u32), 1..40),
        asked in prop::collection::vec((any::<prop::sample::Index>(), 0..320u32, any::<bool>()), 1..200),
        is_sorted in any::<bool>(),
    ) {
        // Few different first bytes: leaves share fences, and runs have more leaves than a window fences.
        let txid = |id: u8| {
            let mut txid = hash(u32::from(id % 16));
            txid[9] = id;
            txid
        };
        let entries = outputs.iter().flat_map(|(id, count)| {
            (0..*count).map(|vout| OutpointKey { txid: txid(*id), vout })
        });
        let coins: BTreeMap<_, _> = entries.map(|key| (key, CoinChange::Spend)).collect();
        let memory = VectorMemory::default();
        let run = write_coins(&memory, &coins);
        let mut keys: Vec<OutpointKey> = asked
            .iter()
            .map(|(index, vout, is_other)| {
                let (id, _) = index.get(&outputs);
                OutpointKey { txid: txid(id.wrapping_add(u8::from(*is_other))), vout: *vout }
            })
            .collect();
        if is_sorted {
            keys.sort();
        }
        let mut cache = LeafCache::default();
        for key in keys {
            let found = find_in_leaves(&memory, &run, &key, &mut cache).unwrap();
            prop_assert_eq!(found.as_ref(), coins.get(&key), "{:?}", key);
        }
    }
}
