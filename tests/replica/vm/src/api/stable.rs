//! Stable memory, priced as the IC's native implementation: 20 instructions and 1 per byte, and
//! 1,000 for every page written for the first time in the message. Its size is free to ask for.

use wasmtime::{Caller, Linker};

use super::host::{Host, charge, enter, system_call, with_heap};
use super::table::Api;
use crate::memory::stable::DIRTY_PAGE_OVERHEAD;
use crate::trap::{Trap, TrapKind};
use crate::units::WASM_PAGE_BYTES;

/// Wasm pages the 32-bit calls can address.
const PAGES_MAX_32: u64 = 65_536;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link_size(linker)?;
    link_grow(linker)?;
    linker.func_wrap(
        "ic0",
        Api::Stable64Read.name(),
        |mut caller: Caller<'_, Host>, dst: u64, offset: u64, size: u64| {
            read(&mut caller, Api::Stable64Read, dst, offset, size).map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        "ic0",
        Api::Stable64Write.name(),
        |mut caller: Caller<'_, Host>, offset: u64, src: u64, size: u64| {
            write(&mut caller, Api::Stable64Write, offset, src, size).map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        "ic0",
        Api::StableRead.name(),
        |mut caller: Caller<'_, Host>, dst: u32, offset: u32, size: u32| {
            read(
                &mut caller,
                Api::StableRead,
                dst.into(),
                offset.into(),
                size.into(),
            )
            .map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        "ic0",
        Api::StableWrite.name(),
        |mut caller: Caller<'_, Host>, offset: u32, src: u32, size: u32| {
            write(
                &mut caller,
                Api::StableWrite,
                offset.into(),
                src.into(),
                size.into(),
            )
            .map_err(wasmtime::Error::new)
        },
    )?;
    Ok(())
}

fn link_size(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, Stable64Size(), 0, |host, _| Ok::<_, Trap>(
        host.stable.size_pages()
    ));
    system_call!(linker, StableSize(), 0, |host, _| {
        host.check_32_bit()?;
        u32::try_from(host.stable.size_pages())
            .map_err(|_| Trap::engine("65,536 pages fit into 32 bits"))
    });
    Ok(())
}

fn link_grow(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, Stable64Grow(pages: u64), 0, |host, _| {
        let old = host.stable.size_pages();
        Ok::<_, Trap>(if host.grow_stable(pages)? { old.cast_signed() } else { -1 })
    });
    system_call!(linker, StableGrow(pages: u32), 0, |host, _| {
        host.check_32_bit()?;
        let old = host.stable.size_pages();
        if old + u64::from(pages) > PAGES_MAX_32 || !host.grow_stable(pages.into())? {
            return Ok(-1);
        }
        i32::try_from(old).map_err(|_| Trap::engine("65,536 pages fit into 32 bits"))
    });
    Ok(())
}

impl Host {
    fn check_32_bit(&self) -> Result<(), Trap> {
        if self.stable.size_pages() > PAGES_MAX_32 {
            return Err(Trap::trapped(
                "32 bit stable memory api used on a memory larger than 4GB",
            ));
        }
        Ok(())
    }

    /// Grows stable memory and returns whether it could.
    fn grow_stable(&mut self, pages: u64) -> Result<bool, Trap> {
        let size = self.stable.size_pages().saturating_add(pages);
        if size > self.facts.memory.stable_bytes_max / WASM_PAGE_BYTES {
            return Ok(false);
        }
        match self.allocate(pages * WASM_PAGE_BYTES) {
            Ok(()) => {}
            Err(trap) if trap.kind == TrapKind::CanisterOutOfMemory => return Ok(false),
            Err(trap) => return Err(trap),
        }
        self.stable
            .grow(pages)
            .map_err(|error| Trap::engine(format!("cannot grow stable memory: {error}")))?;
        Ok(true)
    }
}

fn check_heap_address(address: u64, size: u64) -> Result<(), Trap> {
    if address > u64::from(u32::MAX) || size > u64::from(u32::MAX) {
        return Err(Trap::trapped("heap out of bounds"));
    }
    Ok(())
}

/// Starts a read or write; `false` means there is nothing to copy, wherever the range lies.
fn begin(caller: &mut Caller<'_, Host>, api: Api, size: u64) -> Result<bool, Trap> {
    enter(caller, api, size)?;
    if size == 0 {
        return Ok(false);
    }
    if matches!(api, Api::StableRead | Api::StableWrite) {
        caller.data().check_32_bit()?;
    }
    Ok(true)
}

fn read(
    caller: &mut Caller<'_, Host>,
    api: Api,
    dst: u64,
    offset: u64,
    size: u64,
) -> Result<(), Trap> {
    if !begin(caller, api, size)? {
        return Ok(());
    }
    with_heap(caller, |host, mut heap| {
        host.stable.check_range(offset, size)?;
        check_heap_address(dst, size)?;
        host.stable.mark_read(offset, size)?;
        let target = heap.range_mut(dst, size)?;
        target.copy_from_slice(host.stable.bytes(offset, target.len())?);
        Ok(())
    })
}

fn write(
    caller: &mut Caller<'_, Host>,
    api: Api,
    offset: u64,
    src: u64,
    size: u64,
) -> Result<(), Trap> {
    if !begin(caller, api, size)? {
        return Ok(());
    }
    let stable = &caller.data().stable;
    stable.check_range(offset, size)?;
    check_heap_address(src, size)?;
    let new_pages = stable.new_pages_of_write(offset, size)?;
    charge(caller, new_pages * DIRTY_PAGE_OVERHEAD)?;
    with_heap(caller, |host, mut heap| {
        host.stable.mark_written(offset, size);
        let source = heap.range_mut(src, size)?;
        host.stable
            .bytes(offset, source.len())?
            .copy_from_slice(source);
        Ok(())
    })
}
