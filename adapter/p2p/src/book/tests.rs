//! The address book: places, choices, floods and damage.

mod eclipse;
mod random;

use core::net::Ipv4Addr;
use std::collections::BTreeSet;

use super::*;
use crate::address::Host;

const NOW: UnixSeconds = UnixSeconds::new(1_780_000_000);
const USEFUL: u64 = 1 | 8;

fn later(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(NOW.get() + seconds)
}

fn address(octets: [u8; 4]) -> PeerAddress {
    PeerAddress {
        host: Host::V4(Ipv4Addr::from(octets)),
        port: 8_333,
    }
}

fn known(address: PeerAddress) -> KnownAddress {
    KnownAddress {
        time: u32::try_from(NOW.get()).expect("before 2106"),
        services: USEFUL,
        address,
    }
}

fn book(addresses: &[PeerAddress]) -> AddressBook {
    let mut book = AddressBook::new(Network::Mainnet, 7);
    let known: Vec<KnownAddress> = addresses.iter().map(|one| known(*one)).collect();
    assert_eq!(book.add(NOW, None, &known), addresses.len());
    book
}

fn entry(book: &AddressBook, address: PeerAddress) -> BookEntry {
    book.entries()
        .find(|entry| entry.address == address)
        .expect("in the book")
}

/// Two addresses that want one place among the tried ones.
fn colliding(seed: u64) -> (PeerAddress, PeerAddress) {
    let first = address([1, 1, 1, 1]);
    let place = Place::tried(seed, &first);
    let second = (0..=u16::MAX)
        .flat_map(|low| (2..=9u8).map(move |high| (low, high)))
        .map(|(low, high)| {
            let [third, fourth] = low.to_be_bytes();
            address([high, third, fourth, 1])
        })
        .find(|other| Place::tried(seed, other) == place)
        .expect("one in 16,384 collides");
    (first, second)
}

#[test]
fn an_empty_book_selects_nothing() {
    let mut book = AddressBook::new(Network::Mainnet, 1);
    assert!(book.is_empty());
    for purpose in [Purpose::Outbound, Purpose::Feeler] {
        assert_eq!(book.select(NOW, purpose, &[], true), None);
    }
}

#[test]
fn what_may_not_be_dialled_is_left_out() {
    let mut book = AddressBook::new(Network::Mainnet, 1);
    let private = known(address([192, 168, 0, 1]));
    let public = known(address([1, 2, 3, 4]));
    assert_eq!(book.add(NOW, None, &[private, public, public]), 1);
    assert_eq!(book.len(), 1);
}

#[test]
fn gossip_is_believed_to_be_older_than_it_says() {
    let now = NOW.get();
    // Source, time told, time believed.
    let cases = [
        (None, now, now),
        (Some(NetworkGroup::V4([9, 9])), now, now - 7_200),
        (None, now + 600, now + 600),
        (None, now + 601, now - 5 * 86_400),
        (None, 0, now - 5 * 86_400),
    ];
    for (source, told, believed) in cases {
        let mut book = AddressBook::new(Network::Mainnet, 1);
        let told = KnownAddress {
            time: u32::try_from(told).expect("before 2106"),
            ..known(address([1, 2, 3, 4]))
        };
        book.add(NOW, source, &[told]);
        let seen = entry(&book, told.address).seen;
        assert_eq!(seen, believed, "{told:?}");
    }
}

#[test]
fn connected_groups_banned_hosts_and_recent_attempts_are_avoided() {
    let (first, neighbour, other) = (
        address([1, 1, 0, 1]),
        address([1, 1, 9, 9]),
        address([2, 2, 2, 2]),
    );
    let mut book = book(&[first, neighbour, other]);
    for _ in 0..50 {
        let chosen = book.select(NOW, Purpose::Outbound, &[first], true);
        assert_eq!(chosen, Some(other), "same group as a connected one");
    }
    let mut feelers = BTreeSet::new();
    for _ in 0..50 {
        feelers.extend(book.select(NOW, Purpose::Feeler, &[first], true));
    }
    assert_eq!(feelers, BTreeSet::from([neighbour, other]));
    book.ban(NOW, other, Duration::from_secs(100));
    assert_eq!(book.select(NOW, Purpose::Outbound, &[first], true), None);
    let chosen = book.select(later(100), Purpose::Outbound, &[first], true);
    assert_eq!(chosen, Some(other), "the ban is over");
    book.attempted(later(100), other);
    let chosen = book.select(later(159), Purpose::Outbound, &[first], true);
    assert_eq!(chosen, None, "just tried");
    let chosen = book.select(later(160), Purpose::Outbound, &[first], true);
    assert_eq!(chosen, Some(other));
}

