//! The canister and its subnet: ids, status, time, timer, certified data, counters.

use candid::Principal;
use wasmtime::{Caller, Linker};

use super::host::{Host, enter, remaining, system_call, used};
use super::table::Api;
use crate::input::CanisterStatus;
use crate::trap::Trap;

/// Bytes certified data may have.
const CERTIFIED_DATA_BYTES_MAX: u32 = 32;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link_identity(linker)?;
    link_status(linker)?;
    link_certified_data(linker)?;
    link_performance_counter(linker)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "ids and keys are at most a few hundred bytes"
)]
fn short(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

fn link_identity(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, CanisterSelfSize(), 0, |host, _| Ok::<_, Trap>(
        short(host.facts.canister_id.as_slice())
    ));
    system_call!(linker, CanisterSelfCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let id = host.facts.canister_id;
        heap.copy("ic0.canister_self_copy", "id", id.as_slice(), (dst, offset, size))
    });
    system_call!(linker, SubnetSelfSize(), 0, |host, _| Ok::<_, Trap>(short(
        host.facts.subnet_id.as_slice()
    )));
    system_call!(linker, SubnetSelfCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let id = host.facts.subnet_id;
        heap.copy("ic0.subnet_self_copy", "id", id.as_slice(), (dst, offset, size))
    });
    system_call!(linker, SubnetSelfNodeCount(), 0, |host, _| Ok::<_, Trap>(
        host.facts.fees.subnet_size
    ));
    system_call!(linker, RootKeySize(), 0, |host, _| Ok::<_, Trap>(short(
        &host.facts.root_key
    )));
    system_call!(linker, RootKeyCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        heap.copy("ic0.root_key_copy", "bytes", &host.facts.root_key, (dst, offset, size))
    });
    Ok(())
}

fn link_status(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, CanisterStatus(), 0, |host, _| Ok::<_, Trap>(
        match host.facts.status {
            CanisterStatus::Running => 1_u32,
            CanisterStatus::Stopping => 2,
            CanisterStatus::Stopped => 3,
        }
    ));
    system_call!(linker, CanisterVersion(), 0, |host, _| Ok::<_, Trap>(
        host.facts.version
    ));
    system_call!(linker, Time(), 0, |host, _| Ok::<_, Trap>(
        host.facts.time_ns
    ));
    system_call!(linker, GlobalTimerSet(time_ns: u64), 0, |host, _| {
        let previous = host.global_timer_ns.replace(time_ns);
        Ok::<_, Trap>(previous.unwrap_or(host.facts.global_timer_ns))
    });
    system_call!(linker, IsController(src: u32, size: u32), size.into(), |host, heap| {
        let bytes = heap.read("ic0.is_controller", src, size)?;
        let id = Principal::try_from_slice(bytes).map_err(|_| Trap::invalid_principal())?;
        Ok(u32::from(host.facts.controllers.contains(&id)))
    });
    Ok(())
}

fn link_certified_data(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, CertifiedDataSet(src: u32, size: u32), size.into(), |host, mut heap| {
        if size > CERTIFIED_DATA_BYTES_MAX {
            return Err(Trap::user(
                format!("ic0_certified_data_set failed because the passed data must be no larger than {CERTIFIED_DATA_BYTES_MAX} bytes. Found {size} bytes."),
                "Try certifying just the hash of your data instead of the full contents.",
                "certified_data_set-payload-too-large",
            ));
        }
        let len = heap.len();
        let data = heap.range_mut(src.into(), size.into()).map_err(|_| {
            Trap::toolchain(format!(
                "ic0_certified_data_set failed because src + size is out of bounds. Found src = {src} and size = {size} while src + size must be <= {len}"
            ))
        })?;
        host.certified_data = Some(data.to_vec());
        Ok(())
    });
    system_call!(
        linker,
        DataCertificatePresent(),
        0,
        |host, _| Ok::<_, Trap>(u32::from(
            Api::DataCertificateSize.allowed().contains(host.context)
                && host.facts.data_certificate.is_some()
        ))
    );
    system_call!(linker, DataCertificateSize(), 0, |host, _| {
        certificate(host, Api::DataCertificateSize).map(short)
    });
    system_call!(linker, DataCertificateCopy(dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let certificate = certificate(host, Api::DataCertificateCopy)?;
        let len = heap.len();
        let violation = |name: &str, at: u32, len: usize| {
            Trap::toolchain(format!(
                "ic0_data_certificate_copy failed because {name} + size is out of bounds. Found {name} = {at} and size = {size} while {name} + size must be <= {len}"
            ))
        };
        let source = (offset as usize..offset as usize + size as usize, certificate.len());
        let bytes = certificate.get(source.0).ok_or_else(|| violation("offset", offset, source.1))?;
        heap.range_mut(dst.into(), size.into())
            .map_err(|_| violation("dst", dst, len))?
            .copy_from_slice(bytes);
        Ok(())
    });
    Ok(())
}

fn certificate(host: &Host, api: Api) -> Result<&[u8], Trap> {
    host.facts
        .data_certificate
        .as_deref()
        .ok_or_else(|| Trap::wrong_mode(&format!("ic0_{}", api.name()), host.context.describe()))
}

fn link_performance_counter(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let api = Api::PerformanceCounter;
    linker.func_wrap(
        "ic0",
        api.name(),
        |mut caller: Caller<'_, Host>, counter: u32| {
            performance_counter(&mut caller, counter).map_err(wasmtime::Error::new)
        },
    )?;
    Ok(())
}

fn performance_counter(caller: &mut Caller<'_, Host>, counter: u32) -> Result<u64, Trap> {
    enter(caller, Api::PerformanceCounter, 0)?;
    let remaining = remaining(caller);
    let host = caller.data();
    let message = used(host.limits.instructions, remaining);
    match counter {
        0 => Ok(message.get()),
        1 => Ok(host
            .message
            .call_context_instructions
            .saturating_add(message)
            .get()),
        _ => Err(Trap::user(
            format!("Error getting performance counter type {counter}"),
            "",
            "",
        )),
    }
}
