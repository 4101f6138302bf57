//! Which files a path stands for, and their obfuscation key.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::SourceError;
use super::window::XorKey;

/// Bitcoin Core's name for the key file beside its block files.
const KEY_FILE: &str = "xor.dat";

/// Returns the block files a path stands for: a directory's `blk*.dat` by number, or one file.
///
/// # Errors
/// [`SourceError::Unreadable`], or [`SourceError::NoBlockFiles`] for a directory without any.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let metadata = fs::metadata(path).map_err(|error| unreadable("open", path, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable("list", path, &error))?;
    let mut numbered = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable("list", path, &error))?;
        if let Some(number) = block_file_number(&entry.path()) {
            numbered.push((number, entry.path()));
        }
    }
    if numbered.is_empty() {
        return Err(SourceError::NoBlockFiles {
            path: path.display().to_string(),
        });
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// Reads the key that belongs to a path: `xor.dat` in the directory, or beside a `blk*.dat` file.
/// Files of other names are plain.
///
/// # Errors
/// [`SourceError::Unreadable`] or [`SourceError::BadKey`].
pub fn key_for(path: &Path) -> Result<XorKey, SourceError> {
    let directory = if path.is_dir() {
        Some(path)
    } else {
        path.parent().filter(|_| block_file_number(path).is_some())
    };
    let Some(key_path) = directory.map(|directory| directory.join(KEY_FILE)) else {
        return Ok(XorKey::default());
    };
    let bytes = match fs::read(&key_path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(XorKey::default());
        }
        Err(error) => return Err(unreadable("read", &key_path, &error)),
    };
    let key = <[u8; 8]>::try_from(bytes.as_slice()).map_err(|_| SourceError::BadKey {
        path: key_path.display().to_string(),
        length: bytes.len() as u64,
    })?;
    Ok(XorKey(key))
}

/// Returns the number of a file named like `blk00017.dat`.
fn block_file_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("blk")?.strip_suffix(".dat")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Builds the error for a refusal of the file system.
pub fn unreadable(action: &'static str, path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::Unreadable {
        action,
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
