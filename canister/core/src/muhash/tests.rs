//! Against Bitcoin Core's published vectors, and against a big-integer library and another ChaCha20.

use bitcoin::hashes::{Hash, sha256};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use num_bigint::BigUint;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn prime() -> BigUint {
    (BigUint::from(1_u8) << 3072_u32) - BigUint::from(1_103_717_u32)
}

/// The number of an element, computed by other people's code.
fn reference(bytes: &[u8]) -> BigUint {
    let key = sha256::Hash::hash(bytes).to_byte_array();
    let mut stream = [0; NUMBER_BYTES];
    ChaCha20::new(&key.into(), &[0; 12].into()).apply_keystream(&mut stream);
    BigUint::from_bytes_le(&stream)
}

fn big(number: &Number) -> BigUint {
    BigUint::from_bytes_le(&number.to_bytes())
}

fn number(value: &BigUint) -> Number {
    let mut bytes = value.to_bytes_le();
    bytes.resize(NUMBER_BYTES, 0);
    Number::from_bytes(&bytes.try_into().unwrap())
}

/// The set of Bitcoin Core's tests: the digest of a byte and 31 zeros.
fn element(byte: u8) -> Element {
    let mut bytes = [0; 32];
    bytes[0] = byte;
    Element::of(&bytes)
}

/// Values at the edges of limbs, words and the modulus.
fn edges() -> Vec<BigUint> {
    let one = || BigUint::from(1_u8);
    let bits = [27_u32, 28, 29, 31, 32, 56, 64, 1536, 3051, 3052, 3071];
    let mut values: Vec<BigUint> = bits.iter().map(|bits| one() << *bits).collect();
    values.extend(bits.iter().map(|bits| (one() << *bits) - one()));
    values.extend([BigUint::ZERO, one(), prime() - one(), prime()]);
    values.extend([prime() + one(), (one() << 3072_u32) - one()]);
    values
}

#[test]
fn the_digest_is_bitcoin_cores() {
    // crypto_tests.cpp, muhash_tests.
    let expected = "10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863";
    let mut set = MuHash::default();
    set.insert(&element(0));
    set.insert(&element(1));
    set.remove(&element(2));
    assert_eq!(set.digest().to_string(), expected);
    let mut other = MuHash::default();
    other.remove(&element(2));
    other.insert(&element(1));
    other.insert(&element(0));
    assert_eq!(other.digest().to_string(), expected);
}

#[test]
fn the_stored_form_is_bitcoin_cores() {
    // crypto_tests.cpp: the SHA-256 of its serialisation, and how that begins.
    let mut set = MuHash::default();
    set.insert(&element(1));
    set.insert(&element(2));
    let bytes = set.to_bytes();
    assert_eq!(
        hex::encode(&bytes[..16]),
        "1fa093295ea30a6a3acdc7b3f770fa53"
    );
    assert_eq!(
        hex::encode(sha256::Hash::hash(&bytes)),
        "de9511749df195290ef65c0a642698da1db7218f5753dd4cb631fce6a5938a00"
    );
    assert_eq!(MuHash::from_bytes(&bytes), set);
}

#[test]
fn a_stored_number_above_the_modulus_is_its_remainder() {
    // crypto_tests.cpp: all ones over one.
    let mut bytes = [0xff; MUHASH_BYTES];
    bytes[NUMBER_BYTES..].fill(0);
    bytes[NUMBER_BYTES] = 1;
    let digest = MuHash::from_bytes(&bytes).digest();
    // Bitcoin Core's test prints the bytes in their own order.
    assert_eq!(
        hex::encode(digest.0),
        "3a31e6903aff0de9f62f9a9f7f8b861de76ce2cda09822b90014319ae5dc2271"
    );
}

