//! Edits a Wasm binary around its code: drops custom sections only debuggers read and exports nobody
//! can call, adds IC metadata.
//!
//! A binary is an 8-byte header and then sections, each an id byte, a LEB128 length and that many
//! bytes (WebAssembly core specification 5.5). Only the framing and the export section are read: every
//! other section is copied as it is.

use anyhow::{Context, Result, bail};

#[cfg(test)]
mod tests;

const HEADER: &[u8] = b"\0asm\x01\0\0\0";
const CUSTOM_SECTION: u8 = 0;
const EXPORT_SECTION: u8 = 7;
const FUNCTION_EXPORT: u8 = 0;

/// Metadata sections the IC serves to anybody start so.
const PUBLIC: &str = "icp:public ";
const PRIVATE: &str = "icp:private ";

/// Functions the IC calls are exported under names that start so.
const ENTRY_POINT: &str = "canister_";

/// Returns `module` without exported functions the IC never calls, such as those of C libraries, so
/// that an optimiser can remove what only they use.
///
/// # Errors
/// When the bytes are not a well-framed Wasm binary.
pub fn without_foreign_exports(module: &[u8]) -> Result<Vec<u8>> {
    let mut result = HEADER.to_vec();
    for section in sections(module)? {
        if section.id == EXPORT_SECTION {
            let payload =
                canister_exports(section.payload).context("the export section is damaged")?;
            push_section(&mut result, EXPORT_SECTION, &payload);
        } else {
            result.extend_from_slice(section.bytes);
        }
    }
    Ok(result)
}

/// Returns the payload of an export section (core specification 5.5.10) with only entry points of the
/// IC, memories, globals and tables.
fn canister_exports(payload: &[u8]) -> Option<Vec<u8>> {
    let (count, mut rest) = read_leb128(payload)?;
    let mut kept = Vec::new();
    let mut kept_count = 0;
    for _ in 0..count {
        let start = rest;
        let name = section_name(rest)?;
        let (length, tail) = read_leb128(rest)?;
        let (kind, tail) = tail.get(length..)?.split_first()?;
        (_, rest) = read_leb128(tail)?;
        if *kind != FUNCTION_EXPORT || name.starts_with(ENTRY_POINT) {
            kept.extend_from_slice(&start[..start.len() - rest.len()]);
            kept_count += 1;
        }
    }
    rest.is_empty().then(|| [leb128(kept_count), kept].concat())
}

/// Returns `module` with `public` as its only `icp:public` sections, and without every other custom
/// section (names, debug information, tool chain notes). `icp:private` sections stay.
///
/// # Errors
/// When the bytes are not a well-framed Wasm binary.
pub fn with_metadata(module: &[u8], public: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut result = HEADER.to_vec();
    for section in sections(module)? {
        if section.name.is_none_or(|name| name.starts_with(PRIVATE)) {
            result.extend_from_slice(section.bytes);
        }
    }
    for (name, content) in public {
        let name = format!("{PUBLIC}{name}");
        let payload = [&leb128(name.len()), name.as_bytes(), content].concat();
        push_section(&mut result, CUSTOM_SECTION, &payload);
    }
    Ok(result)
}

fn push_section(module: &mut Vec<u8>, id: u8, payload: &[u8]) {
    module.push(id);
    module.extend(leb128(payload.len()));
    module.extend_from_slice(payload);
}

/// One section, whole, and its name when it is a custom section.
struct Section<'a> {
    id: u8,
    name: Option<&'a str>,
    payload: &'a [u8],
    bytes: &'a [u8],
}

fn sections(module: &[u8]) -> Result<Vec<Section<'_>>> {
    let Some(mut rest) = module.strip_prefix(HEADER) else {
        bail!(
            "not a Wasm version 1 binary: it starts with {:02x?}",
            &module[..module.len().min(HEADER.len())]
        );
    };
    let mut sections = Vec::new();
    while let Some((id, tail)) = rest.split_first() {
        let offset = module.len() - rest.len();
        let describe = || format!("section {id} at byte {offset} is damaged");
        let (length, tail) = read_leb128(tail).with_context(describe)?;
        let payload = tail.get(..length).with_context(describe)?;
        let (bytes, next) = rest.split_at(rest.len() - tail.len() + length);
        let name = if *id == CUSTOM_SECTION {
            Some(section_name(payload).with_context(describe)?)
        } else {
            None
        };
        sections.push(Section {
            id: *id,
            name,
            payload,
            bytes,
        });
        rest = next;
    }
    Ok(sections)
}

/// Reads the name that begins a custom section or an export.
fn section_name(payload: &[u8]) -> Option<&str> {
    let (length, rest) = read_leb128(payload)?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// Reads an unsigned LEB128 of at most 32 bits and returns it with what follows.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const BYTES_MAX: usize = 5;
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
