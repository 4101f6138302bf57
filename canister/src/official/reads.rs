//! `bitcoin_get_utxos`, `bitcoin_get_balance` and `bitcoin_get_block_headers`.

use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::ReadError;
use millrace_candid::official::{
    GetBalanceError, GetBalanceRequest, GetBlockHeadersError, GetBlockHeadersRequest,
    GetBlockHeadersResponse, GetUtxosError, GetUtxosRequest, GetUtxosResponse, NetworkInRequest,
    UtxosFilter,
};
use millrace_core::page::PAGE_BYTES;
use serde_bytes::ByteBuf;

use super::{Mode, Refusal};
use crate::api::next_page;
use crate::guard::{Payment, charge, require};
use crate::{App, Env, convert};

/// Headers in one response, at most.
pub const MAX_HEADERS: u32 = 100;

impl<M: Memory> App<M> {
    /// `bitcoin_get_utxos`: one page of an address's coins. Charges the base price, then by
    /// instructions up to the maximum, which must be attached.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_utxos(
        &self,
        env: &impl Env,
        payment: &impl Payment,
        request: GetUtxosRequest,
    ) -> Result<GetUtxosResponse, Refusal> {
        self.check_official(request.network)?;
        let fees = &self.config.fees;
        require(payment, fees.get_utxos_maximum)?;
        charge(payment, fees.get_utxos_base)?;
        let response = self.official_utxos("get_utxos", request)?;
        payment.accept(metered(
            env,
            fees.get_utxos_cycles_per_ten_instructions,
            fees.get_utxos_maximum,
            fees.get_utxos_base,
        ));
        Ok(response)
    }

    /// `bitcoin_get_utxos_query`: the same, uncertified and free.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_utxos_query(
        &self,
        mode: Mode,
        request: GetUtxosRequest,
    ) -> Result<GetUtxosResponse, Refusal> {
        mode.check("get_utxos_query")?;
        self.check_official(request.network)?;
        self.official_utxos("get_utxos_query", request)
    }

    /// `bitcoin_get_balance`: satoshi of an address. Charges a flat price; a larger maximum must be
    /// attached.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_balance(
        &self,
        payment: &impl Payment,
        request: GetBalanceRequest,
    ) -> Result<u64, Refusal> {
        self.check_official(request.network)?;
        require(payment, self.config.fees.get_balance_maximum)?;
        charge(payment, self.config.fees.get_balance)?;
        self.official_balance("get_balance", request)
    }

    /// `bitcoin_get_balance_query`: the same, uncertified and free.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_balance_query(
        &self,
        mode: Mode,
        request: GetBalanceRequest,
    ) -> Result<u64, Refusal> {
        mode.check("get_balance_query")?;
        self.check_official(request.network)?;
        self.official_balance("get_balance_query", request)
    }

    /// `bitcoin_get_block_headers`: headers of the best chain by height. Charges as
    /// [`App::bitcoin_get_utxos`] does.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_block_headers(
        &self,
        env: &impl Env,
        payment: &impl Payment,
        request: &GetBlockHeadersRequest,
    ) -> Result<GetBlockHeadersResponse, Refusal> {
        self.check_official(request.network)?;
        let fees = &self.config.fees;
        require(payment, fees.get_block_headers_maximum)?;
        charge(payment, fees.get_block_headers_base)?;
        let response = self.official_headers(request)?;
        payment.accept(metered(
            env,
            fees.get_block_headers_cycles_per_ten_instructions,
            fees.get_block_headers_maximum,
            fees.get_block_headers_base,
        ));
        Ok(response)
    }

    /// The checks before every official read, in the official order.
    pub(super) fn check_official(&self, network: NetworkInRequest) -> Result<(), Refusal> {
        self.check_reads()?;
        self.check_network(network)?;
        self.check_synced()?;
        Ok(())
    }

    fn official_utxos(
        &self,
        method: &str,
        request: GetUtxosRequest,
    ) -> Result<GetUtxosResponse, Refusal> {
        let filter = match request.filter.map(UtxosFilter::from) {
            None => None,
            Some(UtxosFilter::MinConfirmations(min)) => {
                Some(wire::UtxosFilter::MinConfirmations(min))
            }
            Some(UtxosFilter::Page(page)) if page.len() != PAGE_BYTES => {
                let err = format!(
                    "Could not parse the page, the length is {}, but the expected length is {PAGE_BYTES}.",
                    page.len()
                );
                return Err(Refusal::failed(
                    method,
                    &GetUtxosError::MalformedPage { err },
                ));
            }
            Some(UtxosFilter::Page(page)) => Some(wire::UtxosFilter::Page(page)),
        };
        let page = self.coins_page(&wire::GetUtxosArgs {
            owner: wire::Owner::Address(request.address),
            filter,
            at_tip: None,
            limit: None,
        });
        let (tip, page) = page.map_err(|error| match utxos_error(&error) {
            Some(official) => Refusal::failed(method, &official),
            None => Refusal::defect(method, &error),
        })?;
        Ok(GetUtxosResponse {
            utxos: page.coins.iter().map(convert::official_utxo).collect(),
            tip_block_hash: convert::hash(tip.hash),
            tip_height: tip.height.get(),
            next_page: next_page(tip, &page),
        })
    }

    fn official_balance(&self, method: &str, request: GetBalanceRequest) -> Result<u64, Refusal> {
        let balance = self.balance_of(&wire::GetBalanceArgs {
            owner: wire::Owner::Address(request.address),
            min_confirmations: request.min_confirmations,
            at_tip: None,
        });
        let balance = balance.map_err(|error| match balance_error(&error) {
            Some(official) => Refusal::failed(method, &official),
            None => Refusal::defect(method, &error),
        })?;
        Ok(balance.balance)
    }

    fn official_headers(
        &self,
        request: &GetBlockHeadersRequest,
    ) -> Result<GetBlockHeadersResponse, Refusal> {
        let args = wire::GetBlockHeadersArgs {
            select: wire::HeaderSelector::Range {
                start_height: request.start_height,
                end_height: request.end_height,
            },
            at_tip: None,
        };
        let method = "get_block_headers";
        let found = self.headers_of(&args, MAX_HEADERS);
        let found = found.map_err(|error| match headers_error(&error) {
            Some(official) => Refusal::failed(method, &official),
            None => Refusal::defect(method, &error),
        })?;
        let above = convert::length(found.headers.len()).saturating_sub(1);
        Ok(GetBlockHeadersResponse {
            tip_height: found.first_height.saturating_add(above),
            block_headers: found.headers,
        })
    }
}