#[test]
fn onion_services_and_nodes_without_blocks_are_selected_only_if_of_use() {
    let onion = PeerAddress {
        host: Host::Onion([9; 32]),
        port: 8_333,
    };
    let mut book = book(&[onion]);
    assert_eq!(book.select(NOW, Purpose::Outbound, &[], false), None);
    assert_eq!(book.select(NOW, Purpose::Outbound, &[], true), Some(onion));
    // Services, whether a peer with them is connected to.
    let cases = [
        (0, true),
        (1, false),
        (8, false),
        (9, true),
        (1_024, false),
        (1_032, true),
    ];
    for (services, selected) in cases {
        let mut book = AddressBook::new(Network::Mainnet, 1);
        let told = KnownAddress {
            services,
            ..known(address([1, 2, 3, 4]))
        };
        book.add(NOW, None, &[told]);
        let chosen = book.select(NOW, Purpose::Outbound, &[], false);
        assert_eq!(chosen.is_some(), selected, "services {services}");
    }
}

#[test]
fn regtest_nodes_share_a_host_and_a_group() {
    let node = |port| PeerAddress {
        host: Host::V4(Ipv4Addr::LOCALHOST),
        port,
    };
    let mut book = AddressBook::new(Network::Regtest, 1);
    let told = [known(node(1)), known(node(2))];
    assert_eq!(book.add(NOW, None, &told), 2);
    let chosen = book.select(NOW, Purpose::Outbound, &[node(1)], true);
    assert_eq!(chosen, Some(node(2)));
    book.ban(NOW, node(2), Duration::from_secs(1));
    assert!(book.is_banned(NOW, node(2)));
    assert!(!book.is_banned(NOW, node(1)));
}

#[test]
fn a_ban_covers_the_host_and_ends() {
    let parse = |text| PeerAddress::parse(text, Network::Mainnet).expect(text);
    let mut book = AddressBook::new(Network::Mainnet, 1);
    book.ban(NOW, parse("1.2.3.4:1"), Duration::from_secs(10));
    book.ban(NOW, parse("[2a01:4f8::1]:1"), Duration::from_secs(20));
    // Address, seconds until it is free.
    let cases = [
        ("1.2.3.4:2", 10),
        ("1.2.3.5:1", 0),
        ("[2a01:4f8::ffff]:9", 20),
        ("[2a01:4f8:0:1::1]:1", 0),
    ];
    for (text, free) in cases {
        assert!(!book.is_banned(later(free), parse(text)), "{text}");
        if free > 0 {
            assert!(book.is_banned(later(free - 1), parse(text)), "{text}");
        }
    }
    assert_eq!(book.banned(later(10)), 1);
    book.ban(NOW, parse("1.2.3.4:1"), Duration::from_secs(5));
    assert!(
        book.is_banned(later(9), parse("1.2.3.4:1")),
        "a shorter ban does not end a longer one"
    );
}

#[test]
fn bans_are_bounded_and_the_first_to_end_makes_room() {
    let mut book = AddressBook::new(Network::Mainnet, 1);
    for index in 0..=u32::try_from(MAX_BANS).expect("small") {
        let host = Ipv4Addr::from_bits(0x0100_0000 + index);
        let one = PeerAddress {
            host: Host::V4(host),
            port: 1,
        };
        book.ban(NOW, one, Duration::from_secs(1_000 + u64::from(index)));
    }
    assert_eq!(book.banned(NOW), MAX_BANS);
    assert!(!book.is_banned(NOW, address([1, 0, 0, 0])));
    assert!(book.is_banned(NOW, address([1, 0, 0, 1])));
}

