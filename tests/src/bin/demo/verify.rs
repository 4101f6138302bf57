//! Compares every script of the block file with the recomputation: not a sample.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};
use bitcoin::ScriptBuf;
use futures_util::{StreamExt, TryStreamExt, stream};
use millrace_tests::coins::{CoinSet, PlacedCoin};
use millrace_tests::compare;

use crate::client::Client;

/// Queries under way at once.
const CONCURRENT: usize = 16;

/// Differences printed before the rest is only counted.
const SHOWN: usize = 10;

/// Asks for coins and balance of every script and prints the verdict.
///
/// # Errors
/// A call fails, or any answer differs.
pub async fn every_script(
    client: &Client,
    coins: &CoinSet,
    owners: &BTreeMap<ScriptBuf, Vec<PlacedCoin>>,
) -> Result<()> {
    let start = Instant::now();
    let differences: Vec<String> = stream::iter(owners)
        .map(|(script, expected)| async move {
            let owner = compare::owner(script);
            let utxos = client.utxos(&owner).await?;
            let balance = client.balance(&owner).await?;
            let difference = compare::difference(script, expected, &utxos, &balance);
            Ok::<_, anyhow::Error>(difference)
        })
        .buffer_unordered(CONCURRENT)
        .try_filter_map(|difference| async move { Ok(difference) })
        .try_collect()
        .await?;
    if !differences.is_empty() {
        for difference in differences.iter().take(SHOWN) {
            println!("  WRONG: {difference}");
        }
        bail!(
            "{} of {} scripts differ from the recomputation",
            differences.len(),
            owners.len()
        );
    }
    println!(
        "\nCompared with an independent recomputation from the block file: {} of {} scripts equal \
         ({} coins, {}), in {:.1} s",
        owners.len(),
        owners.len(),
        coins.len(),
        coins.total(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
