//! Readers: ask in every way and compare each answer with the model at the block it names.

use bitcoin::{Address, Network};
use millrace_candid::official::{
    GetBalanceRequest, GetUtxosRequest, NetworkInRequest, UtxosFilterInRequest,
};
use millrace_candid::{BlockId, GetBalanceArgs, GetUtxosArgs, Owner, ReadError, Utxo, UtxosFilter};
use serde_bytes::ByteBuf;

use crate::payment::{SCRIPTS, script};
use crate::run::{Checked, Failure, Run, require};
use crate::schedule::{Pick, Question};
use crate::seen::bytes_of;
use crate::subject::Subject;

/// Blocks that may be missing while reads without a tip are answered.
const TOLERANCE: u32 = 2;

/// A list that is being paged through.
pub(crate) struct Pager {
    owner: Owner,
    /// The block it is read at.
    place: usize,
    /// What is left of it.
    rest: Vec<Utxo>,
    token: ByteBuf,
    /// Coins of a page.
    limit: u32,
}

/// A question about one block.
#[derive(Clone, Copy)]
pub(crate) struct At {
    /// The block named, if one is.
    pub(crate) named: Option<usize>,
    /// The block to be answered at.
    pub(crate) place: usize,
    pub(crate) salt: u16,
}

impl<S: Subject> Run<S> {
    pub(crate) fn read(&mut self, question: Question, at: Option<Pick>, salt: u16) -> Checked {
        self.coverage.note("read", question);
        let named = at.map(|pick| self.place(pick));
        let at = At {
            named,
            place: named.unwrap_or(self.seen.tip),
            salt,
        };
        match question {
            Question::Utxos => self.read_utxos(at, None, 1_000),
            Question::UtxosConfirmed => self.read_utxos(at, Some(u32::from(salt) % 9), 1_000),
            Question::UtxosFirstPage => self.read_utxos(at, None, 1 + u32::from(salt) % 3),
            Question::UtxosNextPage => self.read_next_page(),
            Question::Balance => self.read_balance(at, u32::from(salt) % 7),
            Question::Balances => self.read_balances(at),
            Question::Outpoints => self.read_outpoints(at),
            Question::Block => self.read_block(at),
            Question::Headers => self.read_headers(at),
            Question::Transaction => self.read_transaction(at),
            Question::TransactionStatus => self.read_transaction_status(at),
            Question::ChainTips => self.read_chain_tips(at),
            Question::FeePercentiles => self.read_fees(at),
            Question::OfficialUtxos => self.read_official_utxos(salt, None),
            Question::OfficialUtxosConfirmed => {
                self.read_official_utxos(salt, Some(u32::from(salt) % 7))
            }
            Question::OfficialBalance => self.read_official_balance(salt),
            Question::UnknownTip => self.read_unknown_tip(salt),
        }
    }

    pub(crate) fn hash_at(&self, at: At) -> Option<ByteBuf> {
        at.named.map(|place| bytes_of(self.model.at(place).hash))
    }

    /// Judges that a read was answered: it might have been refused.
    pub(crate) fn answered(&mut self, at: At, tip: &BlockId) -> Checked {
        let place = self.named(&tip.hash)?;
        let (is_open, is_synced) = (self.is_open, self.is_synced()?);
        require(
            is_open && (at.named.is_some() || is_synced),
            "refused reads",
            || "answered while closed or not synced".to_owned(),
        )?;
        require(
            place == at.place && tip.height == self.model.at(place).height,
            "the tip of an answer",
            || format!("{tip:?}, not {}", self.describe(at.place)),
        )?;
        let is_connected = self.seen.connected.contains(&place);
        require(is_connected, "the tip of an answer", || {
            self.describe(place)
        })
    }

    /// Judges a refusal that any read can meet. Returns whether it was one.
    pub(crate) fn refused(&mut self, at: At, error: &ReadError) -> Result<bool, Failure> {
        let is_right = match error {
            ReadError::ApiDisabled => !self.is_open,
            ReadError::NotSynced { .. } => at.named.is_none() && !self.is_synced()?,
            ReadError::UnknownTip { .. } => !self.seen.connected.contains(&at.place),
            _ => return Ok(false),
        };
        self.coverage.note("refused read", error);
        require(is_right, "refused reads", || {
            format!("{error:?} for {}", self.describe(at.place))
        })?;
        Ok(true)
    }

