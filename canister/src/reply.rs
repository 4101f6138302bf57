//! Encodes replies, with the type table of each kind of reply built once.
//!
//! A reply in Candid begins with a table of its types. Building it takes several hundred thousand
//! instructions, many times as many as a small answer; it is the same each time, so the heap keeps it.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::marker::PhantomData;

use candid::CandidType;
use candid::ser::{IDLBuilder, TypeSerialize, ValueSerializer};

/// What every message in Candid begins with.
const MAGIC: &[u8] = b"DIDL";

thread_local! {
    static TABLES: RefCell<BTreeMap<TypeId, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A result that is no error, with a type of its own: a variant of one case is a subtype of the interface's
/// with two, which any client reads as that. The table of an error's types is several hundred bytes, and each byte
/// of a reply costs 50 instructions.
#[derive(CandidType)]
enum Answered<T> {
    Ok(T),
}

/// Encodes the only value of a reply that may be an error, as [`encode`] does an error, and what is none with
/// the types of that alone.
///
/// # Errors
/// As [`encode`].
pub fn encode_result<T: CandidType + 'static, E: CandidType + 'static>(
    result: Result<T, E>,
) -> Result<Vec<u8>, candid::Error> {
    match result {
        Ok(answer) => encode(&Answered::Ok(answer)),
        Err(error) => encode::<Result<T, E>>(&Err(error)),
    }
}

/// Keeps the table of the answers of a method that may fail.
///
/// # Errors
/// As [`encode`].
pub fn keep_answers<T: CandidType + 'static, E>(
    _: PhantomData<Result<T, E>>,
) -> Result<(), candid::Error> {
    keep_table::<Answered<T>>()
}

/// Encodes the only value of a reply; the bytes are those of [`candid::encode_one`]. A query forgets
/// the table it builds: see [`keep_table`].
///
/// # Errors
/// [`candid::Error`] for types that Candid does not have.
pub fn encode<T: CandidType + 'static>(value: &T) -> Result<Vec<u8>, candid::Error> {
    keep_table::<T>()?;
    let mut values = ValueSerializer::new();
    value.idl_serialize(&mut values)?;
    TABLES.with_borrow(|tables| {
        let table = tables
            .get(&TypeId::of::<T>())
            .map_or(&[][..], Vec::as_slice);
        Ok([MAGIC, table, values.get_result()].concat())
    })
}

/// Builds the table of a type unless it is kept already. Messages that change the heap keep it for all
/// that follow.
///
/// # Errors
/// As [`encode`].
pub fn keep_table<T: CandidType + 'static>() -> Result<(), candid::Error> {
    TABLES.with_borrow_mut(|tables| {
        if let Entry::Vacant(place) = tables.entry(TypeId::of::<T>()) {
            // Forgets the names that other tables gave to types.
            drop(IDLBuilder::new());
            let mut types = TypeSerialize::new();
            types.push_type(&T::ty())?;
            types.serialize()?;
            place.insert(types.get_result().to_vec());
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use millrace_candid::{
        Balance, BlockId, GetBalanceResult, GetStatusResult, GetUtxosResult, ReadError,
    };

    use super::*;

    #[test]
    fn answers_are_read_as_results() {
        let balance = Balance {
            balance: 5,
            utxo_count: 1,
            tip: BlockId {
                hash: [7; 32].to_vec().into(),
                height: 9,
            },
        };
        let error = ReadError::LimitOutOfRange { given: 0, max: 9 };
        for result in [Ok(balance), Err(error)] {
            let bytes = encode_result(result.clone()).unwrap();
            assert_eq!(
                candid::decode_one::<GetBalanceResult>(&bytes).unwrap(),
                result
            );
            let whole = candid::encode_one(&result).unwrap();
            assert!(bytes.len() + 300 < whole.len() || result.is_err());
        }
    }

    fn check<T: CandidType + 'static>(value: &T) {
        let expected = candid::encode_one(value).unwrap();
        // The second time the table is there.
        assert_eq!(encode(value).unwrap(), expected);
        assert_eq!(encode(value).unwrap(), expected);
    }

    #[test]
    fn replies_are_those_of_candid() {
        let error = ReadError::LimitOutOfRange { given: 0, max: 9 };
        check::<GetUtxosResult>(&Err(error.clone()));
        check::<GetBalanceResult>(&Err(error.clone()));
        check::<GetStatusResult>(&Err(error));
        check(&vec![7u64]);
        check(&(7u8, "seven".to_owned()));
        check(&Some(Some(1u32)));
    }
}
