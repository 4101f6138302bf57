//! Committed pages under random messages, forks and drops, against plain vectors.

use proptest::prelude::*;

use crate::memory::mapping::Reservation;
use crate::memory::pages::{PAGE, Pages};

/// Pages of each memory; small, so that random operations meet.
const PAGES: usize = 12;

#[derive(Clone, Debug)]
enum Operation {
    /// A message writes a byte into some pages and commits them.
    Commit {
        memory: usize,
        pages: Vec<usize>,
        value: u8,
    },
    /// A message writes and is dropped: a trap.
    Abandon {
        memory: usize,
        page: usize,
    },
    /// Bytes are written from outside.
    Write {
        memory: usize,
        offset: usize,
        len: usize,
        value: u8,
    },
    Fork {
        memory: usize,
    },
    Drop {
        memory: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let memory = 0..4_usize;
    prop_oneof![
        4 => (memory.clone(), prop::collection::btree_set(0..PAGES, 1..5), any::<u8>()).prop_map(
            |(memory, pages, value)| Operation::Commit {
                memory,
                pages: pages.into_iter().collect(),
                value
            }
        ),
        1 => (memory.clone(), 0..PAGES).prop_map(|(memory, page)| Operation::Abandon { memory, page }),
        2 => (memory.clone(), 0..PAGES * PAGE - 9_000, 0..9_000_usize, any::<u8>()).prop_map(
            |(memory, offset, len, value)| Operation::Write { memory, offset, len, value }
        ),
        2 => memory.clone().prop_map(|memory| Operation::Fork { memory }),
        2 => memory.prop_map(|memory| Operation::Drop { memory }),
    ]
}

fn map(pages: &Pages) -> Reservation {
    let window = Reservation::new(PAGES * PAGE).expect("addresses are available");
    pages
        .map(&window, PAGES * PAGE, PAGES * PAGE)
        .expect("memory is available");
    window
}

/// Writes through a mapping, as Wasm code does.
fn store(window: &Reservation, page: usize, value: u8) {
    // SAFETY: the page is mapped writable and nothing else refers to it.
    unsafe { window.as_ptr().add(page * PAGE + 7).write(value) };
}

fn content(pages: &Pages) -> Vec<u8> {
    let mut bytes = vec![0; PAGES * PAGE];
    pages.read_at(0, &mut bytes).expect("memory is available");
    let window = map(pages);
    // SAFETY: the whole window is mapped readable.
    let mapped = unsafe { std::slice::from_raw_parts(window.as_ptr(), PAGES * PAGE) };
    assert_eq!(mapped, bytes, "a mapping shows what reading returns");
    bytes
}

fn apply(memories: &mut Vec<(Pages, Vec<u8>)>, operation: Operation) {
    let count = memories.len();
    match operation {
        Operation::Commit {
            memory,
            pages,
            value,
        } => {
            let (real, model) = &mut memories[memory % count];
            let window = map(real);
            for page in &pages {
                store(&window, *page, value);
                model[page * PAGE + 7] = value;
            }
            let written: Vec<u64> = pages.iter().map(|page| *page as u64).collect();
            let copied = real.commit(&window, &written).expect("memory is available");
            assert_eq!(copied, pages.len() as u64);
        }
        Operation::Abandon { memory, page } => {
            store(&map(&memories[memory % count].0), page, 0xee);
        }
        Operation::Write {
            memory,
            offset,
            len,
            value,
        } => {
            let (real, model) = &mut memories[memory % count];
            real.write_at(offset as u64, &vec![value; len])
                .expect("memory is available");
            model[offset..offset + len].fill(value);
        }
        Operation::Fork { memory } => {
            let fork = memories[memory % count].clone();
            memories.push(fork);
        }
        Operation::Drop { memory } if count > 1 => {
            memories.remove(memory % count);
        }
        Operation::Drop { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forks_never_see_each_others_changes(operations in prop::collection::vec(operation(), 1..30)) {
        let first = Pages::new().expect("memory is available");
        let mut memories = vec![(first, vec![0; PAGES * PAGE])];
        for operation in operations {
            apply(&mut memories, operation);
            for (real, model) in &memories {
                prop_assert_eq!(&content(real), model);
            }
        }
    }
}
