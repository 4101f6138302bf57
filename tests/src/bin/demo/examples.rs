//! The named examples: owners whose coins anybody can look up.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bitcoin::{Address, Block, Network, Script, ScriptBuf};
use millrace_candid::Owner;
use millrace_tests::coins::PlacedCoin;
use millrace_tests::compare;

use crate::client::Client;
use crate::table;

/// The address with the most coins of those years' few addresses.
const ADDRESS: &str = "12higDjoCCNXSA95xZMWUdPvXNmkAduhWv";

/// Height of the block with the first payment from one person to another.
const FIRST_PAYMENT: usize = 170;

/// How many of the largest balances are shown.
const LARGEST: usize = 5;

/// Asks for every example, prints the table and returns whether all are as recomputed.
///
/// # Errors
/// A call fails.
pub async fn show(
    client: &Client,
    blocks: &[Block],
    owners: &BTreeMap<ScriptBuf, Vec<PlacedCoin>>,
) -> Result<bool> {
    let address: Address = ADDRESS
        .parse::<Address<_>>()
        .context("a known address")?
        .require_network(Network::Bitcoin)
        .context("a mainnet address")?;
    let mut right = true;
    println!("By address");
    table::title();
    let owner = Owner::Address(ADDRESS.to_owned());
    right &= row(client, &owner, &address.script_pubkey(), owners).await?;

    if let Some(payment) = blocks
        .get(FIRST_PAYMENT)
        .and_then(|block| block.txdata.get(1))
    {
        println!(
            "\nBy script: both outputs of the first payment, block {FIRST_PAYMENT}, transaction {}",
            payment.compute_txid()
        );
        table::title();
        for output in &payment.output {
            let script = &output.script_pubkey;
            right &= row(client, &compare::owner(script), script, owners).await?;
        }
        outcome_of_first_payment(payment, owners);
    }

    let genesis = blocks.first().context("the chain has a genesis block")?;
    let script = &genesis.txdata[0].output[0].script_pubkey;
    println!(
        "\nBy script: the genesis coinbase, which can never be spent; this canister counts it, Bitcoin Core does not"
    );
    table::title();
    right &= row(client, &compare::owner(script), script, owners).await?;

    println!("\nBy script: the {LARGEST} largest balances");
    table::title();
    for script in largest(owners) {
        right &= row(client, &compare::owner(script), script, owners).await?;
    }
    Ok(right)
}

async fn row(
    client: &Client,
    owner: &Owner,
    script: &Script,
    owners: &BTreeMap<ScriptBuf, Vec<PlacedCoin>>,
) -> Result<bool> {
    let utxos = client.utxos(owner).await?;
    let balance = client.balance(owner).await?;
    table::row(
        &compare::label(script, Network::Bitcoin),
        balance.balance,
        &utxos,
    );
    let expected = owners.get(script).map_or(&[][..], Vec::as_slice);
    match compare::difference(script, expected, &utxos, &balance) {
        None => Ok(true),
        Some(difference) => {
            println!("  WRONG: {difference}");
            Ok(false)
        }
    }
}

/// Says what became of each output since.
fn outcome_of_first_payment(
    payment: &bitcoin::Transaction,
    owners: &BTreeMap<ScriptBuf, Vec<PlacedCoin>>,
) {
    let txid = payment.compute_txid();
    for (vout, output) in (0..).zip(&payment.output) {
        let unspent = owners.get(&output.script_pubkey).is_some_and(|coins| {
            coins
                .iter()
                .any(|(outpoint, _)| (outpoint.txid, outpoint.vout) == (txid, vout))
        });
        println!(
            "  output {vout} ({}) is {}",
            output.value,
            if unspent {
                "unspent at this height"
            } else {
                "spent by now"
            }
        );
    }
}

fn largest(owners: &BTreeMap<ScriptBuf, Vec<PlacedCoin>>) -> Vec<&ScriptBuf> {
    let mut balances: Vec<_> = owners
        .iter()
        .map(|(script, coins)| {
            let satoshi: u64 = coins.iter().map(|(_, coin)| coin.value.to_sat()).sum();
            (std::cmp::Reverse(satoshi), script)
        })
        .collect();
    balances.sort();
    balances
        .into_iter()
        .take(LARGEST)
        .map(|(_, script)| script)
        .collect()
}
