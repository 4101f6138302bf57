//! Every read endpoint of both interfaces, as update and as query.

use anyhow::{Context, Result, bail};
use bitcoin::Script;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use candid::types::Label;
use candid::types::value::{IDLArgs, IDLValue};
use candid::{CandidType, decode_one, encode_args, encode_one};
use millrace_candid::official::{self, NetworkInRequest};
use millrace_candid::{
    BlockSelector, GetBalanceArgs, GetBalancesArgs, GetBlockArgs, GetBlockHeadersArgs,
    GetFeePercentilesArgs, GetOutpointsArgs, GetTransactionArgs, GetTransactionStatusArgs,
    GetTransactionsToRelayArgs, GetUtxosArgs, HeaderSelector, HttpRequest, InclusionProof,
    OutPoint, Owner, ReadError, SendTransactionArgs, TransactionReport, UtxosFilter, UtxosPage,
    VerifyTxInclusionArgs,
};
use millrace_subnet::MessageKind;
use serde_bytes::ByteBuf;

use crate::canister::{Canister, succeeded};
use crate::counts::{Counts, Row};
use crate::sample::{Sample, branch};

/// Pages of one list, at most: no list here is that long.
const PAGES_MAX: usize = 1_000;

/// How an endpoint exists.
#[derive(Clone, Copy)]
enum As {
    /// As update, and as query with `_query` after its name.
    Both,
    /// As update.
    Update,
    /// As query, under its own name.
    Query,
}

/// One call to measure.
struct Call {
    /// Row name without how it is called.
    name: String,
    method: &'static str,
    how: As,
    payload: Vec<u8>,
}

/// Named rows.
pub type Rows = Vec<(String, Row)>;

/// Measures every read endpoint on what a canister has taken in.
///
/// # Errors
/// A call fails, or a read answers with the wrong number of coins.
pub fn measure(canister: &mut Canister, sample: &Sample) -> Result<Rows> {
    let mut rows = Rows::new();
    for call in calls(sample)? {
        measure_call(canister, &call, &mut rows)
            .with_context(|| format!("measuring {}", call.name))?;
    }
    for asked in &sample.owners {
        pages(canister, &asked.script()?, asked.utxos, &mut rows)?;
    }
    Ok(rows)
}

/// Measures reads of coins and balances alone.
///
/// # Errors
/// A call fails, or a read answers with the wrong number of coins.
pub fn measure_coins(canister: &mut Canister, sample: &Sample) -> Result<Rows> {
    let mut rows = Rows::new();
    for call in coin_reads(sample)? {
        measure_call(canister, &call, &mut rows)
            .with_context(|| format!("measuring {}", call.name))?;
    }
    for asked in &sample.owners {
        pages(canister, &asked.script()?, asked.utxos, &mut rows)?;
    }
    Ok(rows)
}

fn measure_call(canister: &mut Canister, call: &Call, rows: &mut Rows) -> Result<()> {
    if matches!(call.how, As::Both | As::Update) {
        canister.records()?;
        let reply = canister.update(call.method, call.payload.clone())?;
        check(call.method, &reply)?;
        let counts = taken(canister, MessageKind::Update)?;
        rows.push((format!("{}.update", call.name), read_row(&counts, &reply)));
    }
    let method = match call.how {
        As::Both => format!("{}_query", call.method),
        As::Query => call.method.to_owned(),
        As::Update => return Ok(()),
    };
    canister.records()?;
    let reply = canister.query(&method, call.payload.clone())?;
    check(call.method, &reply)?;
    let counts = taken(canister, MessageKind::Query)?;
    rows.push((format!("{}.query", call.name), read_row(&counts, &reply)));
    Ok(())
}

/// A row of one read, with the bytes of its reply: each of them costs 50 instructions on the IC, whatever
/// computed it, so that they are most of a read's floor.
fn read_row(counts: &Counts, reply: &[u8]) -> Row {
    let mut row = counts.row();
    row.insert("reply_bytes".to_owned(), reply.len() as u64);
    row
}

