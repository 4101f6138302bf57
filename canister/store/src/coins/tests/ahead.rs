//! Merges of blocks that are not stable yet: when they are made, used, swapped in and given up.

use super::*;
use crate::runs::change::ChangeRuns;
use crate::runs::manifest;

impl<M: ic_stable_structures::Memory + Clone> World<M> {
    /// Returns the highest connected block.
    pub(super) fn tip(&self) -> u32 {
        let connected = self
            .blocks
            .iter()
            .filter(|(_, block)| block.state == State::Connected);
        *connected.max_by_key(|(_, block)| block.height).unwrap().0
    }

    /// Adds blocks on top of one.
    fn extend(&mut self, mut tip: u32, blocks: u32) -> u32 {
        for index in 0..blocks as usize {
            tip = self.add(tip, &[(1, 3), (2, 4)], &[index * 5]);
            while self.connect(tip, 50) == Progress::More {}
        }
        tip
    }

    /// Returns heights and level of each merge made ahead that is complete.
    fn aheads(&self) -> Vec<(u32, u32, u8)> {
        let records = self.coins.manifest.records();
        let ahead = records.filter(|(_, record)| record.state == manifest::State::Ahead);
        let mut found: Vec<_> = ahead
            .map(|(_, record)| (record.first.get(), record.last.get(), record.level))
            .collect();
        found.sort_unstable();
        found
    }

    fn levels(&self) -> Vec<u8> {
        self.coins.index.stable().iter().map(|n| n.level).collect()
    }

    /// Returns how many changes a read at a tip looks at.
    pub(super) fn changes_at(&self, tip: u32) -> usize {
        let walk = self.coins.index.walk(&hash(tip)).unwrap();
        walk.changes().count()
    }

    fn verify(&self) {
        self.check();
        self.coins.audit().unwrap();
    }
}

#[test]
fn blocks_are_merged_ahead_when_enough_of_the_best_chain_is_on_top() {
    let mut world = World::new();
    world.grow(15, 15);
    world.settle();
    assert_eq!(
        world.aheads(),
        [],
        "the last block of the group is the best one"
    );
    world.grow(1, 16);
    world.settle();
    // Genesis is stable, so its group is merged when all of it is.
    assert_eq!(world.aheads(), [(8, 15, 1)]);
    assert_eq!(world.changes_at(world.tip()), 1 + 1 + 8);
    world.verify();
    // 64 blocks, and seven on top of them.
    world.grow(118, 134);
    world.settle();
    let eights = world.aheads().iter().filter(|found| found.2 == 1).count();
    assert_eq!((eights, world.aheads().len()), (15, 15));
    world.grow(1, 135);
    world.settle();
    assert!(world.aheads().contains(&(64, 127, 2)));
    // Blocks 128 to 135, the merge of 64, seven of 8, seven blocks and genesis.
    assert_eq!(world.changes_at(world.tip()), 8 + 1 + 7 + 7 + 1);
    world.verify();
    world.reopen();
    assert!(!world.coins.wants_compaction());
    world.verify();
}

#[test]
fn a_merge_made_ahead_takes_the_place_of_its_blocks_without_another_merge() {
    let mut world = World::new();
    world.grow(80, 80);
    world.settle();
    world.grow(0, 72);
    world.settle();
    // Genesis' group was merged when it was stable.
    assert_eq!(world.levels(), [1, 0]);
    let ahead = ahead_at(&world, 15);
    for kept in (65..72).rev() {
        world.grow(0, kept);
    }
    assert_eq!(world.levels(), [1, 1], "swapped in by the last block");
    assert_eq!(world.coins.index.stable()[1].runs, ahead);
    assert!(!world.coins.wants_compaction());
    world.verify();
    world.grow(63, 128);
    world.settle();
    let ahead = ahead_at(&world, 127);
    world.grow(0, 16);
    assert_eq!(world.levels(), [2, 2], "64 blocks");
    assert_eq!(world.coins.index.stable()[1].runs, ahead);
    world.verify();
    world.reopen();
    world.verify();
}

/// Returns the runs of the widest merge made ahead that ends at a height.
fn ahead_at(world: &World<Memory>, last: u32) -> ChangeRuns {
    let records = world.coins.manifest.records();
    let found = records
        .filter(|(_, it)| it.state == manifest::State::Ahead && it.last.get() == last)
        .max_by_key(|(_, record)| record.level);
    world.coins.index.find(found.unwrap().0).unwrap().runs
}

#[test]
fn a_merge_of_stable_blocks_and_one_made_ahead_keep_their_order() {
    let mut world = World::new();
    world.grow(40, 40);
    // The blocks of two groups are retired while nothing is merged.
    world.grow(0, 23);
    world.settle();
    assert_eq!(world.levels(), [1, 1, 0, 0]);
    assert_eq!(world.aheads(), [(24, 31, 1), (32, 39, 1)]);
    // All of them, as where merging is halted: none takes its place before older ones do.
    while world.blocks[&world.root].height < 40 {
        let child = child_of(&world, world.root, world.tip());
        world.make_root(child);
    }
    assert_eq!(world.levels()[2..], [0; 25]);
    world.check();
    world.settle();
    assert_eq!(world.levels(), [1, 1, 1, 1, 1, 0]);
    world.verify();
}

