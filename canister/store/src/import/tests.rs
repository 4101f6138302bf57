use std::cell::Cell;
use std::rc::Rc;

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{CompactTarget, OutPoint, ScriptBuf, TxMerkleNode, Txid};
use ic_stable_structures::VectorMemory;
use millrace_core::commitment::Commitment;
use millrace_core::script::ScriptHash;
use millrace_core::snapshot::{SerializedDigest, write_coin, write_group, write_group_head};

use super::*;
use crate::limited::Limited;

/// Numbers that look random, from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }

    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from)
    }

    /// Says yes once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.below(256) as u8)
    }
}

const NETWORK: Network = Network::Regtest;
const NOW: UnixSeconds = UnixSeconds::new(2_000_000_000);
const BASE: u32 = 40;

fn headers() -> Vec<Header> {
    let mut parent = NETWORK.genesis_block().header;
    let mut all = Vec::new();
    for height in 1..=BASE + 3 {
        let mut header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: parent.block_hash(),
            merkle_root: TxMerkleNode::from_byte_array([height as u8; 32]),
            time: parent.time + 600,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        };
        while !header.target().is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        all.push(header);
        parent = header;
    }
    all
}

/// A set with transactions of many outputs, scripts of all forms and lengths, and scripts of many coins.
fn coins(seed: u64, transactions: usize) -> Vec<Vec<SnapshotCoin>> {
    let mut rng = Random(seed);
    let twenty = "11".repeat(20);
    let mut scripts: Vec<ScriptBuf> = [
        format!("76a914{twenty}88ac"),
        format!("a914{twenty}87"),
        format!("0014{twenty}"),
        "51".to_owned(),
        String::new(),
        "51".repeat(500),
        "52".repeat(10_000),
    ]
    .iter()
    .map(|script| ScriptBuf::from_hex(script).unwrap())
    .collect();
    for _ in 0..40 {
        scripts.push(ScriptBuf::from_hex(&format!("5120{}", hex(&rng.bytes()))).unwrap());
    }
    let mut txids: Vec<[u8; 32]> = (0..transactions).map(|_| rng.bytes()).collect();
    txids.sort_unstable();
    let group = |txid: &[u8; 32]| {
        let count = rng.between(1, 20);
        let mut vouts: Vec<u32> = (0..count).map(|_| rng.below(40_000) as u32).collect();
        vouts.sort_unstable();
        vouts.dedup();
        let (height, coinbase) = (rng.between(1, BASE as usize) as u32, rng.once_in(5));
        let coin = |vout: u32| SnapshotCoin {
            outpoint: OutPoint {
                txid: Txid::from_byte_array(*txid),
                vout,
            },
            height: Height::new(height),
            coinbase,
            satoshi: rng.below(2_000_000_000) as u64 * rng.below(1_000_000) as u64,
            script: scripts[rng.below(scripts.len())].clone(),
        };
        vouts.into_iter().map(coin).collect()
    };
    txids.iter().map(group).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct File {
    metadata: Metadata,
    bytes: Vec<u8>,
    digest: [u8; 32],
    coins: Vec<SnapshotCoin>,
}

fn file(groups: &[Vec<SnapshotCoin>]) -> File {
    let coins = groups.concat();
    let metadata = Metadata {
        network: NETWORK,
        base: headers()[BASE as usize - 1].block_hash(),
        coins: coins.len() as u64,
    };
    let mut bytes = metadata.encode().to_vec();
    for group in groups {
        write_group(&mut bytes, group);
    }
    let mut hash = SerializedHash::default();
    for coin in &coins {
        coin.counted(|coin| hash.put(coin));
    }
    File {
        metadata,
        bytes,
        digest: hash.finish().0,
        coins,
    }
}

fn commitment_to(coins: &[SnapshotCoin]) -> Commitment {
    let mut committer = Committer::new(Commitment::default());
    for coin in coins {
        coin.counted(|coin| committer.put(coin));
    }
    committer.finish()
}

fn all_coins<M: Memory>(store: &Store<M>) -> Vec<SnapshotCoin> {
    let page = store.coins.stable_page(&OutpointKey::FIRST, usize::MAX);
    let coins = page.unwrap().coins.into_iter();
    coins
        .map(|(outpoint, coin)| SnapshotCoin {
            outpoint: OutPoint::from(&outpoint),
            height: coin.height,
            coinbase: coin.coinbase,
            satoshi: coin.value.to_sat(),
            script: coin.script.script().unwrap(),
        })
        .filter(|coin| coin.height > Height::ZERO)
        .collect()
}

/// Takes the whole file in, in pieces and steps of random length, and opens the store anew now and then.
fn taken_in<M: Memory + Clone>(
    memory: &M,
    mut store: Store<M>,
    file: &File,
    seed: u64,
) -> Store<M> {
    let mut rng = Random(seed);
    store.coins.set_import_fan_in(4);
    let headers = headers();
    loop {
        if rng.once_in(7) {
            drop(store);
            store = Store::open(memory.clone()).unwrap();
            store.coins.set_import_fan_in(4);
        }
        if rng.once_in(10) {
            store.audit().unwrap();
        }
        let Some(at) = store.imports.get().cloned() else {
            store
                .begin_import(&file.metadata, file.digest, true)
                .unwrap();
            continue;
        };
        match at.phase {
            Phase::Headers => {
                let next = at.header.height().get() as usize;
                let count = rng.between(1, 20).min(headers.len() - next);
                let first = Height::new(next as u32 + 1);
                store
                    .import_headers(first, &headers[next..next + count], None, NOW)
                    .unwrap();
            }
            Phase::Coins => {
                let rest = &file.bytes[at.offset as usize..];
                let count = rng.between(10_100, 30_000).min(rest.len());
                let taken = store.import_coins(at.offset, &rest[..count]);
                let is_behind = taken == Err(ImportError::Behind);
                assert!(is_behind || taken.is_ok(), "{taken:?}");
                if is_behind || rng.once_in(2) {
                    store.import_step(rng.between(1, 500)).unwrap();
                }
            }
            Phase::Merging => {
                store.import_step(rng.between(1, 2_000)).unwrap();
            }
            Phase::Complete => return store,
            Phase::Refused => panic!("{}", at.reason),
        }
    }
}

#[test]
fn a_snapshot_becomes_the_stable_set_whatever_interrupts_it() {
    for seed in 0..6 {
        let file = file(&coins(seed, 200));
        let memory = VectorMemory::default();
        let store = Store::create(memory.clone(), NETWORK).unwrap();
        let mut store = taken_in(&memory, store, &file, seed);
        store.audit().unwrap();
        assert_eq!(all_coins(&store), file.coins);
        assert_eq!(store.coins.stable_count(), file.metadata.coins + 1);
        assert_eq!(store.tree.root_hash(), file.metadata.base);
        assert_eq!(store.headers.len(), u64::from(BASE) + 1);
        let kept = store.commitments.of_height(Height::new(BASE)).unwrap();
        assert_eq!(kept.commitment, commitment_to(&file.coins));
        let view = store.view(&file.metadata.base).unwrap();
        let script = file.coins[0].script.clone();
        let expected = file.coins.iter().filter(|coin| coin.script == script);
        let balance = view.balance(&ScriptHash::of(&script)).unwrap();
        assert_eq!(balance.coins, expected.clone().count() as i64);
        let expected: i128 = expected.map(|coin| i128::from(coin.satoshi)).sum();
        assert_eq!(balance.satoshi, expected);
        // The chain goes on from there.
        let next = headers()[BASE as usize];
        store.tree.insert_header(&next, NOW).unwrap();
        store.flush();
        let begun = store.begin_import(&file.metadata, file.digest, true);
        assert_eq!(begun, Err(ImportError::NotEmpty));
        drop(store);
        Store::open(memory).unwrap().audit().unwrap();
    }
}

/// Takes all headers in.
fn with_headers<M: Memory>(memory: M, file: &File, keeps_commitment: bool) -> Store<M> {
    let mut store = Store::create(memory, NETWORK).unwrap();
    store
        .begin_import(&file.metadata, file.digest, keeps_commitment)
        .unwrap();
    store
        .import_headers(Height::new(1), &headers(), None, NOW)
        .unwrap();
    store
}

/// Takes headers and coins up to a position in, one piece each.
fn begun(file: &File, bytes: &[u8]) -> Result<Store<VectorMemory>, ImportError> {
    let mut store = with_headers(VectorMemory::default(), file, false);
    store.import_coins(METADATA_BYTES as u64, bytes)?;
    Ok(store)
}

/// Takes one more coin in.
fn import_next_coin<M: Memory>(store: &mut Store<M>, file: &File) -> Result<(), ImportError> {
    let import = store.imports.get().unwrap();
    let (offset, position) = (import.offset, import.position);
    let rest = &file.bytes[offset as usize..];
    let mut reader = CoinReader::new(rest, position);
    reader.next_coin().unwrap();
    store.import_coins(offset, &rest[..reader.consumed()])
}

#[test]
fn what_is_no_coin_of_the_set_is_refused_and_nothing_changes() {
    let groups = coins(9, 30);
    let good = file(&groups);
    let body = &good.bytes[METADATA_BYTES..];
    let refused = |bytes: &[u8]| match begun(&good, bytes) {
        Err(ImportError::MalformedCoins { offset, reason }) => (offset, reason),
        other => panic!("{:?}", other.map(|_| ())),
    };
    let mut swapped = groups.clone();
    swapped.swap(3, 4);
    let (_, reason) = refused(&file(&swapped).bytes[METADATA_BYTES..]);
    assert!(reason.contains("does not come after"), "{reason}");
    let mut twice = groups.clone();
    twice[5][0].outpoint = twice[4].last().unwrap().outpoint;
    twice[5].truncate(1);
    let (_, reason) = refused(&file(&twice).bytes[METADATA_BYTES..]);
    assert!(reason.contains("does not come after"), "{reason}");
    let mut late = groups.clone();
    late[7][0].height = Height::new(BASE + 1);
    let (_, reason) = refused(&file(&late).bytes[METADATA_BYTES..]);
    assert!(reason.contains("height"), "{reason}");
    let mut genesis = groups.clone();
    (genesis[7][0].height, genesis[7][0].coinbase) = (Height::ZERO, true);
    let (_, reason) = refused(&file(&genesis).bytes[METADATA_BYTES..]);
    assert!(reason.contains("no such coin"), "{reason}");
    let mut longer = body.to_vec();
    longer.push(0);
    let (offset, reason) = refused(&longer);
    assert_eq!(offset, good.bytes.len() as u64);
    assert!(reason.contains("more than"), "{reason}");
    // A group that says that it has one more coin than it has.
    let mut groups = groups;
    let last = groups.pop().unwrap();
    let mut more = file(&groups).bytes[METADATA_BYTES..].to_vec();
    write_group_head(&mut more, &last[0].outpoint.txid, last.len() as u64 + 1);
    last.iter().for_each(|coin| write_coin(&mut more, coin));
    let (_, reason) = refused(&more);
    assert!(reason.contains("more than"), "{reason}");
}

#[test]
fn every_changed_byte_of_a_file_is_noticed() {
    let good = file(&coins(4, 6));
    let mut rng = Random(1);
    for _ in 0..300 {
        let mut bytes = good.bytes[METADATA_BYTES..].to_vec();
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        match begun(&good, &bytes) {
            Err(ImportError::MalformedCoins { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(store) => {
                let import = store.imports.get().unwrap();
                // A longer script swallows what comes, and the last coin never does.
                let is_cut_off = import.phase == Phase::Coins && import.taken < import.coins;
                assert!(is_cut_off || import.phase == Phase::Refused, "byte {at}");
            }
        }
    }
}

#[test]
fn a_set_with_another_hash_is_refused_and_can_be_discarded() {
    let mut good = file(&coins(5, 20));
    let right = good.digest;
    good.digest[0] ^= 1;
    let mut store = begun(&good, &good.bytes[METADATA_BYTES..]).unwrap();
    let import = store.imports.get().unwrap();
    assert_eq!(import.phase, Phase::Refused);
    let found = SerializedDigest(right).to_string();
    assert!(import.reason.contains(&found), "{}", import.reason);
    assert_eq!(store.coins.imported_len(), 0);
    store.audit().unwrap();
    assert!(store.view(&store.tree.root_hash()).is_some());
    let again = store.begin_import(&good.metadata, right, false);
    let base = good.metadata.base;
    assert_eq!(again, Err(ImportError::UnderWay { base }));
    store.discard_import().unwrap();
    assert_eq!(store.headers.len(), 1);
    assert_eq!(store.discard_import(), Err(ImportError::NotWanted));
    store.audit().unwrap();
    good.digest = right;
    let memory = VectorMemory::default();
    drop(store);
    let fresh = Store::create(memory.clone(), NETWORK).unwrap();
    taken_in(&memory, fresh, &good, 3).audit().unwrap();
}

#[test]
fn headers_and_coins_out_of_turn_say_what_is_wanted() {
    let good = file(&coins(6, 5));
    let headers = headers();
    let mut store = Store::create(VectorMemory::default(), NETWORK).unwrap();
    let first = Height::new(1);
    let early = store.import_headers(first, &headers, None, NOW);
    assert_eq!(early, Err(ImportError::NotWanted));
    store
        .begin_import(&good.metadata, good.digest, false)
        .unwrap();
    store
        .begin_import(&good.metadata, good.digest, false)
        .unwrap();
    let early = store.import_coins(51, &good.bytes[51..]);
    assert_eq!(early, Err(ImportError::NotWanted));
    let gap = store.import_headers(Height::new(2), &headers[1..], None, NOW);
    let (expected, given) = (first, Height::new(2));
    assert_eq!(gap, Err(ImportError::UnexpectedHeight { expected, given }));
    let mut bad = headers[..10].to_vec();
    bad[6].time = 0;
    let refused = store.import_headers(first, &bad, None, NOW);
    let height = Height::new(7);
    assert!(
        matches!(refused, Err(ImportError::InvalidHeader { height: at, .. }) if at == height),
        "{refused:?}"
    );
    assert_eq!(store.imports.get().unwrap().header.height(), Height::new(6));
    let work = HeaderContext::genesis(NETWORK).chain_work();
    let most = millrace_core::header::ChainWork::from_be_bytes([0xff; 32]);
    let weak = store.import_headers(height, &headers[6..], Some(most), NOW);
    assert_eq!(weak, Err(ImportError::TooLittleWork));
    let next = store.imports.get().unwrap().header.height().next();
    store
        .import_headers(next, &headers[next.get() as usize - 1..], Some(work), NOW)
        .unwrap();
    let wrong = store.import_coins(60, &good.bytes[60..]);
    let (expected, given) = (51, 60);
    assert_eq!(
        wrong,
        Err(ImportError::UnexpectedOffset { expected, given })
    );
    let short = store.import_coins(51, &good.bytes[51..70]);
    assert_eq!(short, Err(ImportError::NoWholeCoin));
    assert_eq!(store.free(), (0, millrace_core::Bytes::ZERO));
    store.audit().unwrap();
}

#[test]
fn memory_that_cannot_grow_only_costs_time() {
    let file = file(&coins(8, 300));
    let memory = Limited {
        inner: VectorMemory::default(),
        limit: Rc::new(Cell::new(u64::MAX)),
    };
    let mut store = with_headers(memory.clone(), &file, true);
    store.coins.set_import_fan_in(3);
    let mut refusals = 0;
    for round in 0.. {
        assert!(round < 10_000, "it never ends");
        // No growth in three rounds of four.
        let is_full = round % 4 > 0;
        memory
            .limit
            .set(if is_full { memory.size() } else { u64::MAX });
        let import = store.imports.get().unwrap().clone();
        let done = match import.phase {
            Phase::Coins => {
                let rest = &file.bytes[import.offset as usize..];
                store.import_coins(import.offset, &rest[..rest.len().min(20_000)])
            }
            Phase::Merging => store.import_step(500).map(drop).map_err(ImportError::from),
            Phase::Complete => break,
            other => panic!("{other:?}"),
        };
        match done {
            Ok(()) => {}
            Err(ImportError::Store(StoreError::OutOfMemory { .. })) => refusals += 1,
            Err(ImportError::Behind) => drop(store.import_step(500)),
            Err(other) => panic!("{other}"),
        }
        store.audit().unwrap();
    }
    assert!(refusals > 3, "{refusals}");
    assert_eq!(all_coins(&store), file.coins);
}

#[test]
fn more_pieces_than_are_merged_at_once_are_taken_in() {
    let file = file(&coins(2, 160));
    let mut store = with_headers(VectorMemory::default(), &file, false);
    // One piece for each coin, until merges are behind, and never a merge but then.
    let mut most = 0;
    while store.imports.get().unwrap().phase == Phase::Coins {
        match import_next_coin(&mut store, &file) {
            Ok(()) => most = most.max(store.coins.imported_len()),
            Err(ImportError::Behind) => {
                while store.wants_import_step() {
                    store.import_step(usize::MAX).unwrap();
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(most, 2 * crate::coins::IMPORT_FAN_IN);
    while store.wants_import_step() {
        store.import_step(10_000).unwrap();
    }
    store.audit().unwrap();
    assert_eq!(all_coins(&store), file.coins);
}

#[test]
fn pieces_that_fill_no_level_are_merged_before_none_are_taken_any_more() {
    let file = file(&coins(3, 200));
    let mut store = with_headers(VectorMemory::default(), &file, false);
    store.coins.set_import_fan_in(3);
    let mut refused = 0;
    while store.imports.get().unwrap().phase == Phase::Coins {
        match import_next_coin(&mut store, &file) {
            Ok(()) => {}
            Err(ImportError::Behind) => {
                refused += 1;
                assert!(store.wants_import_step(), "nothing would ever change");
            }
            Err(other) => panic!("{other}"),
        }
        // As many as heartbeats get done.
        for _ in 0..3 {
            store.import_step(usize::MAX).unwrap();
        }
        assert!(refused < 10_000, "it never ends");
    }
    while store.wants_import_step() {
        store.import_step(10_000).unwrap();
    }
    assert_eq!(all_coins(&store), file.coins);
}
