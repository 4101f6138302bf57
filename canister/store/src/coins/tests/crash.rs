//! A trap at any write: the message that wrote is undone, as the Internet Computer does it, the heap
//! is lost, and everything is done again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::*;

/// A memory that traps at a write.
#[derive(Clone)]
struct Trapping {
    inner: VectorMemory,
    /// Writes to any memory that are left until one traps.
    left: Rc<Cell<u64>>,
}

impl ic_stable_structures::Memory for Trapping {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.inner.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.inner.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        let Some(left) = self.left.get().checked_sub(1) else {
            resume_unwind(Box::new("a trap"));
        };
        self.left.set(left);
        self.inner.write(offset, src);
    }
}

/// What is done, one message each, in a world of two branches.
fn messages() -> Vec<fn(&mut World<Trapping>)> {
    let mut messages: Vec<fn(&mut World<Trapping>)> = Vec::new();
    for _ in 0..11 {
        messages.push(|world| world.grow(1, 3));
        messages.push(|world| {
            world.coins.compact_step(8).unwrap();
        });
    }
    messages.push(|world| {
        let fork = world.add(world.root, &[(1, 9), (2, 9)], &[0, 1]);
        world.connect(fork, 100);
    });
    messages.push(|world| world.grow(9, 9));
    // Merges ahead of the blocks that stay unstable; then they are given up, or swapped in.
    for _ in 0..40 {
        messages.push(|world| {
            world.coins.compact_step(9).unwrap();
        });
    }
    messages.push(|world| world.grow(1, 8));
    messages.push(|world| world.grow(1, 2));
    messages.push(|world| world.grow(9, 12));
    messages.push(|world| {
        world.coins.compact_step(9).unwrap();
    });
    messages.push(|world| {
        let tip = world.tip();
        world.forget(tip);
    });
    messages.push(World::settle);
    messages
}

/// Runs all messages, with a trap at the `trap_at`-th write. Returns whether it came to that.
fn run(trap_at: u64) -> bool {
    let left = Rc::new(Cell::new(u64::MAX));
    let memory = || Trapping {
        inner: VectorMemory::default(),
        left: Rc::clone(&left),
    };
    let mut world = World::on([memory(), memory()]);
    left.set(trap_at);
    let mut has_trapped = false;
    for message in messages() {
        let before = world
            .memories
            .clone()
            .map(|memory| memory.inner.borrow().clone());
        let model = (world.blocks.clone(), world.root, world.next);
        if catch_unwind(AssertUnwindSafe(|| message(&mut world))).is_ok() {
            continue;
        }
        has_trapped = true;
        left.set(u64::MAX);
        for (memory, before) in world.memories.iter().zip(before) {
            *memory.inner.borrow_mut() = before;
        }
        (world.blocks, world.root, world.next) = model;
        world.reopen();
        world.coins.audit().unwrap();
        world.check();
        message(&mut world);
    }
    world.coins.audit().unwrap();
    world.check();
    has_trapped
}

#[test]
fn a_trap_at_any_write_loses_nothing() {
    let mut trap_at = 0;
    while run(trap_at) {
        trap_at += 17;
    }
    assert!(trap_at > 300, "only {trap_at} writes");
}