/// Refuses a reply that is an error: its cost says nothing.
fn check(method: &str, reply: &[u8]) -> Result<()> {
    let error = Label::Named("Err".to_owned()).get_id();
    let reply = IDLArgs::from_bytes(reply)?;
    match reply.args.first() {
        Some(IDLValue::Variant(variant)) if variant.0.id.get_id() == error => {
            bail!(
                "{method} answers with the error {}",
                IDLValue::Variant(variant.clone())
            )
        }
        _ => Ok(()),
    }
}

/// The counts of the one message of this kind since the last look.
fn taken(canister: &mut Canister, kind: MessageKind) -> Result<Counts> {
    let mut counts = Counts::default();
    for record in canister
        .records()?
        .iter()
        .filter(|record| record.kind == kind)
    {
        counts.add(record);
    }
    if counts.messages != 1 {
        bail!("{} messages of kind {kind:?} ran, not one", counts.messages);
    }
    Ok(counts)
}

/// Asks for all of an owner's coins, page by page, as update calls.
fn pages(canister: &mut Canister, script: &Script, utxos: u64, rows: &mut Rows) -> Result<()> {
    if utxos <= 1_000 {
        return Ok(());
    }
    let mut args = get_utxos(script);
    let (mut total, mut worst, mut found) = (Counts::default(), Counts::default(), 0);
    let mut replies = Vec::new();
    for _ in 0..PAGES_MAX {
        canister.records()?;
        let reply = canister.update("get_utxos", encode_one(&args)?)?;
        let page = succeeded::<UtxosPage, ReadError>(&reply)?;
        let counts = taken(canister, MessageKind::Update)?;
        total.join(&counts);
        if counts.instructions > worst.instructions {
            worst = counts;
        }
        found += page.utxos.len() as u64;
        replies.extend(reply);
        match page.next_page {
            Some(next) => args.filter = Some(UtxosFilter::Page(next)),
            None => break,
        }
    }
    if found != utxos {
        bail!("an owner of {utxos} coins is shown {found}");
    }
    let all = read_row(&total, &replies);
    rows.push((format!("get_utxos.{utxos}.all_pages"), all));
    rows.push((format!("get_utxos.{utxos}.worst_page"), worst.row()));
    Ok(())
}

fn get_utxos(script: &Script) -> GetUtxosArgs {
    GetUtxosArgs {
        owner: owner(script),
        filter: None,
        at_tip: None,
        limit: None,
    }
}

fn owner(script: &Script) -> Owner {
    Owner::Script(ByteBuf::from(script.to_bytes()))
}

fn calls(sample: &Sample) -> Result<Vec<Call>> {
    let mut calls = coin_reads(sample)?;
    calls.extend(official_reads(sample)?);
    calls.extend(chain_reads(sample)?);
    calls.extend(plain_reads()?);
    calls.extend(sending(sample)?);
    Ok(calls)
}

fn call(name: &str, method: &'static str, how: As, argument: impl CandidType) -> Result<Call> {
    Ok(Call {
        name: name.to_owned(),
        method,
        how,
        payload: encode_one(argument)?,
    })
}

