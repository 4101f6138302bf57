//! Where a row asks both interfaces the same, they answer the same: values, and kinds of error.

use candid::{Principal, decode_one};
use millrace_candid::official::{GetBlockHeadersResponse, GetUtxosResponse, Utxo};
use millrace_candid::{
    GetBalanceResult, GetBlockHeadersResult, GetFeePercentilesResult, GetUtxosResult, ReadError,
};
use millrace_tests::setup::Setup;

use super::question::{Argument, Contract, Names, Question, Row};

/// Describes the rows whose two answers differ.
pub fn differences(
    setup: &Setup,
    contract: &Contract,
    names: &Names,
    rows: &[&Row],
) -> Vec<String> {
    let asked_of_both = rows.iter().filter_map(|row| {
        let both = row.official.as_ref().zip(row.typed.as_ref());
        both.map(|(official, typed)| (row.about, official, typed))
    });
    asked_of_both
        .filter_map(|(about, official, typed)| {
            let answers = [official, typed].map(|question| ask(setup, contract, names, question));
            let [official_answer, typed_answer] = answers;
            let typed_answer = typed_answer.expect("typed reads never reject");
            agree(official.method, official_answer, &typed_answer)
                .map(|difference| format!("{about}: {difference}"))
        })
        .collect()
}

fn ask(
    setup: &Setup,
    contract: &Contract,
    names: &Names,
    question: &Question,
) -> Result<Vec<u8>, String> {
    let Argument::Text(text) = question.argument else {
        panic!("{}: bytes mean nothing to two methods", question.method);
    };
    let argument = contract.encoded(question.method, &names.fill(text));
    let anybody = Principal::anonymous();
    setup
        .pic
        .update_call(setup.canister, anybody, question.method, argument)
        .map_err(|reject| reject.reject_message)
}

fn agree(method: &str, official: Result<Vec<u8>, String>, typed: &[u8]) -> Option<String> {
    const TYPED: &str = "the contract's type";
    match method {
        "bitcoin_get_utxos" => compare(
            official.map(|reply| decode_one::<GetUtxosResponse>(&reply).expect(TYPED)),
            decode_one::<GetUtxosResult>(typed)
                .expect(TYPED)
                .map(|page| GetUtxosResponse {
                    utxos: page.utxos.into_iter().map(Utxo::from).collect(),
                    tip_block_hash: page.tip.hash,
                    tip_height: page.tip.height,
                    next_page: page.next_page,
                }),
        ),
        "bitcoin_get_balance" => compare(
            official.map(|reply| decode_one::<u64>(&reply).expect(TYPED)),
            decode_one::<GetBalanceResult>(typed)
                .expect(TYPED)
                .map(|balance| balance.balance),
        ),
        "bitcoin_get_block_headers" => compare(
            official.map(|reply| decode_one::<GetBlockHeadersResponse>(&reply).expect(TYPED)),
            decode_one::<GetBlockHeadersResult>(typed)
                .expect(TYPED)
                .map(|found| GetBlockHeadersResponse {
                    tip_height: found.first_height + found.headers.len() as u32 - 1,
                    block_headers: found.headers,
                }),
        ),
        "bitcoin_get_current_fee_percentiles" => compare(
            official.map(|reply| decode_one::<Vec<u64>>(&reply).expect(TYPED)),
            decode_one::<GetFeePercentilesResult>(typed)
                .expect(TYPED)
                .map(|found| found.millisatoshi_per_vbyte),
        ),
        other => panic!("{other} has no typed twin that is compared"),
    }
}

fn compare<T: std::fmt::Debug + PartialEq>(
    official: Result<T, String>,
    typed: Result<T, ReadError>,
) -> Option<String> {
    let is_same = match (&official, &typed) {
        (Ok(official), Ok(typed)) => official == typed,
        (Err(text), Err(error)) => is_same_error(text, error),
        _ => false,
    };
    (!is_same).then(|| format!("{official:?} in one interface, {typed:?} in the other"))
}

/// Whether the official text `<method> failed: <Name> ...` and the typed error name the same thing.
fn is_same_error(text: &str, error: &ReadError) -> bool {
    let name = |text: &str| {
        let letters = text.chars().take_while(char::is_ascii_alphanumeric);
        letters.collect::<String>()
    };
    let Some((_, official)) = text.split_once(" failed: ") else {
        return false;
    };
    let (official, typed) = (name(official), name(&format!("{error:?}")));
    // The typed error says where the tip was asked for; the official one, by what.
    official == typed || (official == "UnknownTipBlockHash" && typed == "UnknownTip")
}
