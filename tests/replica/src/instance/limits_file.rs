//! Reads limits from a TOML file. What the file does not name keeps the IC's value.
//!
//! ```toml
//! [application]
//! heap_delta_capacity = 1_073_741_824
//! [system]
//! message_instructions = 50_000_000_000
//! ```

use millrace_subnet::LimitsConfig;
use std::path::{Path, PathBuf};

/// Largest limits file; the full list of limits takes a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a limits file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LimitsFileError {
    /// It cannot be read.
    #[error("cannot read the limits file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("the limits file {path} is invalid: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which part of it, and why.
        reason: String,
    },
}

/// Returns the IC's limits with those of the file in their place.
///
/// # Errors
/// [`LimitsFileError`] naming the file and the entry.
pub fn read(path: &Path) -> Result<LimitsConfig, LimitsFileError> {
    let unreadable = |source| LimitsFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    let invalid = |reason: String| LimitsFileError::Invalid {
        path: path.to_owned(),
        reason,
    };
    if size > FILE_BYTES_MAX {
        return Err(invalid(format!(
            "{size} bytes, at most {FILE_BYTES_MAX} are read"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(invalid)
}

fn parse(text: &str) -> Result<LimitsConfig, String> {
    let named: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let named = serde_json::to_value(named).map_err(|e| e.to_string())?;
    changed(&LimitsConfig::default(), &named)
}

/// Returns limits with those that are named in the place of the given ones. Through JSON, because the
/// defaults of a partly named section are those of its subnet type, and because limits may exceed TOML's
/// signed 64-bit integers.
///
/// # Errors
/// A text that names the section or entry.
pub fn changed(limits: &LimitsConfig, named: &serde_json::Value) -> Result<LimitsConfig, String> {
    let mut limits = serde_json::to_value(limits).map_err(|e| e.to_string())?;
    let named = named
        .as_object()
        .ok_or_else(|| format!("limits come in sections, not as {named}"))?;
    for (section, entries) in named {
        let known = limits
            .get_mut(section)
            .and_then(serde_json::Value::as_object_mut)
            .ok_or_else(|| {
                format!("there is no section [{section}], use [application] or [system]")
            })?;
        let serde_json::Value::Object(entries) = entries else {
            return Err(format!("{section} must be a section"));
        };
        for (name, value) in entries {
            let limit = known
                .get_mut(name)
                .ok_or_else(|| format!("there is no limit {name} in [{section}]"))?;
            *limit = value.clone();
        }
    }
    serde_json::from_value(limits).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_limits_change_and_the_others_stay_those_of_their_subnet_type() {
        let limits = parse("[system]\nheap_delta_capacity = 1_000\n").expect("valid");
        let default = LimitsConfig::default();
        assert_eq!(limits.system.heap_delta_capacity, 1_000);
        assert_eq!(
            limits.system.message_instructions,
            default.system.message_instructions
        );
        assert_eq!(limits.application, default.application);
        let old = parse("[application]\nround_order = \"before-april-2024\"\n").expect("valid");
        assert_eq!(
            old.application.round_order,
            millrace_subnet::RoundOrder::BeforeApril2024
        );
    }

    #[test]
    fn what_cannot_be_a_limit_is_refused_by_name() {
        let cases = [
            ("[applicaton]\n", "applicaton"),
            ("[system]\nheap_delta = 3\n", "heap_delta"),
            ("[system]\nheap_delta_capacity = \"big\"\n", "big"),
            ("[system]\nheap_delta_capacity = -1\n", "-1"),
            ("[system]\nround_order = \"newest\"\n", "newest"),
            ("system = 3\n", "system"),
            ("[system", "system"),
        ];
        for (text, named) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
