//! The message at hand: argument, caller, rejection, answer, `inspect_message`.

use wasmtime::Linker;

use super::host::{Host, system_call};
use crate::output::Response;
use crate::trap::Trap;

/// What a byte of an answer or call argument costs to send, in instructions.
pub(crate) const TRANSMISSION_COST_PER_BYTE: u64 = 50;

/// Returns the instructions for sending `bytes`.
pub(crate) fn transmission(bytes: u32) -> u64 {
    TRANSMISSION_COST_PER_BYTE * u64::from(bytes)
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link_argument(linker)?;
    link_caller(linker)?;
    link_rejection(linker)?;
    link_answer(linker)?;
    link_inspect(linker)
}

fn length(bytes: &[u8]) -> Result<u32, Trap> {
    u32::try_from(bytes.len()).map_err(|_| Trap::engine("a value is longer than 4 GiB"))
}

fn link_argument(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, MsgArgDataSize(), 0, |host, _| length(
        &host.message.payload
    ));
    system_call!(linker, MsgArgDataCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        heap.copy("ic0.msg_arg_data_copy", "payload", &host.message.payload, (dst, offset, size))
    });
    system_call!(linker, MsgDeadline(), 0, |host, _| Ok::<_, Trap>(
        host.message.deadline_ns.unwrap_or(0)
    ));
    Ok(())
}

fn link_caller(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, MsgCallerSize(), 0, |host, _| length(
        host.message.caller.as_slice()
    ));
    system_call!(linker, MsgCallerCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let caller = host.message.caller;
        heap.copy("ic0.msg_caller_copy", "id", caller.as_slice(), (dst, offset, size))
    });
    system_call!(linker, MsgCallerInfoDataSize(), 0, |host, _| length(
        host.caller_info_data()
    ));
    system_call!(linker, MsgCallerInfoDataCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        heap.copy("ic0.msg_caller_info_data_copy", "data", host.caller_info_data(), (dst, offset, size))
    });
    system_call!(linker, MsgCallerInfoSignerSize(), 0, |host, _| length(
        host.caller_info_signer()
    ));
    system_call!(linker, MsgCallerInfoSignerCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        heap.copy("ic0.msg_caller_info_signer_copy", "id", host.caller_info_signer(), (dst, offset, size))
    });
    Ok(())
}

fn link_rejection(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, MsgRejectCode(), 0, |host, _| Ok::<_, Trap>(
        host.message
            .rejection
            .as_ref()
            .map_or(0, |rejection| rejection.code)
    ));
    system_call!(linker, MsgRejectMsgSize(), 0, |host, _| length(
        host.rejection_text().as_bytes()
    ));
    system_call!(linker, MsgRejectMsgCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        heap.copy("ic0.msg_reject_msg_copy", "msg", host.rejection_text().as_bytes(), (dst, offset, size))
    });
    Ok(())
}

fn link_answer(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, MsgReplyDataAppend(src: u32, size: u32), transmission(size), |host, heap| {
        if host.answered() {
            return Err(Trap::toolchain("ic0.msg_reply_data_append: the call is already replied."));
        }
        let total = host.reply.len() as u64 + u64::from(size);
        let limit = host.limits.reply_bytes;
        if total > limit {
            return Err(Trap::user(
                format!("ic0.msg_reply_data_append: application payload size ({total}) cannot be larger than {limit}."),
                "Consider checking the response size and returning an error if it is too long.",
                "msg_reply_data_append-payload-too-large",
            ));
        }
        host.reply.extend_from_slice(heap.read("msg.reply", src, size)?);
        Ok(())
    });
    system_call!(linker, MsgReply(), 0, |host, _| {
        if host.answered() {
            return Err(Trap::toolchain(
                "ic0.msg_reply: the call is already replied",
            ));
        }
        host.response = Some(Response::Reply(std::mem::take(&mut host.reply)));
        Ok(())
    });
    system_call!(linker, MsgReject(src: u32, size: u32), transmission(size), |host, heap| {
        if host.answered() {
            return Err(Trap::toolchain("ic0.msg_reject: the call is already replied"));
        }
        let limit = host.limits.reply_bytes;
        if u64::from(size) > limit {
            return Err(Trap::user(
                format!("ic0.msg_reject: application payload size ({size}) cannot be larger than {limit}."),
                "Try truncating the error messages that are too long.",
                "msg_reject-payload-too-large",
            ));
        }
        let text = std::str::from_utf8(heap.read("ic0.msg_reject", src, size)?)
            .map_err(|_| Trap::toolchain("ic0.msg_reject: invalid UTF-8 string provided"))?;
        host.response = Some(Response::Reject(text.to_owned()));
        Ok(())
    });
    Ok(())
}

fn link_inspect(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, MsgMethodNameSize(), 0, |host, _| length(
        host.message.method_name.as_bytes()
    ));
    system_call!(linker, MsgMethodNameCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let name = host.message.method_name.as_bytes();
        heap.copy("ic0.msg_method_name_copy", "payload", name, (dst, offset, size))
    });
    system_call!(linker, AcceptMessage(), 0, |host, _| {
        if host.message_accepted {
            return Err(Trap::toolchain(
                "ic0.accept_message: the function was already called.",
            ));
        }
        host.message_accepted = true;
        Ok(())
    });
    system_call!(linker, InReplicatedExecution(), 0, |host, _| Ok::<_, Trap>(
        u32::from(host.context.is_replicated())
    ));
    Ok(())
}

impl Host {
    fn caller_info_data(&self) -> &[u8] {
        self.message
            .caller_info
            .as_ref()
            .map_or(&[], |info| &info.data)
    }

    fn caller_info_signer(&self) -> &[u8] {
        self.message
            .caller_info
            .as_ref()
            .map_or(&[], |info| info.signer.as_slice())
    }

    fn rejection_text(&self) -> &str {
        self.message
            .rejection
            .as_ref()
            .map_or("", |rejection| &rejection.message)
    }
}