#[test]
fn forks_read_what_they_share_and_a_fork_that_loses_costs_nothing_further() {
    let mut world = World::new();
    world.grow(20, 20);
    let tip = world.tip();
    world.settle();
    assert_eq!(world.aheads(), [(8, 15, 1)]);
    // From within the group, longer, and not known as the best chain.
    let inside = (1..=12).fold(0, |block, _| child_of(&world, block, tip));
    let fork = world.extend(inside, 12);
    world.settle();
    assert_eq!(world.aheads(), [(8, 15, 1)]);
    assert_eq!(world.changes_at(fork), 25);
    world.verify();
    world.coins.follow(hash(fork));
    world.settle();
    assert_eq!(world.aheads(), [(8, 15, 1), (8, 15, 1), (16, 23, 1)]);
    assert_eq!(world.changes_at(fork), 1 + 1 + 1 + 8);
    world.verify();
    // The first branch is cut off: its merge goes.
    let first = (1..=12)
        .map(|_| ())
        .fold(0, |block, ()| child_of(&world, block, fork));
    for _ in 0..12 {
        let child = child_of(&world, world.root, fork);
        world.retire_block(child);
    }
    assert_eq!(world.root, first);
    let next = child_of(&world, first, fork);
    world.retire_block(next);
    assert_eq!(world.aheads(), [(8, 15, 1), (16, 23, 1)]);
    world.verify();
}

/// Returns the child of a block on the way to a tip.
fn child_of<M: ic_stable_structures::Memory + Clone>(
    world: &World<M>,
    block: u32,
    tip: u32,
) -> u32 {
    let mut walk = tip;
    while world.blocks[&walk].parent != Some(block) {
        walk = world.blocks[&walk].parent.unwrap();
    }
    walk
}

#[test]
fn a_merge_under_way_is_given_up_with_any_of_its_blocks_and_its_space_is_free() {
    let mut world = World::new();
    world.grow(16, 16);
    world.grow(0, 9);
    let before = world.coins.run_bytes();
    world.settle();
    world.verify();
    assert_eq!(world.aheads(), [(8, 15, 1)]);
    let tip = world.tip();
    let last = world.blocks[&tip].parent.unwrap();
    for number in [tip, last] {
        world.forget(number);
    }
    assert_eq!(world.aheads(), [], "complete");
    world.verify();
    let again = world.extend(world.tip(), 2);
    world.coins.follow(hash(again));
    world.coins.compact_step(3).unwrap();
    assert_eq!(world.coins.merges.len(), 1);
    world.verify();
    world.reopen();
    assert_eq!(world.coins.merges.len(), 1);
    world.verify();
    for number in [again, world.blocks[&again].parent.unwrap()] {
        world.forget(number);
    }
    assert_eq!(world.coins.merges.len(), 0, "under way");
    world.verify();
    assert!(world.coins.run_bytes().0 < before.0);
}

#[test]
fn a_merge_begun_ahead_goes_on_when_its_blocks_became_stable() {
    for retired in [4, 15, 16] {
        let mut world = World::new();
        world.grow(17, 17);
        world.coins.compact_step(5).unwrap();
        assert_eq!(world.coins.merges.len(), 1);
        world.grow(0, 17 - retired);
        world.reopen();
        world.coins.follow(hash(world.tip()));
        world.verify();
        world.settle();
        world.verify();
        let expected: &[u8] = match retired {
            4 => &[0; 5],
            15 => &[1, 1],
            _ => &[1, 1, 0],
        };
        assert_eq!(world.levels(), expected, "{retired} retired");
    }
}

#[test]
fn merging_goes_before_connecting_only_where_many_groups_wait() {
    let mut world = World::new();
    world.grow(39, 39);
    assert!(!world.coins.must_merge_ahead() && world.coins.wants_compaction());
    world.grow(1, 40);
    assert!(world.coins.must_merge_ahead());
    world.coins.compact_step(3).unwrap();
    assert!(!world.coins.must_merge_ahead(), "one is under way");
    world.settle();
    assert_eq!(world.aheads().len(), MAX_WAITING_GROUPS);
    world.verify();
}

#[test]
fn reads_are_the_same_with_merges_made_ahead_as_without() {
    let plain = {
        let mut world = World::new();
        world.grow(90, 85);
        world
    };
    let mut world = World::new();
    world.grow(90, 85);
    world.settle();
    assert!(world.aheads().len() > 8);
    for number in world.blocks.keys().filter(|number| **number >= 5) {
        let [one, other] = [&plain, &world].map(|world| world.coins.view(&hash(*number)).unwrap());
        for owner in 0..4 {
            let key = ScriptHash::of(&script(owner));
            assert_eq!(one.balance(&key), other.balance(&key));
            for limit in [2, 1_000] {
                let pages = [&one, &other]
                    .map(|view| paging::all_pages(view, &key, limit, MAX_SPENT_PASSED));
                assert_eq!(pages[0], pages[1]);
            }
        }
        for outpoint in world
            .blocks
            .values()
            .flat_map(|block| block.delta.puts.keys())
        {
            assert_eq!(one.coin(outpoint), other.coin(outpoint));
        }
        assert_eq!(one.utxo_count(), other.utxo_count());
    }
}

