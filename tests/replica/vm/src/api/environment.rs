//! Environment variables of the canister, in the order of their names.

use wasmtime::Linker;

use super::heap::Heap;
use super::host::{Host, system_call};
use crate::trap::Trap;

/// Bytes the name of an environment variable may have.
const NAME_BYTES_MAX: u32 = 128;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, EnvVarCount(), 0, |host, _| length(
        host.facts.environment.len()
    ));
    system_call!(linker, EnvVarNameSize(index: u32), 0, |host, _| {
        name_at(host, index).and_then(|name| length(name.len()))
    });
    system_call!(linker, EnvVarNameCopy(index: u32, dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let name = name_at(host, index)?;
        heap.copy("ic0.env_var_name_copy", "name", name.as_bytes(), (dst, offset, size))
    });
    system_call!(linker, EnvVarNameExists(src: u32, size: u32), 0, |host, heap| {
        let name = read_name("ic0.env_var_name_exists", "heap", &heap, src, size)?;
        Ok(u32::from(host.facts.environment.contains_key(&name)))
    });
    system_call!(linker, EnvVarValueSize(src: u32, size: u32), 0, |host, heap| {
        let name = read_name("ic0.env_var_value_size", "heap", &heap, src, size)?;
        value_of(host, &name).and_then(|value| length(value.len()))
    });
    system_call!(linker, EnvVarValueCopy(name_src: u32, name_size: u32, dst: u32, offset: u32, size: u32), size.into(), |host, mut heap| {
        let name = read_name("ic0.env_var_value_copy", "name", &heap, name_src, name_size)?;
        let value = value_of(host, &name)?;
        heap.copy("ic0.env_var_value_copy", "value", value.as_bytes(), (dst, offset, size))
    });
    Ok(())
}

fn length(len: usize) -> Result<u32, Trap> {
    u32::try_from(len).map_err(|_| Trap::engine("a value is longer than 4 GiB"))
}

fn name_at(host: &Host, index: u32) -> Result<&str, Trap> {
    let variables = &host.facts.environment;
    variables.keys().nth(index as usize).map(String::as_str).ok_or_else(|| {
        Trap::contract(format!(
            "Environment variable index {index} is out of bounds. The number of environment variables is {}.",
            variables.len()
        ))
    })
}

fn value_of<'h>(host: &'h Host, name: &str) -> Result<&'h str, Trap> {
    let value = host.facts.environment.get(name);
    value
        .map(String::as_str)
        .ok_or_else(|| Trap::contract(format!("Environment variable {name} not found.")))
}

fn read_name(api: &str, what: &str, heap: &Heap<'_>, src: u32, size: u32) -> Result<String, Trap> {
    if size > NAME_BYTES_MAX {
        return Err(Trap::user(
            format!("{api}: Variable name is too large."),
            "",
            "",
        ));
    }
    let bytes = heap.read(&format!("{api} {what}"), src, size)?;
    let name = std::str::from_utf8(bytes).map_err(|_| {
        Trap::user(
            format!("{api}: Variable name is not a valid UTF-8 string."),
            "",
            "",
        )
    })?;
    Ok(name.to_owned())
}
