//! A memory that cannot grow: merging waits, and goes on when there is room again.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::limited::Limited;

/// A world whose memory can grow as far as the cell says.
fn limited() -> (World<Limited>, Rc<Cell<u64>>) {
    let limit = Rc::new(Cell::new(u64::MAX));
    let memory = || Limited {
        inner: VectorMemory::default(),
        limit: Rc::clone(&limit),
    };
    (World::on([memory(), memory()]), limit)
}

/// Lets memory grow no further, and takes what is left of it.
fn fill(world: &mut World<Limited>, limit: &Cell<u64>) {
    limit.set(ic_stable_structures::Memory::size(&world.memories[0]));
    let full = loop {
        let number = world.add(world.root, &[(1, 1)], &[]);
        let (change, _) = world.blocks[&number].delta.change();
        if let Err(error) = world.coins.begin_connect(hash(world.root), change) {
            world.forget(number);
            break error;
        }
        world.writing = Some(number);
        world.connect(number, 100);
    };
    assert!(matches!(full, StoreError::OutOfMemory { .. }), "{full}");
}

#[test]
fn merging_waits_for_space_and_everything_else_goes_on() {
    let (mut world, limit) = limited();
    world.grow(8, 1);
    fill(&mut world, &limit);
    let error = world.coins.compact_step(1).unwrap_err();
    assert!(matches!(error, StoreError::OutOfMemory { .. }), "{error}");
    assert!(!world.coins.wants_compaction() && !world.coins.must_compact());
    world.check();
    world.coins.audit().unwrap();
    limit.set(u64::MAX);
    let number = world.add(world.root, &[(2, 2)], &[]);
    world.connect(number, 100);
    while world.coins.compact_step(10).unwrap() == Progress::More {}
    assert_eq!(world.coins.stable_len(), 1);
    world.check();
    world.coins.audit().unwrap();
}

#[test]
fn merging_ahead_waits_for_space_and_reads_take_single_blocks() {
    let (mut world, limit) = limited();
    world.grow(16, 16);
    let tip = world.tip();
    fill(&mut world, &limit);
    let error = world.coins.compact_step(1).unwrap_err();
    assert!(matches!(error, StoreError::OutOfMemory { .. }), "{error}");
    assert!(!world.coins.wants_compaction() && !world.coins.must_merge_ahead());
    assert_eq!(world.changes_at(tip), 17);
    world.check();
    world.coins.audit().unwrap();
    limit.set(u64::MAX);
    let number = world.add(world.root, &[(2, 2)], &[]);
    world.connect(number, 100);
    world.settle();
    assert_eq!(world.changes_at(tip), 10);
    world.check();
    world.coins.audit().unwrap();
}

#[test]
fn levels_have_more_than_their_bound_only_until_there_is_space() {
    let (mut world, limit) = limited();
    world.grow(30, 30);
    fill(&mut world, &limit);
    world.coins.compact_step(1).unwrap_err();
    // They become stable, and give back what they took besides.
    world.grow(0, 6);
    assert!(world.coins.fullest_level() > MAX_LEVEL_CHANGES);
    world.check();
    world.coins.audit().unwrap();
    limit.set(u64::MAX);
    let tip = world.tip();
    let number = world.add(tip, &[(2, 2)], &[]);
    world.connect(number, 100);
    assert!(world.coins.must_compact());
    world.settle();
    assert!(world.coins.fullest_level() < MAX_LEVEL_CHANGES);
    world.check();
    world.coins.audit().unwrap();
}

#[test]
fn a_block_that_finds_no_space_takes_that_of_merges_made_ahead() {
    let (mut world, limit) = limited();
    world.grow(90, 90);
    world.settle();
    // One more is under way when there is no more space.
    world.grow(8, 98);
    world.coins.compact_step(5).unwrap();
    assert_eq!(world.coins.merges.len(), 1);
    let tip = world.tip();
    let merged = world.changes_at(tip);
    fill(&mut world, &limit);
    assert_eq!(world.coins.merges.len(), 0, "it made room");
    assert_eq!(world.changes_at(tip), 99, "so did all that were complete");
    world.check();
    world.coins.audit().unwrap();
    world.reopen();
    world.check();
    limit.set(u64::MAX);
    world.coins.follow(hash(tip));
    world.settle();
    assert!(world.changes_at(tip) <= merged);
    world.check();
    world.coins.audit().unwrap();
}
