use bitcoin::hashes::{Hash, sha256, sha256d};

use super::*;

fn message(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn padded(message: &[u8]) -> Vec<u8> {
    let mut padded = message.to_vec();
    padded.resize(blocks_of(message.len()) * BLOCK_BYTES, 7);
    pad(&mut padded, message.len());
    padded
}

#[test]
fn four_messages_of_any_length_have_the_digests_of_the_standard() {
    let lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1_000, 3, 4_095];
    for (at, length) in lengths.iter().enumerate() {
        let four: [Vec<u8>; LANES] = std::array::from_fn(|lane| {
            let length = lengths[(at * 3 + lane) % lengths.len()].max(*length * (lane % 2));
            message(length, lane as u8)
        });
        let messages = four.each_ref().map(|message| padded(message));
        let blocks = messages
            .each_ref()
            .map(|padded| padded.as_chunks::<BLOCK_BYTES>().0);
        let expected = four
            .each_ref()
            .map(|message| sha256::Hash::hash(message).to_byte_array());
        assert_eq!(digests(blocks), expected, "around {length}");
        let double = four
            .each_ref()
            .map(|message| sha256d::Hash::hash(message).to_byte_array());
        assert_eq!(digests_of_digests(expected), double);
    }
}

#[test]
fn short_messages_take_one_block() {
    for length in 0..=SHORT_BYTES {
        let message = message(length, 9);
        assert_eq!(blocks_of(length), 1);
        let expected = sha256::Hash::hash(&message).to_byte_array();
        let block = [short_block(&message)];
        assert_eq!(digests([&block; LANES]), [expected; LANES], "{length}");
    }
    assert_eq!(blocks_of(SHORT_BYTES + 1), 2);
}

#[test]
fn parents_are_double_hashes_of_their_children() {
    let pairs: [Block; LANES] = std::array::from_fn(|lane| {
        let pair = message(BLOCK_BYTES, 100 + lane as u8);
        pair.try_into().unwrap()
    });
    let expected = pairs
        .each_ref()
        .map(|pair| sha256d::Hash::hash(pair).to_byte_array());
    assert_eq!(parents(pairs.each_ref()), expected);
}