#[test]
fn the_empty_set_hashes_as_one_over_one() {
    let mut set = MuHash::default();
    let empty = set.digest();
    set.insert(&element(7));
    assert_ne!(set.digest(), empty);
    set.remove(&element(7));
    assert_eq!(set.digest(), empty);
    let mut one = [0; NUMBER_BYTES];
    one[0] = 1;
    assert_eq!(empty.0, sha256::Hash::hash(&one).to_byte_array());
}

#[test]
fn numbers_at_all_edges_multiply_as_a_big_integer_library_says() {
    let edges = edges();
    for a in &edges {
        assert_eq!(big(&number(a)), a % prime(), "{a}");
        for b in &edges {
            let product = number(a).times(&number(b));
            assert_eq!(big(&product), a * b % prime(), "{a} * {b}");
        }
    }
}

#[test]
fn products_that_are_not_reduced_go_on_being_right() {
    let (mut ours, mut theirs) = (number(&edges()[5]), edges()[5].clone());
    for edge in edges()
        .iter()
        .filter(|edge| **edge != BigUint::ZERO)
        .cycle()
        .take(200)
    {
        if edge % prime() == BigUint::ZERO {
            continue;
        }
        ours = ours.times(&number(edge));
        theirs = theirs * edge % prime();
    }
    assert_eq!(big(&ours), theirs);
}

#[test]
fn an_inverse_makes_one() {
    for edge in edges() {
        if &edge % prime() != BigUint::ZERO {
            let number = number(&edge);
            assert_eq!(number.inverse().times(&number), Number::ONE, "{edge}");
        }
    }
    assert_eq!(big(&number(&BigUint::ZERO).inverse()), BigUint::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn elements_are_those_of_another_chacha20(messages in vec(vec(any::<u8>(), 0..200), 4)) {
        let digests: [_; 4] = std::array::from_fn(|at| sha256::Hash::hash(&messages[at]).to_byte_array());
        for (element, message) in Element::of_digests(digests).iter().zip(&messages) {
            prop_assert_eq!(big(&element.0), reference(message) % prime());
            prop_assert_eq!(element, &Element::of(message));
        }
    }

    #[test]
    fn numbers_multiply_as_a_big_integer_library_says(
        a in vec(any::<u8>(), NUMBER_BYTES), b in vec(any::<u8>(), NUMBER_BYTES),
    ) {
        let (a, b) = (BigUint::from_bytes_le(&a), BigUint::from_bytes_le(&b));
        let product = number(&a).times(&number(&b));
        prop_assert_eq!(big(&product), &a * b % prime());
        let inverse = number(&a).inverse();
        prop_assert_eq!(big(&inverse), a.modinv(&prime()).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn order_does_not_matter_and_what_leaves_is_gone(
        kept in vec(any::<u8>(), 1..6), gone in vec(any::<u8>(), 0..6), seed in any::<u64>(),
    ) {
        let mut forward = MuHash::default();
        kept.iter().for_each(|byte| forward.insert(&element(*byte)));
        let mut events: Vec<(u8, bool)> = kept.iter().map(|byte| (*byte, true)).collect();
        events.extend(gone.iter().flat_map(|byte| [(*byte, true), (*byte, false)]));
        let turn = seed as usize % events.len();
        events.rotate_left(turn);
        events.reverse();
        let mut halves = [MuHash::default(), MuHash::default()];
        for (at, (byte, is_insert)) in events.into_iter().enumerate() {
            let half = &mut halves[at % 2];
            if is_insert { half.insert(&element(byte)) } else { half.remove(&element(byte)) }
        }
        let [mut whole, other] = halves;
        whole.combine(&other);
        prop_assert_eq!(whole.digest(), forward.digest());
        // A reference that knows no fraction.
        let mut product = BigUint::from(1_u8);
        for byte in kept {
            let mut bytes = [0; 32];
            bytes[0] = byte;
            product = product * reference(&bytes) % prime();
        }
        let mut bytes = product.to_bytes_le();
        bytes.resize(NUMBER_BYTES, 0);
        prop_assert_eq!(forward.digest().0, sha256::Hash::hash(&bytes).to_byte_array());
    }
}
