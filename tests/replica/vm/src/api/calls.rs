//! Calls to other canisters, from `call_new` to `call_perform`.

use candid::Principal;
use wasmtime::Linker;

use super::cycles::amount;
use super::heap::Heap;
use super::host::{Host, PreparedCall, system_call};
use super::message::transmission;
use crate::input::Callback;
use crate::output::{CallPrepayment, OutgoingCall};
use crate::trap::Trap;
use crate::units::Cycles;
use crate::wasm::validate::METHOD_NAMES_BYTES_MAX;

/// Seconds a best-effort call waits at most.
const BEST_EFFORT_TIMEOUT_SECONDS_MAX: u32 = 300;

/// What `call_perform` returns when the call cannot be sent now: the IC's `SysTransient`.
const SYS_TRANSIENT: u32 = 2;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link_call_new(linker)?;
    system_call!(linker, CallDataAppend(src: u32, size: u32), transmission(size), |host, heap| {
        host.append_payload(heap, src, size)
    });
    system_call!(linker, CallOnCleanup(fun: u32, env: u32), 0, |host, _| {
        let call = host.prepared("ic0.call_on_cleanup")?;
        if call.on_cleanup.is_some() {
            return Err(Trap::toolchain(
                "ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`",
            ));
        }
        call.on_cleanup = Some(Callback { fun, env });
        Ok(())
    });
    system_call!(linker, CallWithBestEffortResponse(timeout_seconds: u32), 0, |host, _| {
        let call = host.prepared("ic0.call_with_best_effort_response")?;
        if call.best_effort_timeout_seconds.is_some() {
            return Err(Trap::toolchain(
                "ic0_call_with_best_effort_response failed because a timeout is already set.",
            ));
        }
        let bounded = timeout_seconds.min(BEST_EFFORT_TIMEOUT_SECONDS_MAX);
        call.best_effort_timeout_seconds = Some(bounded);
        Ok(())
    });
    system_call!(linker, CallCyclesAdd128(high: u64, low: u64), 0, |host, _| {
        host.add_cycles("ic0_call_cycles_add128", amount(high, low))
    });
    system_call!(linker, CallCyclesAdd(low: u64), 0, |host, _| {
        host.add_cycles("ic0_call_cycles_add", Cycles(low.into()))
    });
    system_call!(linker, CallPerform(), 0, |host, _| host.perform());
    Ok(())
}

fn link_call_new(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(
        linker,
        CallNew(
            callee_src: u32, callee_size: u32, name_src: u32, name_size: u32,
            reply_fun: u32, reply_env: u32, reject_fun: u32, reject_env: u32
        ),
        u64::from(callee_size) + u64::from(name_size),
        |host, heap| {
            host.abandon_prepared();
            let call = new_call(
                &heap,
                (callee_src, callee_size),
                (name_src, name_size),
                Callback { fun: reply_fun, env: reply_env },
                Callback { fun: reject_fun, env: reject_env },
            )?;
            host.prepared = Some(PreparedCall(call));
            Ok(())
        }
    );
    Ok(())
}

fn new_call(
    heap: &Heap<'_>,
    (callee_src, callee_size): (u32, u32),
    (name_src, name_size): (u32, u32),
    on_reply: Callback,
    on_reject: Callback,
) -> Result<OutgoingCall, Trap> {
    if name_size as usize > METHOD_NAMES_BYTES_MAX {
        return Err(Trap::user(
            format!(
                "Size of method_name {name_size} exceeds the allowed limit of {METHOD_NAMES_BYTES_MAX}."
            ),
            // The IC leaves its placeholders unfilled here.
            "Size of method_name {} exceeds the allowed limit of {}.",
            "canister-made-a-call-with-too-large-method-name",
        ));
    }
    let name = heap.read("ic0.call_new method_name", name_src, name_size)?;
    let callee = heap.read("ic0.call_new callee_src", callee_src, callee_size)?;
    Ok(OutgoingCall {
        callee: Principal::try_from_slice(callee).map_err(|_| Trap::invalid_principal())?,
        method: String::from_utf8_lossy(name).into_owned(),
        payload: Vec::new(),
        cycles: Cycles::ZERO,
        prepayment: CallPrepayment::default(),
        on_reply,
        on_reject,
        on_cleanup: None,
        best_effort_timeout_seconds: None,
    })
}

impl Host {
    fn prepared(&mut self, label: &str) -> Result<&mut OutgoingCall, Trap> {
        match &mut self.prepared {
            Some(PreparedCall(call)) => Ok(call),
            None => Err(no_call(label)),
        }
    }

    /// Gives back the cycles of a call that was never performed.
    pub(crate) fn abandon_prepared(&mut self) {
        if let Some(PreparedCall(call)) = self.prepared.take() {
            self.balance += call.cycles;
        }
    }

    fn append_payload(&mut self, heap: Heap<'_>, src: u32, size: u32) -> Result<(), Trap> {
        let limit = self.limits.call_payload_bytes;
        let call = self.prepared("ic0.call_data_append")?;
        let total = (call.method.len() + call.payload.len()) as u64 + u64::from(size);
        if total > limit {
            return Err(Trap::user(
                format!(
                    "Request to {}:{} has a payload size of {total}, which exceeds the allowed limit of {limit}.",
                    call.callee, call.method
                ),
                "Check the canister for errors or redesign the target API to allow shorter messages",
                "canister-made-a-call-with-too-large-payload",
            ));
        }
        call.payload
            .extend_from_slice(heap.read("ic0.call_data_append", src, size)?);
        Ok(())
    }

    fn add_cycles(&mut self, label: &str, amount: Cycles) -> Result<(), Trap> {
        let liquid = self.liquid();
        let canister_id = self.facts.canister_id;
        let call = self.prepared(label)?;
        if amount > liquid {
            return Err(Trap::contract(format!(
                "Canister {canister_id} is out of cycles"
            )));
        }
        call.cycles += amount;
        self.balance -= amount;
        Ok(())
    }

    fn perform(&mut self) -> Result<u32, Trap> {
        let Some(PreparedCall(mut call)) = self.prepared.take() else {
            return Err(no_call("ic0.call_perform"));
        };
        call.prepayment = self.prepayment(&call);
        let total = call.prepayment.total();
        if !self.has_slot(&call.callee) || total > self.liquid() {
            self.balance += call.cycles;
            return Ok(SYS_TRANSIENT);
        }
        self.balance -= total;
        self.calls.push(call);
        Ok(0)
    }

    /// Queries call other queries for free.
    fn prepayment(&self, call: &OutgoingCall) -> CallPrepayment {
        if !self.context.is_replicated() {
            return CallPrepayment::default();
        }
        let fees = &self.facts.fees;
        let bytes = (call.method.len() + call.payload.len()) as u64;
        CallPrepayment {
            request_transmission: fees.call_transmission(bytes),
            response_transmission: fees.response_transmission_prepayment(),
            response_execution: fees.execution(self.limits.response_instructions),
        }
    }

    fn has_slot(&self, callee: &Principal) -> bool {
        let sent = self
            .calls
            .iter()
            .filter(|call| call.callee == *callee)
            .count();
        let slots = self.limits.output_slots.get(callee);
        let slots = *slots.unwrap_or(&self.limits.output_slots_default);
        sent < slots as usize && self.calls.len() < self.limits.callbacks as usize
    }
}

fn no_call(label: &str) -> Trap {
    Trap::toolchain(format!(
        "{label} called when no call is under construction."
    ))
}