#[test]
fn addresses_that_never_work_lose_their_place() {
    let (bad, good) = (address([1, 1, 1, 1]), address([2, 2, 2, 2]));
    let mut book = book(&[bad, good]);
    for round in 0..5 {
        book.failed(later(round), bad);
    }
    assert_eq!(
        entry(&book, bad).failures,
        1,
        "without a success between, the internet may be gone"
    );
    for round in 10..12 {
        book.succeeded(later(round * 10), good, USEFUL);
        book.failed(later(round * 10 + 1), bad);
    }
    assert_eq!(entry(&book, bad).failures, 3);
    let place = Place::new(7, &bad, bad.group());
    let rival = (0..=u16::MAX)
        .map(|low| {
            let [third, fourth] = low.to_be_bytes();
            address([1, 1, third, fourth])
        })
        .find(|rival| *rival != bad && Place::new(7, rival, bad.group()) == place)
        .expect("one of 64 in its bucket has its place");
    assert_eq!(book.add(later(120), None, &[known(rival)]), 0, "not yet");
    assert_eq!(book.add(later(1_000), None, &[known(rival)]), 1);
    assert!(book.entries().all(|entry| entry.address != bad));
}

#[test]
fn a_tried_address_is_tested_before_it_makes_room() {
    // What happens to the older one, and which of the two is tried in the end.
    enum Test {
        Works,
        Fails,
        NeverEnds,
    }
    let (old, new) = colliding(7);
    let cases = [
        (Test::Works, old),
        (Test::Fails, new),
        (Test::NeverEnds, new),
    ];
    for (test, survivor) in cases {
        let mut book = book(&[old, new]);
        book.succeeded(NOW, old, USEFUL);
        let day = later(86_400);
        book.succeeded(day, new, USEFUL);
        assert!(!entry(&book, new).is_tried);
        let feeler = book.select(day, Purpose::Feeler, &[], true);
        assert_eq!(feeler, Some(old), "the older one is tested");
        book.attempted(day, old);
        match test {
            Test::Works => book.succeeded(later(86_410), old, USEFUL),
            Test::Fails => book.failed(later(86_410), old),
            Test::NeverEnds => {
                book.select(later(86_400 + 2_400), Purpose::Feeler, &[], true);
            }
        }
        let tried: Vec<PeerAddress> = book
            .entries()
            .filter(|entry| entry.is_tried)
            .map(|entry| entry.address)
            .collect();
        assert_eq!(tried, [survivor]);
        assert_eq!(book.len(), 2, "the other one goes back to the new ones");
    }
}

#[test]
fn an_address_that_worked_lately_keeps_its_place_untested() {
    let (old, new) = colliding(7);
    let mut book = book(&[old, new]);
    book.succeeded(NOW, old, USEFUL);
    book.succeeded(later(3_600), new, USEFUL);
    assert!(entry(&book, old).is_tried && !entry(&book, new).is_tried);
    let feeler = book.select(later(7_200), Purpose::Feeler, &[], true);
    assert_eq!(feeler, Some(new), "there is nothing to settle");
}

#[test]
fn bytes_that_are_no_book_are_refused_with_the_reason() {
    let bytes = book(&[address([1, 2, 3, 4])]).encode();
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        (Vec::new(), "is no address book"),
        (b"MRA".to_vec(), "is no address book"),
        (changed(0), "is no address book"),
        (changed(4), "version 0"),
        (changed(5), "checksum"),
        (changed(bytes.len() - 1), "checksum"),
        (bytes[..bytes.len() - 1].to_vec(), "checksum"),
        (bytes[..20].to_vec(), "checksum"),
    ];
    for (bytes, reason) in cases {
        let error = AddressBook::decode(Network::Mainnet, &bytes).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = AddressBook::decode(Network::Signet, &bytes).expect_err("another network");
    assert!(matches!(error, BookError::Network { .. }), "{error}");
}