/// Starts a look-up of everything at the tip, pauses after `pause` units, does something, and goes on.
fn look_up_around(world: &mut World<Memory>, pause: usize, act: impl FnOnce(&mut World<Memory>)) {
    let tip = world.tip();
    let puts = world.blocks.values().flat_map(|b| b.delta.puts.keys());
    let known: Vec<OutPoint> = puts.copied().collect();
    let mut resolver = Resolver::new(hash(tip), known.into_iter());
    resolver.step(&world.coins, pause).unwrap();
    act(world);
    while resolver.step(&world.coins, pause).unwrap() == Progress::More {
        world.coins.compact_step(15).unwrap();
    }
    let expected: Vec<OutPoint> = world.blocks[&tip].after.keys().copied().collect();
    assert_eq!(resolver.found(), expected, "after {pause}");
}

#[test]
fn look_ups_go_on_where_changes_became_stable_and_were_merged_in_between() {
    let mut world = World::new();
    world.grow(40, 14);
    for pause in (1..400).step_by(9) {
        look_up_around(&mut world, pause, |world| {
            let left = 40 - world.blocks[&world.root].height;
            if left > 2 && pause % 2 == 0 {
                world.grow(0, (left - 1) as usize);
            }
            world.coins.compact_step(15).unwrap();
        });
    }
    assert!(world.levels().contains(&1));
}

#[test]
fn look_ups_go_on_where_the_change_they_stopped_in_was_merged_ahead_or_swapped_in() {
    for pause in (1..900).step_by(31) {
        let mut world = World::new();
        world.grow(33, 30);
        // In a block that a wider merge ends with from now on.
        look_up_around(&mut world, pause, World::settle);
        assert_eq!(world.aheads().len(), 3);
        // In a merge that becomes stable, first some of its blocks, then all.
        look_up_around(&mut world, pause, |world| world.grow(0, 20));
        look_up_around(&mut world, pause, |world| world.grow(0, 9));
        assert_eq!(world.levels(), [1, 1, 1, 0]);
        // In one that is merged with others meanwhile, and in single ones that are swapped out.
        look_up_around(&mut world, pause, |world| world.grow(0, 0));
        world.settle();
        world.verify();
    }
}

#[test]
fn look_ups_go_on_in_a_base_that_went_up_a_level() {
    let base = vec![(0, 5); 100];
    for pause in (1..700).step_by(41) {
        let mut world = World::with_base([Memory::default(), Memory::default()], &base);
        world.grow(9, 1);
        look_up_around(&mut world, pause, |world| {
            world.coins.compact_step(1).unwrap();
            assert_eq!(world.levels()[..2], [1, 0]);
        });
        world.settle();
        world.verify();
    }
}

#[test]
fn merges_kept_waiting_by_a_full_level_are_swapped_in_and_not_made_again_once_it_has_room() {
    let base = vec![(0, 5); 300];
    let mut world = World::with_base([Memory::default(), Memory::default()], &base);
    world.grow(160, 160);
    world.settle();
    // Merging stands still, as where an input is damaged, while nearly all becomes stable.
    world.coins.merging = compact::Merging::Broken;
    world.grow(0, 8);
    let waiting = world.aheads().len();
    assert!(waiting > MAX_LEVEL_CHANGES, "{waiting}");
    world.reopen();
    world.coins.follow(hash(world.tip()));
    world.check();
    let mut steps = 0;
    while world.coins.wants_compaction() {
        world.coins.compact_step(1_000).unwrap();
        let mut ends: Vec<_> = world.aheads().iter().map(|it| (it.1, it.2)).collect();
        ends.dedup();
        assert_eq!(ends.len(), world.aheads().len(), "one merged twice");
        world.reopen();
        world.coins.follow(hash(world.tip()));
        world.check();
        steps += 1;
        assert!(steps < 500);
    }
    world.verify();
}

#[test]
fn a_merge_made_ahead_of_blocks_that_are_not_there_is_forgotten_when_the_store_opens() {
    let mut world = World::new();
    world.grow(17, 17);
    world.settle();
    let records = world.coins.manifest.records();
    let ahead = records.filter(|(_, it)| it.state == manifest::State::Ahead);
    let record = *ahead.last().unwrap().1;
    let stray = manifest::ChangeRecord {
        block: hash(9_999),
        coins: world.coins.take((100, 0)).unwrap().0,
        scripts: Extent::default(),
        ..record
    };
    let taken = world.coins.run_bytes().0;
    let id = world.coins.manifest.new_id();
    world.coins.manifest.set(id, stray);
    world.reopen();
    assert_eq!(world.aheads(), [(8, 15, 1)]);
    assert!(world.coins.run_bytes().0 < taken);
    world.verify();
}
