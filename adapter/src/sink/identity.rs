//! As whom the adapter calls: a private key in PEM form, or anonymously.

use std::path::{Path, PathBuf};

use ic_agent::Identity;
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Secp256k1Identity};

/// How a PEM text begins, as opposed to a path.
const PEM_START: &str = "-----BEGIN";

/// Where the private key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// No key.
    Anonymous,
    /// A PEM file.
    File(PathBuf),
    /// PEM text. Never shown.
    Text(SecretText),
}

/// Text that is left out of debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Keeps a text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for those it is meant for.
    pub fn revealed(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Why there is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("cannot read identity {path}: {reason}; check --identity-pem")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The text is no supported private key.
    #[error(
        "{origin} is no private key this adapter can use (Ed25519: {ed25519}; secp256k1: \
         {secp256k1}); give an unencrypted PEM file, as `dfx identity export` prints it"
    )]
    NotAKey {
        /// The file or variable.
        origin: String,
        /// Why it is no Ed25519 key.
        ed25519: String,
        /// Why it is no secp256k1 key.
        secp256k1: String,
    },
}

impl IdentitySource {
    /// Reads a setting: PEM text itself, or the path of a PEM file.
    pub fn from_setting(value: &str) -> Self {
        if value.trim_start().starts_with(PEM_START) {
            Self::Text(SecretText::new(value.to_owned()))
        } else {
            Self::File(PathBuf::from(value))
        }
    }

    /// Loads the key.
    ///
    /// # Errors
    /// [`IdentityError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Box<dyn Identity>, IdentityError> {
        match self {
            Self::Anonymous => Ok(Box::new(AnonymousIdentity)),
            Self::Text(SecretText(text)) => parse("MILLRACE_IDENTITY_PEM", text),
            Self::File(path) => {
                let text = read(path)?;
                parse(&path.display().to_string(), &text)
            }
        }
    }
}

fn read(path: &Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path).map_err(|error| IdentityError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn parse(origin: &str, text: &str) -> Result<Box<dyn Identity>, IdentityError> {
    let ed25519 = match BasicIdentity::from_pem(text) {
        Ok(identity) => return Ok(Box::new(identity)),
        Err(error) => error.to_string(),
    };
    let secp256k1 = match Secp256k1Identity::from_pem(text) {
        Ok(identity) => return Ok(Box::new(identity)),
        Err(error) => error.to_string(),
    };
    Err(IdentityError::NotAKey {
        origin: origin.to_owned(),
        ed25519,
        secp256k1,
    })
}
