//! The canister's heap as system calls see it: every range is checked, and refused in the IC's
//! words.

use crate::trap::Trap;
use crate::units::Cycles;

/// The heap's bytes; a module may have none.
pub(crate) struct Heap<'a>(Option<&'a mut [u8]>);

impl<'a> Heap<'a> {
    /// Wraps the heap.
    pub(crate) fn new(bytes: Option<&'a mut [u8]>) -> Self {
        Self(bytes)
    }

    fn get(&self) -> Result<&[u8], Trap> {
        self.0.as_deref().ok_or_else(no_heap)
    }

    fn get_mut(&mut self) -> Result<&mut [u8], Trap> {
        self.0.as_deref_mut().ok_or_else(no_heap)
    }

    /// Returns `size` bytes at `src`.
    pub(crate) fn read(&self, what: &str, src: u32, size: u32) -> Result<&[u8], Trap> {
        subslice(what, src, size, self.get()?)
    }

    /// Copies `size` bytes at `offset` of `source` to `dst`, as every `ic0.*_copy` does.
    pub(crate) fn copy(
        &mut self,
        api: &str,
        source_name: &str,
        source: &[u8],
        (dst, offset, size): (u32, u32, u32),
    ) -> Result<(), Trap> {
        subslice(&format!("{api} heap"), dst, size, self.get()?)?;
        let bytes = subslice(&format!("{api} {source_name}"), offset, size, source)?;
        let start = dst as usize;
        self.get_mut()?[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a 128-bit amount at `dst`, little-endian.
    pub(crate) fn write_cycles(&mut self, api: &str, dst: u32, amount: Cycles) -> Result<(), Trap> {
        let bytes = amount.get().to_le_bytes();
        let len = self.get()?.len();
        let start = dst as usize;
        match self.get_mut()?.get_mut(start..start + bytes.len()) {
            Some(target) => {
                target.copy_from_slice(&bytes);
                Ok(())
            }
            None => Err(Trap::toolchain(format!(
                "{api} failed because dst + size is out of bounds.Found dst = {dst} and size = 16 while must be <= {len}"
            ))),
        }
    }

    /// Returns whether `[address, address + size)` is in the heap, and its bytes if so.
    pub(crate) fn range_mut(&mut self, address: u64, size: u64) -> Result<&mut [u8], Trap> {
        let out_of_bounds = || Trap::trapped("heap out of bounds");
        let end = address.checked_add(size).ok_or_else(out_of_bounds)?;
        let start = usize::try_from(address).map_err(|_| out_of_bounds())?;
        let end = usize::try_from(end).map_err(|_| out_of_bounds())?;
        self.get_mut()?
            .get_mut(start..end)
            .ok_or_else(out_of_bounds)
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }
}

fn no_heap() -> Trap {
    Trap::toolchain("WebAssembly module must define memory")
}

fn subslice<'s>(what: &str, src: u32, len: u32, slice: &'s [u8]) -> Result<&'s [u8], Trap> {
    let (start, end) = (src as usize, src as usize + len as usize);
    slice.get(start..end).ok_or_else(|| {
        Trap::toolchain(format!(
            "{what}: src={src} + length={len} exceeds the slice size={}",
            slice.len()
        ))
    })
}