    /// Judges a refusal, which must be one that any read can meet.
    pub(crate) fn only_refused(&mut self, at: At, error: &ReadError) -> Checked {
        let is_general = self.refused(at, error)?;
        require(is_general, "refused reads", || {
            format!("{error:?} for {}", self.describe(at.place))
        })
    }

    fn is_synced(&mut self) -> Result<bool, Failure> {
        let state = self.feed_state()?;
        Ok(state.best_header.height.saturating_sub(state.tip.height) <= TOLERANCE)
    }

    fn owner(&self, salt: u16) -> (u64, Owner) {
        let number = u64::from(salt / 16) % SCRIPTS;
        let script = script(number);
        let address = Address::from_script(&script, Network::Regtest);
        let owner = match address {
            Ok(address) if salt.is_multiple_of(2) => Owner::Address(address.to_string()),
            _ => Owner::Script(ByteBuf::from(script.to_bytes())),
        };
        (number, owner)
    }

    /// Returns the block with `confirmations` at and below which coins count; none where the canister
    /// cannot read so deep.
    fn confirmed(&self, place: usize, confirmations: u32) -> Option<usize> {
        let depth = confirmations.saturating_sub(1);
        let height = self.model.at(place).height.checked_sub(depth)?;
        let is_readable = height >= self.model.at(self.seen.anchor).height;
        is_readable
            .then(|| self.model.ancestor_at(place, height))
            .flatten()
    }

    fn read_utxos(&mut self, at: At, confirmations: Option<u32>, limit: u32) -> Checked {
        let (number, owner) = self.owner(at.salt);
        let answer = self.subject.utxos(&GetUtxosArgs {
            owner: owner.clone(),
            filter: confirmations.map(UtxosFilter::MinConfirmations),
            at_tip: self.hash_at(at),
            limit: Some(limit),
        });
        let from = self.confirmed(at.place, confirmations.unwrap_or(0));
        let page = match answer {
            Ok(page) => page,
            Err(ReadError::MinConfirmationsTooLarge { .. }) if from.is_none() => return Ok(()),
            Err(error) => return self.only_refused(at, &error),
        };
        let place = from.unwrap_or(at.place);
        self.answered(At { place, ..at }, &page.tip)?;
        let expected = self.model.utxos(place, &script(number));
        let shown = expected.len().min(limit as usize);
        let is_right =
            page.utxos == expected[..shown] && page.next_page.is_some() == (shown < expected.len());
        require(is_right, "coins of a script", || {
            format!(
                "{:?}, next {}, not {shown} of {expected:?} at {}",
                page.utxos,
                page.next_page.is_some(),
                self.describe(place)
            )
        })?;
        if let Some(token) = page.next_page {
            self.pager = Some(Pager {
                owner,
                place,
                rest: expected[shown..].to_vec(),
                token,
                limit,
            });
        }
        Ok(())
    }

    /// Goes on with a page of some heartbeats ago: at the same block, or not at all.
    fn read_next_page(&mut self) -> Checked {
        let Some(pager) = self.pager.take() else {
            return Ok(());
        };
        let at = At {
            named: Some(pager.place),
            place: pager.place,
            salt: 0,
        };
        let limit = pager.limit;
        let answer = self.subject.utxos(&GetUtxosArgs {
            owner: pager.owner.clone(),
            filter: Some(UtxosFilter::Page(pager.token)),
            at_tip: None,
            limit: Some(limit),
        });
        let page = match answer {
            Ok(page) => page,
            Err(error) => return self.only_refused(at, &error),
        };
        self.answered(at, &page.tip)?;
        let shown = pager.rest.len().min(limit as usize);
        let is_last = shown == pager.rest.len();
        let is_right = page.utxos == pager.rest[..shown] && page.next_page.is_none() == is_last;
        require(is_right, "further pages", || {
            format!(
                "{:?}, not {:?} at {}",
                page.utxos,
                pager.rest,
                self.describe(at.place)
            )
        })?;
        if let Some(token) = page.next_page {
            self.coverage.note("read", "PageAfterPage");
            self.pager = Some(Pager {
                rest: pager.rest[shown..].to_vec(),
                token,
                ..pager
            });
        }
        Ok(())
    }

    /// Reads a whole list page by page.
    pub(crate) fn check_all_pages(&mut self, place: usize, number: u64, limit: u32) -> Checked {
        let at = At {
            named: Some(place),
            place,
            salt: number as u16 * 16 + 1,
        };
        self.pager = None;
        self.read_utxos(at, None, limit)?;
        while self.pager.is_some() {
            self.read_next_page()?;
        }
        Ok(())
    }

