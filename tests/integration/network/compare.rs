//! What the canister and the node say of every output and every script of a chain.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, Denomination, OutPoint, ScriptBuf, Txid};
use futures_util::{StreamExt, stream};
use millrace_candid::{
    GetOutpointsArgs, GetOutpointsResult, GetUtxosArgs, GetUtxosResult, UnspentOutput,
};
use millrace_tests::compare::owner;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use super::world::World;
use crate::local_replica::{Deployed, query};

/// Outpoints of one question, the contract's limit.
const OUTPOINTS: usize = 100;

/// Queries under way at once.
const CONCURRENT: usize = 16;

/// A coin as both sides can say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Coin {
    satoshi: u64,
    script: Vec<u8>,
    height: u32,
    is_coinbase: bool,
}

impl World {
    /// Holds the canister's answers against the node's: every output of every block that was made, spent ones and
    /// those of other branches included, and every script. Returns how many coins there are.
    pub fn assert_same_as_the_node(&self) -> usize {
        self.reach_tip();
        let outpoints = outpoints(&self.blocks);
        let expected = self.coins_of_node(&outpoints);
        let deployed = &self.deployed;
        let found = self
            .runtime
            .block_on(coins_of_canister(deployed, &outpoints));
        for ((outpoint, found), expected) in outpoints.iter().zip(&found).zip(&expected) {
            assert_eq!(found, expected, "{outpoint}");
        }
        self.compare_scripts();
        expected.iter().flatten().count()
    }

    fn coins_of_node(&self, outpoints: &[OutPoint]) -> Vec<Option<Coin>> {
        let tip = self.node.call("getblockcount", &json!([]));
        let tip = tip.as_u64().expect("a height");
        let questions: Vec<Value> = outpoints
            .iter()
            .map(|outpoint| json!([outpoint.txid.to_string(), outpoint.vout, false]))
            .collect();
        let answers = self.node.call_many("gettxout", &questions);
        let coin = |answer: &Value| Coin {
            satoshi: satoshi(&answer["value"]),
            script: bytes(&answer["scriptPubKey"]["hex"]),
            height: height(tip + 1 - answer["confirmations"].as_u64().expect("a number")),
            is_coinbase: answer["coinbase"].as_bool().expect("a truth value"),
        };
        answers
            .iter()
            .map(|answer| (!answer.is_null()).then(|| coin(answer)))
            .collect()
    }

    /// Compares `get_utxos` with `scantxoutset`.
    fn compare_scripts(&self) {
        let scripts: BTreeSet<ScriptBuf> = self
            .blocks
            .iter()
            .flat_map(|block| &block.txdata)
            .flat_map(|transaction| &transaction.output)
            .map(|output| output.script_pubkey.clone())
            // A descriptor cannot name these: no script, one beyond the size of a coin's, and data.
            .filter(|script| !script.is_empty() && script.len() <= 10_000)
            .collect();
        let descriptors: Vec<String> = scripts
            .iter()
            .map(|script| format!("raw({})", hex::encode(script)))
            .collect();
        let scanned = self
            .node
            .call("scantxoutset", &json!(["start", descriptors]));
        assert_eq!(scanned["success"], true);
        let mut expected: BTreeMap<Vec<u8>, BTreeSet<(OutPoint, Coin)>> = BTreeMap::new();
        for unspent in scanned["unspents"].as_array().expect("a list") {
            let coin = Coin {
                satoshi: satoshi(&unspent["amount"]),
                script: bytes(&unspent["scriptPubKey"]),
                height: height(unspent["height"].as_u64().expect("a height")),
                is_coinbase: unspent["coinbase"].as_bool().expect("a truth value"),
            };
            let txid: Txid = unspent["txid"]
                .as_str()
                .expect("text")
                .parse()
                .expect("an id");
            let vout = height(unspent["vout"].as_u64().expect("an index"));
            let coins = expected.entry(coin.script.clone()).or_default();
            coins.insert((OutPoint { txid, vout }, coin));
        }
        for script in &scripts {
            let found = self
                .runtime
                .block_on(coins_of_script(&self.deployed, script));
            let expected = expected.remove(script.as_bytes()).unwrap_or_default();
            assert_eq!(found, expected, "{script}");
        }
        assert!(
            expected.is_empty(),
            "scripts that nobody made: {expected:?}"
        );
    }
}

fn outpoints(blocks: &[Block]) -> Vec<OutPoint> {
    let transactions = blocks.iter().flat_map(|block| &block.txdata);
    let outpoints: BTreeSet<OutPoint> = transactions
        .flat_map(|transaction| {
            let txid = transaction.compute_txid();
            (0..)
                .zip(&transaction.output)
                .map(move |(vout, _)| OutPoint { txid, vout })
        })
        .collect();
    outpoints.into_iter().collect()
}

fn satoshi(amount: &Value) -> u64 {
    let amount = Amount::from_str_in(&amount.to_string(), Denomination::Bitcoin);
    amount.expect("an amount in bitcoin").to_sat()
}

fn bytes(hex: &Value) -> Vec<u8> {
    hex::decode(hex.as_str().expect("text")).expect("hexadecimal digits")
}

fn height(number: u64) -> u32 {
    u32::try_from(number).expect("a small number")
}

async fn coins_of_canister(deployed: &Deployed, outpoints: &[OutPoint]) -> Vec<Option<Coin>> {
    let answers: Vec<Vec<Option<UnspentOutput>>> = stream::iter(outpoints.chunks(OUTPOINTS))
        .map(|outpoints| async move {
            let outpoints = outpoints.iter().map(|outpoint| millrace_candid::OutPoint {
                txid: ByteBuf::from(outpoint.txid.to_byte_array()),
                vout: outpoint.vout,
            });
            let args = GetOutpointsArgs {
                outpoints: outpoints.collect(),
                at_tip: None,
            };
            let answer: GetOutpointsResult = query(
                &deployed.agent,
                deployed.canister,
                "get_outpoints_query",
                (args,),
            )
            .await;
            answer.expect("the canister is synced").outputs
        })
        .buffered(CONCURRENT)
        .collect()
        .await;
    let outputs = answers.into_iter().flatten();
    outputs
        .map(|output| {
            output.map(|output| Coin {
                satoshi: output.value,
                script: output.script.into_vec(),
                height: output.height,
                is_coinbase: output.coinbase,
            })
        })
        .collect()
}

async fn coins_of_script(deployed: &Deployed, script: &ScriptBuf) -> BTreeSet<(OutPoint, Coin)> {
    let mut found = BTreeSet::new();
    let mut filter = None;
    loop {
        let args = GetUtxosArgs {
            owner: owner(script),
            filter,
            at_tip: None,
            limit: None,
        };
        let page: GetUtxosResult = query(
            &deployed.agent,
            deployed.canister,
            "get_utxos_query",
            (args,),
        )
        .await;
        let page = page.expect("the canister is synced");
        for utxo in page.utxos {
            let coin = Coin {
                satoshi: utxo.value,
                script: script.to_bytes(),
                height: utxo.height,
                is_coinbase: utxo.coinbase,
            };
            let txid = Txid::from_slice(&utxo.outpoint.txid).expect("32 bytes");
            let vout = utxo.outpoint.vout;
            assert!(
                found.insert((OutPoint { txid, vout }, coin)),
                "a coin came twice"
            );
        }
        match page.next_page {
            Some(next) => filter = Some(millrace_candid::UtxosFilter::Page(next)),
            None => return found,
        }
    }
}
