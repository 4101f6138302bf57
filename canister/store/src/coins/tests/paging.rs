//! Pages of a script's coins: the same list whatever a page's size, at a cost that does not grow
//! with the list.

use std::rc::Rc;

use millrace_core::page::position;

use super::*;
use crate::counting::CountingMemory;

/// Reads a script's list in pages.
pub(super) fn all_pages<M: ic_stable_structures::Memory>(
    view: &View<'_, M>,
    key: &ScriptHash,
    limit: usize,
    passes: usize,
) -> Vec<ListedCoin> {
    let mut found = Vec::new();
    let mut from = None;
    loop {
        let page = view.coins_passing(key, from, limit, passes).unwrap();
        assert!(page.coins.len() <= limit);
        found.extend(page.coins);
        match page.next {
            Some(next) => {
                assert_ne!(from, Some(next), "a page goes on where it began");
                from = Some(next);
            }
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_of_any_size_from_any_place_equal_the_model(
        operations in prop::collection::vec(operation(), 20..60),
        limit in 1..6usize,
        passes in 1..4usize,
        start in (0..12u32, any::<u32>(), 0..8u32),
    ) {
        let mut world = World::new();
        for operation in operations {
            world.run(operation);
        }
        let (height, name, vout) = start;
        let txid = txid(name % 40);
        let from = (Height::new(height), OutPoint { txid, vout });
        for (number, block) in &world.blocks {
            if block.state != State::Connected {
                continue;
            }
            let view = world.coins.view(&hash(*number)).unwrap();
            for owner in 0..4 {
                let key = ScriptHash::of(&script(owner));
                let mut expected: Vec<(Height, OutPoint)> = block
                    .after
                    .iter()
                    .filter(|(_, coin)| coin.script == script(owner))
                    .map(|(outpoint, coin)| (coin.height, *outpoint))
                    .collect();
                expected.sort_by_key(|(height, outpoint)| position(*height, outpoint));
                let places = |coins: &[ListedCoin]| -> Vec<_> {
                    coins.iter().map(|coin| (coin.height, coin.outpoint)).collect()
                };
                let found = all_pages(&view, &key, limit, passes);
                prop_assert_eq!(places(&found), expected.clone(), "{} at {}", owner, number);
                expected.retain(|(height, outpoint)| {
                    position(*height, outpoint) >= position(from.0, &from.1)
                });
                let page = view.coins_of(&key, Some(from), limit).unwrap();
                let rest = expected.split_off(limit.min(expected.len()));
                prop_assert_eq!(places(&page.coins), expected);
                prop_assert_eq!(page.next, rest.first().copied());
            }
        }
    }
}

type Counted = Rc<CountingMemory<VectorMemory>>;

/// A block that makes `count` coins of one script, and its child that spends those of them that
/// `is_spent` names.
struct Busy {
    coins: Coins<Counted>,
    regions: [Counted; 2],
}

impl Busy {
    fn new(count: u32, is_spent: impl Fn(u32) -> bool) -> Self {
        let region = || Rc::new(CountingMemory::new(VectorMemory::default()));
        let regions: [Counted; 2] = [region(), region()];
        let mut coins = open_in(&regions);
        let (genesis, _) = change(0, 0, &Set::new(), &[], &[]);
        let (genesis, bytes) = genesis.change();
        coins.seed(BlockHash::all_zeros(), genesis, &bytes).unwrap();
        let coin = |vout: u32| {
            let txid = Txid::from_byte_array([7; 32]);
            let coin = Coin {
                value: Amount::from_sat(1),
                script: script(1),
                height: Height::new(1),
                coinbase: false,
            };
            (OutPoint { txid, vout }, KeyedCoin::from(coin))
        };
        let change = |number, puts, spends| BlockDelta {
            block: hash(number),
            height: Height::new(number),
            puts,
            spends,
        };
        let puts = (0..count).map(coin).collect();
        let spends = (0..count).filter(|vout| is_spent(*vout)).map(coin);
        let spends = spends.collect();
        for (parent, delta) in [
            (0, change(1, puts, BTreeMap::new())),
            (1, change(2, BTreeMap::new(), spends)),
        ] {
            let block = delta.block;
            let (change, bytes) = delta.change();
            coins.begin_connect(hash(parent), change).unwrap();
            let progress = coins.connect_step(&block, bytes.as_slice(), usize::MAX);
            assert_eq!(progress, Ok(Progress::Done));
        }
        Self { coins, regions }
    }

    /// Returns distinct pages of memory that `read` reads.
    fn pages_read(&self, read: impl FnOnce(&View<'_, Counted>)) -> u64 {
        for region in &self.regions {
            region.reset();
        }
        read(&self.coins.view(&hash(2)).unwrap());
        let pages = self.regions.iter().map(|region| region.pages_read().get());
        pages.sum()
    }
}

/// What one more level of a tree may cost each look-up: a tree of sixteen times as many entries is
/// at most four levels higher.
const LEVELS: u64 = 4;

#[test]
fn what_a_page_reads_does_not_grow_with_the_scripts_unstable_changes() {
    let key = ScriptHash::of(&script(1));
    let from = |vout| {
        let txid = Txid::from_byte_array([7; 32]);
        Some((Height::new(1), OutPoint { txid, vout }))
    };
    let reads = |count: u32| {
        let busy = Busy::new(count, |vout| vout % 3 == 0);
        let first = busy.pages_read(|view| {
            assert_eq!(view.coins_of(&key, None, 8).unwrap().coins.len(), 8);
        });
        let middle = busy.pages_read(|view| {
            let page = view.coins_of(&key, from(count / 2), 8).unwrap();
            assert_eq!(page.coins.len(), 8);
        });
        let balance = busy.pages_read(|view| {
            let left = count - count.div_ceil(3);
            assert_eq!(view.balance(&key).unwrap().coins, i64::from(left));
        });
        [first, middle, balance]
    };
    let (few, many) = (reads(500), reads(8_000));
    // Eight coins and the four passed over make thirteen look-ups at most, two runs three more.
    for (few, many) in few.into_iter().zip(many) {
        assert!(many <= few + 16 * LEVELS, "{many} pages, {few} of few");
        assert!(many < 80, "{many} pages");
    }
}

#[test]
fn a_page_of_spent_coins_ends_within_its_bound_and_goes_on() {
    let key = ScriptHash::of(&script(1));
    let busy = Busy::new(8_000, |vout| vout < 7_990);
    let reads = busy.pages_read(|view| {
        let page = view.coins_passing(&key, None, 8, 10).unwrap();
        assert_eq!(page.coins, []);
        let (height, next) = page.next.unwrap();
        assert_eq!((height.get(), next.vout), (1, 10));
    });
    assert!(reads < 80, "{reads} pages");
    busy.pages_read(|view| {
        let found = all_pages(view, &key, 8, 1_000);
        let found: Vec<u32> = found.iter().map(|coin| coin.outpoint.vout).collect();
        assert_eq!(found, (7_990..8_000).collect::<Vec<_>>());
    });
}
