//! The Wasm entry points.

use ic_cdk::call::{Call, Error};
use ic_cdk_bitcoin_canister as bitcoin;
use millrace_client_canister::wire::{Answer, Failure, Forward, Forwarded, Outcome, Request};
use serde_bytes::ByteBuf;

#[ic_cdk::update]
async fn call(request: Request) -> Outcome {
    let (network, attached) = match &request {
        Request::GetUtxos(arg) => (arg.network.into(), bitcoin::cost_get_utxos(arg)),
        Request::GetBalance(arg) => (arg.network.into(), bitcoin::cost_get_balance(arg)),
        Request::GetBlockHeaders(arg) => (arg.network.into(), bitcoin::cost_get_block_headers(arg)),
        Request::GetCurrentFeePercentiles(arg) => {
            let cost = bitcoin::cost_get_current_fee_percentiles(arg);
            (arg.network.into(), cost)
        }
        Request::GetBlockchainInfo(network) => (*network, 0),
        Request::SendTransaction(arg) => (arg.network.into(), bitcoin::cost_send_transaction(arg)),
    };
    let result = through_the_crate(request).await;
    let refunded = refunded(result.as_ref().err());
    Outcome {
        result: result.map_err(failure),
        callee: bitcoin::get_bitcoin_canister_id(network),
        attached,
        refunded,
    }
}

async fn through_the_crate(request: Request) -> Result<Answer, Error> {
    Ok(match request {
        Request::GetUtxos(arg) => Answer::Utxos(bitcoin::bitcoin_get_utxos(&arg).await?),
        Request::GetBalance(arg) => Answer::Balance(bitcoin::bitcoin_get_balance(&arg).await?),
        Request::GetBlockHeaders(arg) => {
            Answer::BlockHeaders(bitcoin::bitcoin_get_block_headers(&arg).await?)
        }
        Request::GetCurrentFeePercentiles(arg) => {
            Answer::FeePercentiles(bitcoin::bitcoin_get_current_fee_percentiles(&arg).await?)
        }
        Request::GetBlockchainInfo(network) => {
            Answer::BlockchainInfo(bitcoin::get_blockchain_info(network).await?)
        }
        Request::SendTransaction(arg) => {
            bitcoin::bitcoin_send_transaction(&arg).await?;
            Answer::Sent
        }
    })
}

#[ic_cdk::update]
async fn forward(request: Forward) -> Forwarded {
    let reply = Call::bounded_wait(request.canister, &request.method)
        .with_raw_args(&request.argument)
        .with_cycles(request.cycles)
        .await
        .map_err(Error::from);
    let refunded = refunded(reply.as_ref().err());
    Forwarded {
        result: reply
            .map(|reply| ByteBuf::from(reply.into_bytes()))
            .map_err(failure),
        refunded,
    }
}

#[ic_cdk::query(composite = true)]
async fn forward_query(request: Forward) -> Forwarded {
    let reply = Call::bounded_wait(request.canister, &request.method)
        .with_raw_args(&request.argument)
        .await
        .map_err(Error::from);
    Forwarded {
        result: reply
            .map(|reply| ByteBuf::from(reply.into_bytes()))
            .map_err(failure),
        refunded: 0,
    }
}

/// Returns the refund of the call that has just been answered, or none if none was made: outside of
/// a callback there is none to ask for.
fn refunded(error: Option<&Error>) -> u128 {
    match error {
        None | Some(Error::CallRejected(_) | Error::CandidDecodeFailed(_)) => {
            ic_cdk::api::msg_cycles_refunded()
        }
        Some(_) => 0,
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::CallRejected(rejected) => Failure::Rejected {
            code: rejected.raw_reject_code(),
            message: rejected.reject_message().to_owned(),
        },
        other => Failure::Other(other.to_string()),
    }
}

fn main() {}