fn coin_reads(sample: &Sample) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for asked in &sample.owners {
        let script = asked.script()?;
        let balance = GetBalanceArgs {
            owner: owner(&script),
            min_confirmations: None,
            at_tip: None,
        };
        let name = format!("get_balance.{}", asked.utxos);
        calls.push(call(&name, "get_balance", As::Both, balance)?);
        let name = format!("get_utxos.{}.first_page", asked.utxos);
        calls.push(call(&name, "get_utxos", As::Both, get_utxos(&script))?);
    }
    let balances = GetBalancesArgs {
        owners: sample
            .scripts()?
            .iter()
            .map(|script| owner(script))
            .collect(),
        min_confirmations: None,
        at_tip: None,
    };
    calls.push(call(
        "get_balances.100",
        "get_balances",
        As::Both,
        balances,
    )?);
    let outpoints = sample.outpoints()?.into_iter().map(|outpoint| OutPoint {
        txid: ByteBuf::from(outpoint.txid.to_byte_array()),
        vout: outpoint.vout,
    });
    let outpoints = GetOutpointsArgs {
        outpoints: outpoints.collect(),
        at_tip: None,
    };
    calls.push(call(
        "get_outpoints.100",
        "get_outpoints",
        As::Both,
        outpoints,
    )?);
    Ok(calls)
}

fn official_reads(sample: &Sample) -> Result<Vec<Call>> {
    let network = NetworkInRequest::Regtest;
    let mut calls = Vec::new();
    for asked in &sample.owners {
        let address = asked.address()?;
        let balance = official::GetBalanceRequest {
            address: address.clone(),
            network,
            min_confirmations: None,
        };
        let name = format!("bitcoin_get_balance.{}", asked.utxos);
        calls.push(call(&name, "bitcoin_get_balance", As::Both, balance)?);
        let utxos = official::GetUtxosRequest {
            address,
            network,
            filter: None,
        };
        let name = format!("bitcoin_get_utxos.{}.first_page", asked.utxos);
        calls.push(call(&name, "bitcoin_get_utxos", As::Both, utxos)?);
    }
    let headers = official::GetBlockHeadersRequest {
        start_height: sample.height.saturating_sub(99),
        end_height: Some(sample.height),
        network,
    };
    calls.push(call(
        "bitcoin_get_block_headers.100",
        "bitcoin_get_block_headers",
        As::Update,
        headers,
    )?);
    calls.push(call(
        "bitcoin_get_current_fee_percentiles",
        "bitcoin_get_current_fee_percentiles",
        As::Update,
        official::GetCurrentFeePercentilesRequest { network },
    )?);
    Ok(calls)
}

fn chain_reads(sample: &Sample) -> Result<Vec<Call>> {
    let block = sample.block()?;
    let hash = ByteBuf::from(block.block_hash().to_byte_array());
    let position = block.txdata.len() / 2;
    let txid = ByteBuf::from(block.txdata[position].compute_txid().to_byte_array());
    let headers = |select| GetBlockHeadersArgs {
        select,
        at_tip: None,
    };
    let hundred = headers(HeaderSelector::Range {
        start_height: sample.height.saturating_sub(99),
        end_height: Some(sample.height),
    });
    let one = headers(HeaderSelector::Hash(hash.clone()));
    let get_block = GetBlockArgs {
        select: BlockSelector::Hash(hash.clone()),
        offset: None,
        max_bytes: None,
        at_tip: None,
    };
    let transaction = |block| GetTransactionArgs {
        txid: txid.clone(),
        block,
        at_tip: None,
    };
    let siblings = branch(&block, position).into_iter().map(ByteBuf::from);
    let proof = VerifyTxInclusionArgs {
        txid: txid.clone(),
        proof: InclusionProof::Branch {
            block: hash.clone(),
            position: u32::try_from(position).context("a position in a block")?,
            siblings: siblings.collect(),
        },
        at_tip: None,
    };
    let percentiles = GetFeePercentilesArgs::default();
    Ok(vec![
        call(
            "get_block_headers.100",
            "get_block_headers",
            As::Both,
            hundred,
        )?,
        call("get_block_headers.hash", "get_block_headers", As::Both, one)?,
        call("get_block", "get_block", As::Both, get_block)?,
        call(
            "get_transaction.with_block",
            "get_transaction",
            As::Both,
            transaction(Some(hash)),
        )?,
        call(
            "get_transaction.by_id",
            "get_transaction",
            As::Both,
            transaction(None),
        )?,
        call(
            "verify_tx_inclusion",
            "verify_tx_inclusion",
            As::Both,
            proof,
        )?,
        call(
            "get_fee_percentiles",
            "get_fee_percentiles",
            As::Both,
            percentiles,
        )?,
    ])
}

