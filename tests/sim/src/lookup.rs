//! Readers of single things: outputs, blocks, headers, transactions, branches, fees.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, Transaction};
use millrace_candid as wire;
use millrace_candid::{
    BlockSelector, ChainTipStatus, GetBalancesArgs, GetBlockArgs, GetBlockHeadersArgs,
    GetChainTipsArgs, GetFeePercentilesArgs, GetOutpointsArgs, GetTransactionArgs,
    GetTransactionStatusArgs, HeaderSelector, Owner, ReadError, RelayError, TransactionStatus,
    UnspentOutput,
};
use serde_bytes::ByteBuf;

use crate::payment::{SCRIPTS, script};
use crate::read::At;
use crate::run::{Checked, Run, require};
use crate::seen::bytes_of;
use crate::subject::Subject;

/// Transactions that fee percentiles are made of, at most.
const FEE_TRANSACTIONS: usize = 10_000;

impl<S: Subject> Run<S> {
    pub(crate) fn read_balances(&mut self, at: At) -> Checked {
        let owners =
            (0..SCRIPTS).map(|number| Owner::Script(ByteBuf::from(script(number).to_bytes())));
        let answer = self.subject.balances(&GetBalancesArgs {
            owners: owners.collect(),
            min_confirmations: None,
            at_tip: self.hash_at(at),
        });
        let balances = match answer {
            Ok(balances) => balances,
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &balances.tip)?;
        let balances_there = self.model.balances(at.place);
        for (number, found) in (0..).zip(&balances.balances) {
            let expected = balances_there
                .get(&script(number))
                .copied()
                .unwrap_or_default();
            let is_right = (found.balance, found.utxo_count) == expected;
            require(is_right, "balances", || {
                format!("{found:?}, not {expected:?}")
            })?;
        }
        Ok(())
    }

    pub(crate) fn read_outpoints(&mut self, at: At) -> Checked {
        let transactions = self.model.ancestry(at.place).take(12).flat_map(|place| {
            let block = &self.model.at(place).block;
            block.txdata.iter()
        });
        let made = transactions.flat_map(|transaction| {
            let txid = transaction.compute_txid();
            (0..transaction.output.len() as u32).map(move |vout| OutPoint { txid, vout })
        });
        let outpoints: Vec<OutPoint> = made.skip(usize::from(at.salt % 16)).take(40).collect();
        let answer = self.subject.outpoints(&GetOutpointsArgs {
            outpoints: outpoints
                .iter()
                .map(|outpoint| wire::OutPoint {
                    txid: ByteBuf::from(outpoint.txid.to_byte_array()),
                    vout: outpoint.vout,
                })
                .collect(),
            at_tip: self.hash_at(at),
        });
        let found = match answer {
            Ok(found) => found,
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &found.tip)?;
        let block = self.model.at(at.place);
        let expected: Vec<Option<UnspentOutput>> = outpoints
            .iter()
            .map(|outpoint| {
                let coin = block.coins.as_deref()?.get(outpoint)?;
                Some(UnspentOutput {
                    value: coin.value,
                    script: ByteBuf::from(coin.script.to_bytes()),
                    height: coin.height,
                    confirmations: block.height + 1 - coin.height,
                    coinbase: coin.coinbase,
                })
            })
            .collect();
        require(found.outputs == expected, "outputs by name", || {
            format!("{:?}, not {expected:?}", found.outputs)
        })
    }

    pub(crate) fn read_block(&mut self, at: At) -> Checked {
        let wanted = self.model.ancestry(at.place).nth(usize::from(at.salt % 5));
        let wanted = wanted.unwrap_or(at.place);
        let select = match at.salt % 2 {
            0 => BlockSelector::Hash(bytes_of(self.model.at(wanted).hash)),
            _ => BlockSelector::Height(self.model.at(wanted).height),
        };
        let answer = self.subject.block(&GetBlockArgs {
            select,
            offset: None,
            max_bytes: None,
            at_tip: self.hash_at(at),
        });
        let is_held = self.seen.connected.contains(&wanted) && wanted != self.seen.anchor;
        let found = match answer {
            Ok(found) => found,
            Err(ReadError::BlockNotHeld { .. } | ReadError::UnknownBlock { .. }) => {
                return require(!is_held, "blocks", || self.describe(wanted));
            }
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &found.tip)?;
        let bytes = found.bytes.as_slice();
        let mut forms = self.forms.get(&wanted).into_iter().flatten();
        let is_right = found.size as usize <= bytes.len() || found.size > 1_900_000;
        let is_form = self.model.at(wanted).bytes.starts_with(bytes)
            || forms.any(|form| form.starts_with(bytes));
        require(
            is_right && is_form && self.named(&found.block.hash)? == wanted,
            "blocks",
            || format!("{} bytes of {}", bytes.len(), self.describe(wanted)),
        )
    }

    pub(crate) fn read_headers(&mut self, at: At) -> Checked {
        let top = self.model.at(at.place).height;
        let start_height = top.saturating_sub(u32::from(at.salt % 20));
        let answer = self.subject.headers(&GetBlockHeadersArgs {
            select: HeaderSelector::Range {
                start_height,
                end_height: None,
            },
            at_tip: self.hash_at(at),
        });
        let found = match answer {
            Ok(found) => found,
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &found.tip)?;
        let mut expected: Vec<ByteBuf> = self
            .model
            .ancestry(at.place)
            .take_while(|place| self.model.at(*place).height >= start_height)
            .map(|place| ByteBuf::from(serialize(&self.model.at(place).block.header)))
            .collect();
        expected.reverse();
        require(found.headers == expected, "headers", || {
            format!(
                "{} headers from {start_height}, not {}",
                found.headers.len(),
                expected.len()
            )
        })
    }

