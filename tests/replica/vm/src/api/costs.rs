//! What the subnet would charge: the `cost_*` calls.

use candid::{CandidType, Deserialize};
use wasmtime::Linker;

use super::heap::Heap;
use super::host::{Host, system_call};
use crate::fees::{Fees, HttpRequestEstimate};
use crate::trap::Trap;

/// The fee was written.
const SUCCESS: u32 = 0;
/// The curve or algorithm does not exist; nothing was written.
const UNKNOWN_CURVE_OR_ALGORITHM: u32 = 1;
/// No subnet holds a key of this name; nothing was written.
const UNKNOWN_KEY: u32 = 2;

/// Threshold keys of the IC and the number of nodes of the subnets that hold them.
const KEYS: [(&str, u32); 3] = [("key_1", 34), ("test_key_1", 13), ("dfx_test_key", 13)];

const ECDSA_CURVES: u32 = 1;
const SCHNORR_ALGORITHMS: u32 = 2;
const VETKD_CURVES: u32 = 1;

/// The Candid argument of `cost_http_request_v2`.
#[derive(CandidType, Deserialize)]
struct HttpRequestV2 {
    request_bytes: u64,
    http_roundtrip_time_ms: u64,
    raw_response_bytes: u64,
    transformed_response_bytes: u64,
    transform_instructions: u64,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, CostCall(name_bytes: u64, payload_bytes: u64, dst: u32), 0, |host, mut heap| {
        let fees = &host.facts.fees;
        let total = fees
            .call_transmission(name_bytes.saturating_add(payload_bytes))
            .saturating_add(fees.response_transmission_prepayment())
            .saturating_add(fees.execution(host.limits.response_instructions));
        heap.write_cycles("ic0_cost_call", dst, total)
    });
    system_call!(linker, CostCreateCanister(dst: u32), 0, |host, mut heap| {
        heap.write_cycles("ic0_cost_create_canister", dst, host.facts.fees.create_canister())
    });
    system_call!(linker, CostHttpRequest(request_bytes: u64, response_bytes_max: u64, dst: u32), 0, |host, mut heap| {
        let fee = host.facts.fees.http_request(request_bytes, response_bytes_max);
        heap.write_cycles("ic0_cost_http_request", dst, fee)
    });
    system_call!(linker, CostHttpRequestV2(src: u32, size: u32, dst: u32), 0, |host, heap| {
        http_request_v2(&host.facts.fees, heap, (src, size), dst)
    });
    system_call!(linker, CostSignWithEcdsa(src: u32, size: u32, curve: u32, dst: u32), size.into(), |host, heap| {
        signature(host, heap, "ic0_cost_sign_with_ecdsa", (src, size), curve < ECDSA_CURVES, dst)
    });
    system_call!(linker, CostSignWithSchnorr(src: u32, size: u32, algorithm: u32, dst: u32), size.into(), |host, heap| {
        signature(host, heap, "ic0_cost_sign_with_schnorr", (src, size), algorithm < SCHNORR_ALGORITHMS, dst)
    });
    system_call!(linker, CostVetkdDeriveKey(src: u32, size: u32, curve: u32, dst: u32), size.into(), |host, heap| {
        signature(host, heap, "ic0_cost_vetkd_derive_key", (src, size), curve < VETKD_CURVES, dst)
    });
    Ok(())
}

fn http_request_v2(
    fees: &Fees,
    mut heap: Heap<'_>,
    (src, size): (u32, u32),
    dst: u32,
) -> Result<(), Trap> {
    let bytes = heap.read("ic0.cost_http_request_v2 heap", src, size)?;
    let request: HttpRequestV2 = crate::candid_input::decode_candid(bytes).map_err(|error| {
        Trap::toolchain(format!(
            "Failed to decode HttpRequestV2CostParams from Candid: {error}"
        ))
    })?;
    let fee = fees.http_request_v2(&HttpRequestEstimate {
        request_bytes: request.request_bytes,
        roundtrip_ms: request.http_roundtrip_time_ms,
        raw_response_bytes: request.raw_response_bytes,
        transformed_response_bytes: request.transformed_response_bytes,
        transform_instructions: request.transform_instructions,
    });
    heap.write_cycles("ic0_cost_http_request_v2", dst, fee)
}

fn signature(
    host: &Host,
    mut heap: Heap<'_>,
    api: &str,
    (src, size): (u32, u32),
    known_curve: bool,
    dst: u32,
) -> Result<u32, Trap> {
    let bytes = heap.read(&format!("{} heap", api.replacen('_', ".", 1)), src, size)?;
    let name = std::str::from_utf8(bytes).map_err(|_| {
        Trap::toolchain(format!(
            "Failed to decode key name {}",
            String::from_utf8_lossy(bytes)
        ))
    })?;
    if !known_curve {
        return Ok(UNKNOWN_CURVE_OR_ALGORITHM);
    }
    let Some((_, subnet_size)) = KEYS.into_iter().find(|(key, _)| *key == name) else {
        return Ok(UNKNOWN_KEY);
    };
    // The subnet that holds the key sets the price.
    let fees = Fees {
        subnet_size,
        ..host.facts.fees
    };
    heap.write_cycles(api, dst, fees.threshold_signature())?;
    Ok(SUCCESS)
}
