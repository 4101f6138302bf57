//! Random calls: what must hold after each, and after a restart.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::address::tests::any_address;
use crate::book::table::Which;

#[derive(Clone, Debug)]
enum Call {
    Add(Vec<PeerAddress>, Option<u8>),
    Select(Purpose, Vec<PeerAddress>, bool),
    Attempted(PeerAddress),
    Succeeded(PeerAddress),
    Failed(PeerAddress),
    Ban(PeerAddress, u16),
    Wait(u32),
}

/// Few addresses, so that calls meet.
fn some_address() -> impl Strategy<Value = PeerAddress> {
    prop_oneof![
        9 => (1..6u8, 0..4u8, 0..8u8).prop_map(|(first, second, last)| {
            address([first, second, 0, last])
        }),
        1 => any_address(),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let addresses = || prop::collection::vec(some_address(), 0..6);
    let purpose = prop_oneof![Just(Purpose::Outbound), Just(Purpose::Feeler)];
    prop_oneof![
        4 => (addresses(), any::<Option<u8>>()).prop_map(|(all, source)| Call::Add(all, source)),
        4 => (purpose, addresses(), any::<bool>())
            .prop_map(|(purpose, connected, onion)| Call::Select(purpose, connected, onion)),
        2 => some_address().prop_map(Call::Attempted),
        2 => some_address().prop_map(Call::Succeeded),
        2 => some_address().prop_map(Call::Failed),
        1 => (some_address(), any::<u16>()).prop_map(|(one, time)| Call::Ban(one, time)),
        1 => any::<u32>().prop_map(|time| Call::Wait(time % 2_000_000)),
    ]
}

/// What the book must remember.
#[derive(Default)]
struct Model {
    bans: BTreeMap<PeerAddress, u64>,
    attempted: BTreeMap<PeerAddress, u64>,
    added: BTreeSet<PeerAddress>,
}

fn check(book: &AddressBook) {
    let places = book.tables.len(Which::New) + book.tables.len(Which::Tried);
    assert_eq!(places, book.len());
    for (address, entry) in &book.entries {
        let place = book.place_of(address, entry);
        assert_eq!(book.tables.at(place), Some(*address));
    }
    let restarted = AddressBook::decode(Network::Mainnet, &book.encode()).expect("own bytes");
    let mut settled = book.clone();
    settled.collisions.clear();
    assert!(restarted == settled, "the restarted book differs");
}

fn carry_out(book: &mut AddressBook, model: &mut Model, now: UnixSeconds, call: &Call) {
    match call {
        Call::Add(addresses, source) => {
            let before = book.len();
            let known: Vec<KnownAddress> = addresses.iter().map(|one| known(*one)).collect();
            let source = source.map(|source| NetworkGroup::V4([source, 0]));
            let new = book.add(now, source, &known);
            assert!(new <= addresses.len() && book.len() <= before + new);
            model.added.extend(addresses);
        }
        Call::Select(purpose, connected, onion) => {
            let Some(chosen) = book.select(now, *purpose, connected, *onion) else {
                return;
            };
            assert!(model.added.contains(&chosen));
            assert!(!connected.contains(&chosen));
            assert!(*onion || !chosen.is_onion());
            let banned = model.bans.get(&chosen).is_some_and(|end| *end > now.get());
            assert!(!banned);
            let attempted = model.attempted.get(&chosen);
            assert!(attempted.is_none_or(|time| time + 60 <= now.get()));
            if *purpose == Purpose::Outbound {
                assert!(connected.iter().all(|one| one.group() != chosen.group()));
            }
        }
        Call::Attempted(one) => book.attempted(now, *one),
        Call::Succeeded(one) => book.succeeded(now, *one, USEFUL),
        Call::Failed(one) => book.failed(now, *one),
        Call::Ban(one, time) => {
            book.ban(now, *one, Duration::from_secs(u64::from(*time)));
            let end = model.bans.entry(*one).or_default();
            *end = (*end).max(now.get() + u64::from(*time));
        }
        Call::Wait(_) => {}
    }
    if let Call::Attempted(one) | Call::Succeeded(one) | Call::Failed(one) = call
        && book.entries.contains_key(one)
    {
        model.attempted.insert(*one, now.get());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_calls_keep_the_book_whole(
        seed in any::<u64>(),
        calls in prop::collection::vec(call(), 0..60),
    ) {
        let mut book = AddressBook::new(Network::Mainnet, seed);
        let mut model = Model::default();
        let mut now = NOW;
        for call in &calls {
            if let Call::Wait(seconds) = call {
                now = UnixSeconds::new(now.get() + u64::from(*seconds));
            }
            carry_out(&mut book, &mut model, now, call);
        }
        check(&book);
    }

    #[test]
    fn an_address_that_may_be_chosen_is_found_among_many_that_may_not(
        seed in any::<u64>(),
        last in any::<u8>(),
    ) {
        let mut book = AddressBook::new(Network::Mainnet, seed);
        for index in 0..4_096u16 {
            let [third, fourth] = index.to_be_bytes();
            let source = NetworkGroup::V4([third, fourth]);
            book.add(NOW, Some(source), &[known(address([1, 1, third, fourth]))]);
        }
        let free = address([2, 2, 2, last]);
        let placed = book.add(NOW, None, &[known(free)]) == 1;
        let chosen = book.select(NOW, Purpose::Outbound, &[address([1, 1, 0, 0])], true);
        prop_assert_eq!(chosen, placed.then_some(free));
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut book = book(&[address([1, 2, 3, 4]), address([5, 6, 7, 8])]);
        book.ban(NOW, address([9, 9, 9, 9]), Duration::from_secs(9));
        let mut bytes = book.encode();
        let end = bytes.len() - 32;
        for (at, value) in flips {
            let at = at.index(end);
            bytes[at] = value;
        }
        bytes.truncate(cut.index(end));
        // With a checksum that matches, the layout alone is left to notice.
        let checksum = bitcoin::hashes::Hash::hash(&bytes);
        let checksum: bitcoin::hashes::sha256::Hash = checksum;
        bytes.extend(bitcoin::hashes::Hash::as_byte_array(&checksum));
        if let Ok(book) = AddressBook::decode(Network::Mainnet, &bytes) {
            check(&book);
        }
    }
}
