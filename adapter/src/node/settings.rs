//! Where a node is, and what it wants to be shown.

use std::path::{Path, PathBuf};

use millrace_core::Network;
use url::Url;

use super::NodeError;
use crate::sink::identity::SecretText;

/// Most bytes of a cookie file; Bitcoin Core's have 75.
const COOKIE_BYTES_MAX: usize = 1_024;

/// A node and how to be let in.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its URL.
    pub url: Url,
    /// What it is shown.
    pub credentials: Credentials,
    /// Whether anything of this was set, as opposed to defaults.
    pub is_named: bool,
}

/// What a node is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A file that the node writes anew at each start, and that is read again for each request.
    Cookie(PathBuf),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: SecretText,
    },
}

impl Credentials {
    /// Returns name and password.
    ///
    /// # Errors
    /// [`NodeError::Cookie`].
    pub(super) fn read(&self) -> Result<(String, String), NodeError> {
        match self {
            Self::Password { user, password } => Ok((user.clone(), password.revealed().to_owned())),
            Self::Cookie(path) => {
                let bad = |reason: String| NodeError::Cookie {
                    path: path.display().to_string(),
                    reason,
                };
                let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
                let pair = text.trim_end().split_once(':');
                let pair = pair.filter(|_| text.len() <= COOKIE_BYTES_MAX);
                let (user, password) =
                    pair.ok_or_else(|| bad("it does not hold `name:password`".to_owned()))?;
                Ok((user.to_owned(), password.to_owned()))
            }
        }
    }

    /// Returns what to look at when the node does not let us in.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Cookie(path) => format!("the cookie {}", path.display()),
            Self::Password { user, .. } => format!("node_user {user:?} with its node_password"),
        }
    }
}

/// Reads a node's URL.
///
/// # Errors
/// [`NodeError::BadUrl`].
pub fn parse_url(text: &str) -> Result<Url, NodeError> {
    let bad = |reason: String| NodeError::BadUrl {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(bad(format!("scheme {scheme} is neither http nor https")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(NodeError::BadUrl {
            // It would show in logs.
            url: "with name and password".to_owned(),
            reason: "set node_user and node_password instead".to_owned(),
        });
    }
    Ok(url)
}

/// Returns the URL of a node on this machine with its usual port.
pub const fn default_url(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "http://127.0.0.1:8332",
        Network::Testnet3 => "http://127.0.0.1:18332",
        Network::Testnet4 => "http://127.0.0.1:48332",
        Network::Signet => "http://127.0.0.1:38332",
        Network::Regtest => "http://127.0.0.1:18443",
    }
}

/// Returns where a node of this user keeps its cookie.
pub fn default_cookie(home: &Path, network: Network) -> PathBuf {
    let data = if cfg!(target_os = "macos") {
        "Library/Application Support/Bitcoin"
    } else {
        ".bitcoin"
    };
    let folder = match network {
        Network::Mainnet => "",
        Network::Testnet3 => "testnet3",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    };
    home.join(data).join(folder).join(".cookie")
}