    pub(crate) fn read_transaction(&mut self, at: At) -> Checked {
        let from = self.model.ancestry(at.place).nth(usize::from(at.salt % 8));
        let from = self.model.at(from.unwrap_or(at.place));
        let index = usize::from(at.salt / 8) % from.block.txdata.len();
        let txid = from.block.txdata[index].compute_txid();
        let answer = self.subject.transaction(&GetTransactionArgs {
            txid: ByteBuf::from(txid.to_byte_array()),
            block: None,
            at_tip: self.hash_at(at),
        });
        let place = self.model.find(at.place, &txid);
        let base = self.model.at(self.seen.anchor).height;
        let is_held = |place: usize| self.model.at(place).height > base;
        let found = match answer {
            Ok(found) => found,
            Err(ReadError::TransactionNotFound { .. }) => {
                let is_right = place.is_none_or(|(place, _)| !is_held(place));
                return require(is_right, "transactions", || format!("{txid} is not found"));
            }
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &found.tip)?;
        let decoded: Result<Transaction, _> = deserialize(&found.transaction);
        let is_same = decoded.is_ok_and(|found| found.compute_txid() == txid);
        let shown = (self.named(&found.block.hash)?, found.index as usize);
        let is_right = is_same && Some(shown) == place;
        require(is_right, "transactions", || {
            format!("{txid} at {shown:?}, not {place:?}")
        })
    }

    pub(crate) fn read_transaction_status(&mut self, at: At) -> Checked {
        let Some(sent) = self.sent.get(usize::from(at.salt) % self.sent.len().max(1)) else {
            return Ok(());
        };
        let txid = sent.transaction.compute_txid();
        let is_reported = sent.is_reported;
        let included = self.model.find(at.place, &txid).map(|(place, _)| place);
        let was_before = included.is_some_and(|place| sent.before.contains(&place));
        let answer = self.subject.transaction_status(&GetTransactionStatusArgs {
            txid: ByteBuf::from(txid.to_byte_array()),
            at_tip: self.hash_at(at),
        });
        let standing = match answer {
            Ok(standing) => standing,
            Err(RelayError::UnknownTip { .. }) => {
                let is_right = !self.seen.connected.contains(&at.place);
                return require(is_right, "status of transactions", || {
                    self.describe(at.place)
                });
            }
            Err(error) => return require(false, "status of transactions", || format!("{error:?}")),
        };
        self.coverage.note("standing", &standing.status);
        let is_right = match &standing.status {
            TransactionStatus::Confirmed { block, .. } => {
                included == Some(self.named(&block.hash)?)
            }
            TransactionStatus::Rejected { .. } => is_reported && (included.is_none() || was_before),
            _ => included.is_none() || was_before,
        };
        require(is_right, "status of transactions", || {
            format!("{txid} is {:?}, in {included:?}", standing.status)
        })
    }

    pub(crate) fn read_chain_tips(&mut self, at: At) -> Checked {
        let answer = self.subject.chain_tips(&GetChainTipsArgs {
            at_tip: self.hash_at(at),
        });
        let tips = match answer {
            Ok(tips) => tips,
            Err(error) => return self.only_refused(at, &error),
        };
        let active = tips.tips.first().map(|tip| tip.status);
        require(active == Some(ChainTipStatus::Active), "branches", || {
            format!("the first one is {active:?}")
        })?;
        for tip in &tips.tips {
            let place = self.named(&tip.block.hash)?;
            let is_connected = self.seen.connected.contains(&place);
            let is_right = match tip.status {
                ChainTipStatus::Active => place == at.place && is_connected,
                ChainTipStatus::Connected => is_connected,
                ChainTipStatus::Held => self.seen.held.contains(&place) || !self.seen.is_complete,
                ChainTipStatus::HeaderOnly => !self.seen.has(place),
                ChainTipStatus::Invalid => {
                    !self.model.at(place).is_valid || self.may_be_given_up(place)
                }
            };
            require(is_right, "branches", || {
                format!("{:?}: {}", tip.status, self.describe(place))
            })?;
        }
        Ok(())
    }

    pub(crate) fn read_fees(&mut self, at: At) -> Checked {
        let answer = self.subject.fees(&GetFeePercentilesArgs {
            at_tip: self.hash_at(at),
        });
        let fees = match answer {
            Ok(fees) => fees,
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &fees.tip)?;
        let root = self.model.at(self.seen.anchor).height;
        let path = self.model.ancestry(at.place);
        let path = path.take_while(|place| self.model.at(*place).height >= root);
        let path: Vec<usize> = path.collect();
        let found = &fees.millisatoshi_per_vbyte;
        let mut rates: Vec<u64> = {
            let rates = path.iter().flat_map(|place| &self.model.at(*place).rates);
            rates.copied().collect()
        };
        rates.sort_unstable();
        // Other bytes than the block's own have other sizes.
        let is_known = path.iter().all(|place| !self.forms.contains_key(place));
        let is_right = match rates.len() {
            0 => found.is_empty(),
            count if is_known && count <= FEE_TRANSACTIONS => {
                let ranks = (0..=100).map(|percent| (percent * count).div_ceil(100).max(1));
                ranks.map(|rank| rates[rank - 1]).eq(found.iter().copied())
            }
            _ => found.len() == 101 && found.is_sorted(),
        };
        require(is_right, "fee percentiles", || {
            format!("{found:?} of {} rates {rates:?}", rates.len())
        })
    }
}
