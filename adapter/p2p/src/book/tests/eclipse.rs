//! How much of the book one hand can fill.

use super::*;
use crate::book::table::Which;

const FLOOD: u32 = 100_000;
/// Addresses of one `addr` message.
const MESSAGE: usize = 1_000;

/// Addresses of one /16, then of the same with other ports.
fn of_one_group() -> Vec<KnownAddress> {
    (0..FLOOD)
        .map(|index| {
            let [_, _, third, fourth] = index.to_be_bytes();
            let port = 8_333 + u16::from(index > 0xffff);
            known(PeerAddress {
                port,
                ..address([6, 6, third, fourth])
            })
        })
        .collect()
}

/// Addresses of as many groups as there are.
fn of_all_groups() -> Vec<KnownAddress> {
    (0..FLOOD)
        .map(|index| known(address((0x0b00_0000 + index * 30_011).to_be_bytes())))
        .filter(|known| known.address.may_be_dialled(Network::Mainnet))
        .collect()
}

/// A book with some addresses of honest sources.
fn honest() -> AddressBook {
    let mut book = AddressBook::new(Network::Mainnet, 42);
    for high in 1..=9u8 {
        for low in 0..100u8 {
            let one = known(address([high, low, 7, 7]));
            book.add(NOW, Some(NetworkGroup::V4([high, 1])), &[one]);
        }
    }
    book
}

fn flood(book: &mut AddressBook, source: NetworkGroup, addresses: &[KnownAddress]) -> usize {
    addresses
        .chunks(MESSAGE)
        .map(|message| book.add(NOW, Some(source), message))
        .sum()
}

#[test]
fn a_flood_of_one_group_fills_one_bucket_of_new_addresses_and_none_of_tried_ones() {
    let mut book = honest();
    let buckets = book.tables.used_buckets(Which::New).len();
    let taken = flood(&mut book, NetworkGroup::V4([6, 6]), &of_one_group());
    assert!(taken <= PLACES_PER_BUCKET, "{taken}");
    assert!(book.tables.used_buckets(Which::New).len() <= buckets + 1);
    assert_eq!(book.tables.len(Which::Tried), 0);
}

#[test]
fn one_source_fills_at_most_a_sixteenth_whatever_it_tells_of() {
    let mut book = honest();
    let before = book.len();
    let taken = flood(&mut book, NetworkGroup::V4([6, 6]), &of_all_groups());
    assert!(taken > 1_000, "the flood reaches many buckets: {taken}");
    assert!(taken <= 64 * PLACES_PER_BUCKET, "{taken}");
    assert_eq!(book.len(), before + taken, "no honest address was lost");
    assert_eq!(book.tables.len(Which::Tried), 0);
}

#[test]
fn connections_to_one_group_fill_at_most_eight_buckets_of_tried_addresses() {
    let mut book = honest();
    let mut tried = Vec::new();
    // Every source of the world tells of the attacker's addresses, and all of them work.
    for (index, known) in of_one_group().iter().take(20_000).enumerate() {
        let [_, high, low, _] = u32::try_from(index * 256).expect("small").to_be_bytes();
        if book.add(NOW, Some(NetworkGroup::V4([high, low])), &[*known]) == 1 {
            tried.push(known.address);
        }
    }
    assert!(tried.len() > 1_000, "{}", tried.len());
    for address in tried {
        book.succeeded(NOW, address, USEFUL);
    }
    assert!(book.tables.used_buckets(Which::Tried).len() <= 8);
}

#[test]
fn choices_are_spread_over_buckets_not_over_addresses() {
    let mut book = honest();
    flood(&mut book, NetworkGroup::V4([6, 6]), &of_one_group());
    let attacker = NetworkGroup::V4([6, 6]);
    let chosen = (0..1_000)
        .filter_map(|_| book.select(later(3_600), Purpose::Outbound, &[], true))
        .filter(|address| address.group() == attacker)
        .count();
    // One bucket of the more than one hundred that honest sources fill.
    assert!(chosen < 40, "{chosen}");
}