fn plain_reads() -> Result<Vec<Call>> {
    let nothing = encode_args(())?;
    let plain = |method: &'static str, how| Call {
        name: method.to_owned(),
        method,
        how,
        payload: nothing.clone(),
    };
    let page = |url: &str| HttpRequest {
        url: url.to_owned(),
        method: "GET".to_owned(),
        body: ByteBuf::new(),
        headers: Vec::new(),
    };
    Ok(vec![
        plain("get_chain_tips", As::Both),
        plain("get_status", As::Both),
        plain("get_blockchain_info", As::Query),
        plain("get_config", As::Query),
        call("http.metrics", "http_request", As::Query, page("/metrics"))?,
        call("http.health", "http_request", As::Query, page("/health"))?,
        call(
            "feed_state",
            "feed_state",
            As::Query,
            millrace_candid::FeedStateArgs::default(),
        )?,
    ])
}

/// Sending comes last: it changes the outbox.
fn sending(sample: &Sample) -> Result<Vec<Call>> {
    let block = sample.block()?;
    let transactions = block
        .txdata
        .get(1..3)
        .context("the block holds transactions")?;
    let bytes: Vec<Vec<u8>> = transactions.iter().map(serialize).collect();
    let txid = ByteBuf::from(transactions[0].compute_txid().to_byte_array());
    let sent = official::SendTransactionRequest {
        network: NetworkInRequest::Regtest,
        transaction: bytes[0].clone(),
    };
    let typed = SendTransactionArgs {
        transaction: ByteBuf::from(bytes[1].clone()),
    };
    Ok(vec![
        call(
            "bitcoin_send_transaction",
            "bitcoin_send_transaction",
            As::Update,
            sent,
        )?,
        call("send_transaction", "send_transaction", As::Update, typed)?,
        call(
            "get_transaction_status",
            "get_transaction_status",
            As::Both,
            GetTransactionStatusArgs { txid, at_tip: None },
        )?,
        call(
            "get_transactions_to_relay",
            "get_transactions_to_relay",
            As::Query,
            GetTransactionsToRelayArgs::default(),
        )?,
        call(
            "report_transactions.none",
            "report_transactions",
            As::Update,
            Vec::<TransactionReport>::new(),
        )?,
    ])
}

/// Answers that an upgrade must not change, as bytes.
///
/// # Errors
/// A call fails.
pub fn answers(canister: &mut Canister, sample: &Sample) -> Result<Vec<(String, Vec<u8>)>> {
    let reads = coin_reads(sample)?.into_iter().chain(chain_reads(sample)?);
    let mut answers = Vec::new();
    for read in reads {
        let method = format!("{}_query", read.method);
        answers.push((read.name, canister.query(&method, read.payload)?));
    }
    let info = canister.query("get_blockchain_info", encode_args(())?)?;
    answers.push(("get_blockchain_info".to_owned(), info));
    Ok(answers)
}

/// A sample of `/metrics` by its name without `millrace_`.
///
/// # Errors
/// There is none of that name.
pub fn metric(canister: &mut Canister, name: &str) -> Result<u64> {
    let request = HttpRequest {
        url: "/metrics".to_owned(),
        method: "GET".to_owned(),
        body: ByteBuf::new(),
        headers: Vec::new(),
    };
    let reply = canister.query("http_request", encode_one(request)?)?;
    let response: millrace_candid::HttpResponse = decode_one(&reply)?;
    let text = String::from_utf8(response.body.into_vec())?;
    let prefix = format!("millrace_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    let value = line.with_context(|| format!("/metrics has no {name}"))?;
    value.parse().with_context(|| format!("{name} is {value}"))
}
