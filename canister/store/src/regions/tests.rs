use std::cell::Cell;

use ic_stable_structures::VectorMemory;
use proptest::prelude::*;

use super::*;
use crate::counting::CountingMemory;
use crate::limited::Limited;

/// A memory of any size that keeps the bytes of its first page alone.
struct Hollow {
    page: VectorMemory,
    pages: Cell<u64>,
}

impl Default for Hollow {
    fn default() -> Self {
        let page = VectorMemory::default();
        page.grow(1);
        Self {
            page,
            pages: Cell::new(0),
        }
    }
}

impl Memory for Hollow {
    fn size(&self) -> u64 {
        self.pages.get()
    }

    fn grow(&self, pages: u64) -> i64 {
        self.pages.replace(self.pages.get() + pages) as i64
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.page.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.page.write(offset, src);
    }
}

fn limited() -> (Raw<Limited>, Rc<Cell<u64>>) {
    let limit = Rc::new(Cell::new(u64::MAX));
    let memory = Limited {
        inner: VectorMemory::default(),
        limit: Rc::clone(&limit),
    };
    memory.grow(FIRST_PAGE);
    (Rc::new(CountingMemory::new(memory)), limit)
}

const ALL: [Region; 4] = [
    Region::Queue,
    Region::Runs,
    Region::BlobPages,
    Region::Headers,
];

#[test]
fn small_structures_grow_from_the_reserve_when_memory_cannot_and_bulk_does_not() {
    let (raw, limit) = limited();
    let regions = Regions::open(&raw).unwrap();
    let (small, bulk) = (regions.get(Region::Queue), regions.get(Region::Runs));
    assert_eq!((small.grow(1), bulk.grow(100)), (0, 0));
    assert!(regions.has_reserve());
    limit.set(raw.size());
    assert!(regions.has_reserve(), "it is there already");
    assert_eq!(bulk.grow(1), -1);
    assert_eq!((bulk.size(), bulk.grow(0)), (100, 100));
    assert_eq!(small.grow(RESERVE_PAGES), 1);
    assert!(!regions.has_reserve());
    assert_eq!(small.grow(1), -1, "the reserve is used up");
    limit.set(u64::MAX);
    assert_eq!(bulk.grow(1), 100);
    assert!(regions.has_reserve());
}

#[test]
fn a_large_region_has_few_parts_and_little_unused() {
    let mut table = Table::new();
    table.regions.resize(REGIONS, Pages::default());
    // 100 GiB, in steps of a block, while another region grows in between.
    let mut size = 0;
    while size < 100 << 14 {
        size += 25;
        let capacity = table.regions[13].capacity();
        if size > capacity {
            table.place(
                13,
                (size - capacity).max((capacity / GROWTH).min(MAX_GROWTH)),
            );
            table.place(5, 1);
        }
    }
    assert!(
        table.count < MAX_PARTS - 2 * RESERVE_PARTS,
        "{}",
        table.count
    );
    assert!(table.regions[13].capacity() <= size + MAX_GROWTH);
}

#[test]
fn parts_are_kept_for_small_structures_as_pages_are() {
    let memory = Hollow::default();
    memory.grow(FIRST_PAGE);
    let raw = Rc::new(CountingMemory::new(memory));
    let regions = Regions::open(&raw).unwrap();
    let (small, bulk) = (regions.get(Region::Queue), regions.get(Region::Runs));
    // Taking turns, and a page each time: never two parts that become one.
    let mut bulk_parts = 0;
    while bulk.grow(regions.of(Region::Runs, Pages::capacity) + 1 - bulk.size()) >= 0 {
        regions.table.borrow_mut().place(Region::Queue as u8, 1);
        bulk_parts += 1;
        assert!(bulk_parts < MAX_PARTS, "bulk never ends");
    }
    assert!(regions.has_reserve(), "small structures go on");
    let left = MAX_PARTS - regions.table.borrow().count;
    assert!(left > RESERVE_PARTS, "{left} parts");
    assert!(small.grow(1) >= 0);
}

#[test]
fn a_damaged_table_is_refused() {
    let (raw, _) = limited();
    Regions::open(&raw).unwrap().get(Region::Runs).grow(3);
    assert_eq!(pages_needed(&raw).unwrap(), 4);
    let refused = |at: u64, bytes: &[u8]| {
        let mut before = vec![0; bytes.len()];
        raw.read(at, &mut before);
        raw.write(at, bytes);
        let error = pages_needed(&raw).unwrap_err().to_string();
        raw.write(at, &before);
        error
    };
    let too_many = refused(COUNT_AT, &[0xff; 4]);
    assert!(too_many.contains("4294967295 parts"), "{too_many}");
    let unknown = refused(PARTS_AT + 4, &[200]);
    assert!(unknown.contains("region 200"), "{unknown}");
    let empty = refused(PARTS_AT, &[0; 4]);
    assert!(empty.contains("a part of 0 pages"), "{empty}");
    let large = refused(SIZES_AT + 4 * Region::Runs as u64, &[4]);
    assert!(large.contains("4 pages in parts of 3"), "{large}");
    assert_eq!(pages_needed(&raw).unwrap(), 4);
}

#[test]
#[should_panic(expected = "beyond region Queue")]
fn reading_beyond_a_region_stops() {
    let (raw, _) = limited();
    let memory = Regions::open(&raw).unwrap().get(Region::Queue);
    memory.grow(1);
    memory.read(WASM_PAGE_BYTES - 1, &mut [0; 2]);
}

proptest! {
    #[test]
    fn each_region_is_a_memory_of_its_own_that_a_new_heap_finds_again(
        steps in prop::collection::vec(
            (0..ALL.len(), 0..4u64, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200)),
            1..60,
        ),
    ) {
        let (raw, _) = limited();
        let mut regions = Regions::open(&raw).unwrap();
        let mut plain: Vec<Vec<u8>> = vec![Vec::new(); ALL.len()];
        for (which, pages, place, bytes) in steps {
            let memory = regions.get(ALL[which]);
            let bytes_before = plain[which].len();
            let pages_before = (bytes_before as u64 / WASM_PAGE_BYTES) as i64;
            prop_assert_eq!(memory.grow(pages), pages_before);
            plain[which].resize(bytes_before + (pages * WASM_PAGE_BYTES) as usize, 0);
            // Near the ends of pages, where parts may meet.
            let ends = plain[which].len() / WASM_PAGE_BYTES as usize;
            if ends > 0 {
                let end = (place.index(ends) + 1) * WASM_PAGE_BYTES as usize;
                let at = (end - 100).min(plain[which].len() - bytes.len());
                memory.write(at as u64, &bytes);
                plain[which][at..at + bytes.len()].copy_from_slice(&bytes);
            }
            regions = Regions::open(&raw).unwrap();
            for (region, plain) in ALL.into_iter().zip(&plain) {
                let memory = regions.get(region);
                prop_assert_eq!(memory.size() * WASM_PAGE_BYTES, plain.len() as u64);
                let mut found = vec![0; plain.len()];
                memory.read(0, &mut found);
                prop_assert!(&found == plain, "{:?}", region);
            }
        }
    }
}