    fn read_balance(&mut self, at: At, confirmations: u32) -> Checked {
        let (number, owner) = self.owner(at.salt);
        let answer = self.subject.balance(&GetBalanceArgs {
            owner,
            min_confirmations: Some(confirmations),
            at_tip: self.hash_at(at),
        });
        let from = self.confirmed(at.place, confirmations);
        let balance = match answer {
            Ok(balance) => balance,
            Err(ReadError::MinConfirmationsTooLarge { .. }) if from.is_none() => return Ok(()),
            Err(error) => return self.only_refused(at, &error),
        };
        let place = from.unwrap_or(at.place);
        self.answered(At { place, ..at }, &balance.tip)?;
        let coins = self.model.utxos(place, &script(number));
        let expected = (
            coins.iter().map(|coin| coin.value).sum(),
            coins.len() as u64,
        );
        require(
            (balance.balance, balance.utxo_count) == expected,
            "balance of a script",
            || format!("{balance:?}, not {expected:?}"),
        )
    }

    fn read_official_utxos(&mut self, salt: u16, confirmations: Option<u32>) -> Checked {
        let number = u64::from(salt) % (SCRIPTS - 2);
        let Ok(address) = Address::from_script(&script(number), Network::Regtest) else {
            return Ok(());
        };
        let answer = self.subject.official_utxos(GetUtxosRequest {
            address: address.to_string(),
            network: NetworkInRequest::Regtest,
            filter: confirmations.map(UtxosFilterInRequest::MinConfirmations),
        });
        let at = At {
            named: None,
            place: self.seen.tip,
            salt,
        };
        let from = self.confirmed(at.place, confirmations.unwrap_or(0));
        let page = match answer {
            Ok(page) => page,
            Err(text) => return self.official_refusal(&text, from.is_none()),
        };
        let place = from.unwrap_or(at.place);
        let tip = BlockId {
            hash: page.tip_block_hash,
            height: page.tip_height,
        };
        self.answered(At { place, ..at }, &tip)?;
        let expected = self.model.utxos(place, &script(number));
        let found = page
            .utxos
            .iter()
            .map(|utxo| (utxo.outpoint.clone(), utxo.value, utxo.height));
        let wanted = expected
            .iter()
            .map(|utxo| (utxo.outpoint.clone(), utxo.value, utxo.height));
        require(found.eq(wanted.take(1_000)), "official coins", || {
            format!("{:?}, not {expected:?}", page.utxos)
        })
    }

    fn read_official_balance(&mut self, salt: u16) -> Checked {
        let number = u64::from(salt) % (SCRIPTS - 2);
        let Ok(address) = Address::from_script(&script(number), Network::Regtest) else {
            return Ok(());
        };
        let answer = self.subject.official_balance(GetBalanceRequest {
            address: address.to_string(),
            network: NetworkInRequest::Regtest,
            min_confirmations: None,
        });
        let balance = match answer {
            Ok(balance) => balance,
            Err(text) => return self.official_refusal(&text, false),
        };
        let coins = self.model.utxos(self.seen.tip, &script(number));
        let expected: u64 = coins.iter().map(|coin| coin.value).sum();
        require(balance == expected, "official balance", || {
            format!("{balance}, not {expected}")
        })
    }

    fn official_refusal(&mut self, text: &str, is_too_deep: bool) -> Checked {
        let is_right = match text {
            "Bitcoin API is disabled" => !self.is_open,
            "Canister state is not fully synced." => !self.is_synced()?,
            other => is_too_deep && other.contains("MinConfirmationsTooLarge"),
        };
        self.coverage.note("refused read", "Official");
        require(is_right, "official refusals", || text.to_owned())
    }

    fn read_unknown_tip(&mut self, salt: u16) -> Checked {
        let (_, owner) = self.owner(salt);
        let answer = self.subject.balance(&GetBalanceArgs {
            owner,
            min_confirmations: None,
            at_tip: Some(ByteBuf::from([salt as u8; 32])),
        });
        let is_right = match &answer {
            Err(ReadError::UnknownTip { .. }) => self.is_open,
            Err(ReadError::ApiDisabled) => !self.is_open,
            _ => false,
        };
        require(is_right, "unknown tips", || format!("{answer:?}"))
    }
}
