//! Edits the custom sections of a Wasm binary: drops what only debuggers read, adds IC metadata.
//!
//! A binary is an 8-byte header and then sections, each an id byte, a LEB128 length and that many
//! bytes (WebAssembly core specification 5.5). Only the framing is read: every other section is
//! copied as it is.

use anyhow::{Context, Result, bail};

#[cfg(test)]
mod tests;

const HEADER: &[u8] = b"\0asm\x01\0\0\0";
const CUSTOM_SECTION: u8 = 0;

/// Metadata sections the IC serves to anybody start so.
const PUBLIC: &str = "icp:public ";
const PRIVATE: &str = "icp:private ";

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
        let mut payload = leb128(name.len());
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(content);
        result.push(CUSTOM_SECTION);
        result.extend(leb128(payload.len()));
        result.extend(payload);
    }
    Ok(result)
}

/// One section, whole, and its name when it is a custom section.
struct Section<'a> {
    name: Option<&'a str>,
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
        sections.push(Section { name, bytes });
        rest = next;
    }
    Ok(sections)
}

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