/// Returns what is charged besides the base price.
fn metered(env: &impl Env, per_ten_instructions: u128, maximum: u128, base: u128) -> u128 {
    u128::from(env.instructions().get() / 10)
        .saturating_mul(per_ten_instructions)
        .min(maximum.saturating_sub(base))
}

fn utxos_error(error: &ReadError) -> Option<GetUtxosError> {
    Some(match error {
        ReadError::UnknownTip { hash, .. } => GetUtxosError::UnknownTipBlockHash {
            tip_block_hash: ByteBuf::clone(hash).into_vec(),
        },
        other => match balance_error(other)? {
            GetBalanceError::MalformedAddress => GetUtxosError::MalformedAddress,
            GetBalanceError::AddressForWrongNetwork { expected } => {
                GetUtxosError::AddressForWrongNetwork { expected }
            }
            GetBalanceError::MinConfirmationsTooLarge { given, max } => {
                GetUtxosError::MinConfirmationsTooLarge { given, max }
            }
        },
    })
}

fn balance_error(error: &ReadError) -> Option<GetBalanceError> {
    Some(match error {
        ReadError::MalformedAddress { .. } => GetBalanceError::MalformedAddress,
        ReadError::AddressForWrongNetwork { expected, .. } => {
            GetBalanceError::AddressForWrongNetwork {
                expected: convert::official_network(*expected),
            }
        }
        ReadError::MinConfirmationsTooLarge { given, max } => {
            GetBalanceError::MinConfirmationsTooLarge {
                given: *given,
                max: *max,
            }
        }
        _ => return None,
    })
}

fn headers_error(error: &ReadError) -> Option<GetBlockHeadersError> {
    Some(match *error {
        ReadError::StartHeightDoesNotExist {
            requested,
            tip_height,
        } => GetBlockHeadersError::StartHeightDoesNotExist {
            requested,
            chain_height: tip_height,
        },
        ReadError::EndHeightDoesNotExist {
            requested,
            tip_height,
        } => GetBlockHeadersError::EndHeightDoesNotExist {
            requested,
            chain_height: tip_height,
        },
        ReadError::StartHeightLargerThanEndHeight {
            start_height,
            end_height,
        } => GetBlockHeadersError::StartHeightLargerThanEndHeight {
            start_height,
            end_height,
        },
        _ => return None,
    })
}
